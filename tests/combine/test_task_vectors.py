import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_testing import Network, flat, models, save_model_folder, states
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from polyvec.combine import TaskVector, gram_matrix
from polyvec.combine.task_vectors.checkpoint import open_checkpoint, row_blocks
from polyvec.combine.task_vectors.weight_writer import write_weights
from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError


def test_differences_of_parameters_only_and_tied_ones_once():
    base, (tuned,) = models(1)
    vector = TaskVector.from_checkpoints(base, tuned)
    assert set(vector.names) == {name for name, _ in base.named_parameters()}
    assert "out.weight" not in vector.names  # tied to table.weight
    for name, value in tuned.named_parameters():
        assert torch.equal(vector.read(name), value.detach() - base.get_parameter(name).detach())


def test_arithmetic_norm_and_angle_against_flat_vectors():
    base, (first, second) = models(2)
    a, b = TaskVector.from_checkpoints(base, first), TaskVector.from_checkpoints(base, second)
    left, right = flat(a).double(), flat(b).double()
    mixed = 2 * a - b * 0.5 + (-a)
    assert torch.allclose(flat(mixed).double(), left - 0.5 * right, atol=1e-5)
    assert a.norm() == pytest.approx(left.norm().item(), rel=1e-6)
    assert a.dot(b) == pytest.approx((left @ right).item(), rel=1e-5)
    cosine = (left @ right / left.norm() / right.norm()).item()
    assert a.cosine(b) == pytest.approx(cosine, abs=1e-6)
    assert a.angle(b) == pytest.approx(math.acos(cosine), abs=1e-6)
    assert a.angle(3 * a) == pytest.approx(0, abs=1e-6)
    assert a.angle(-a) == pytest.approx(math.pi, abs=1e-6)
    stacked = torch.stack([left, right])
    assert torch.allclose(gram_matrix([a, b]), stacked @ stacked.T, rtol=1e-5)


def test_adding_the_vector_gives_the_tuned_model_and_half_of_it_the_middle():
    base, (tuned,) = models(1)
    vector = TaskVector.from_checkpoints(base, tuned)
    whole = vector.apply_(copy.deepcopy(base))
    half = vector.apply_(copy.deepcopy(base), scale=0.5)
    for name, value in tuned.named_parameters():
        assert torch.allclose(whole.get_parameter(name), value, atol=1e-6)
        middle = (value + base.get_parameter(name)) / 2
        assert torch.allclose(half.get_parameter(name), middle, atol=1e-6)
    assert torch.equal(whole.norm.running_mean, base.norm.running_mean)
    assert whole.out.weight is whole.table.weight


def test_a_model_that_trains_on_does_not_change_its_task_vector():
    base, (tuned,) = models(1)
    vector = TaskVector.from_checkpoints(base, tuned)
    before = flat(vector)
    with torch.no_grad():
        tuned.inner.weight.add_(1)
        base.inner.weight.mul_(2)
    assert torch.equal(flat(vector), before)


def test_saved_and_loaded_in_32_and_16_bits(tmp_path):
    base, (tuned,) = models(1)
    vector = TaskVector.from_checkpoints(base, tuned)
    vector.save(tmp_path / "v.safetensors")
    again = TaskVector.load(tmp_path / "v.safetensors")
    assert torch.equal(flat(again), flat(vector))
    assert again.base_fingerprint == vector.base_fingerprint
    vector.save(tmp_path / "h.safetensors", dtype=torch.bfloat16)
    half = TaskVector.load(tmp_path / "h.safetensors")
    assert torch.equal(flat(half), flat(vector).bfloat16().float())
    size = (tmp_path / "h.safetensors").stat().st_size / (tmp_path / "v.safetensors").stat().st_size
    assert size < 0.8
    (half + vector).norm()  # the same base
    with pytest.raises(InvalidValueError, match=r"ends in \.safetensors"):
        vector.save(tmp_path / "v.pt")
    with pytest.raises(InvalidValueError, match="floating-point"):
        vector.save(tmp_path / "v.safetensors", dtype=torch.int8)
    save_file({"a": torch.ones(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(FormatError, match="holds no task vector"):
        TaskVector.load(tmp_path / "weights.safetensors")


def test_files_and_modules_give_the_same_vector(tmp_path):
    base, (tuned,) = states(1)
    one = TaskVector.from_checkpoints(
        save_model_folder(tmp_path / "base", base), save_model_folder(tmp_path / "tuned", tuned, shards=2)
    )
    other = TaskVector.from_checkpoints(base, tuned)
    assert set(one.names) == set(other.names)
    for name in one.names:
        assert torch.equal(one.read(name), other.read(name))
        assert torch.equal(one.read(name, slice(1, 3)), other.read(name)[1:3])
    assert one.base_fingerprint == other.base_fingerprint
    assert (one - other).norm() == 0


def test_half_precision_is_subtracted_in_32_bits():
    base, (tuned,) = states(1, dtype=torch.float16)
    vector = TaskVector.from_checkpoints(base, tuned)
    for name in vector.names:
        assert vector.read(name).dtype == torch.float32
        assert torch.equal(vector.read(name), tuned[name].float() - base[name].float())
    double, (other,) = states(1, dtype=torch.float64)
    assert TaskVector.from_checkpoints(double, other).read("b.bias").dtype == torch.float64


def test_other_bases_are_told_apart_by_their_values():
    base, (tuned,) = models(1)
    nearly = copy.deepcopy(base)
    with torch.no_grad():
        nearly.inner.bias[3] += 1e-6
    vector = TaskVector.from_checkpoints(base, tuned)
    same = TaskVector.from_checkpoints(copy.deepcopy(base), tuned)
    assert (vector + same).norm() == pytest.approx(2 * vector.norm())
    with pytest.raises(InvalidValueError, match="another base"):
        vector + TaskVector.from_checkpoints(nearly, tuned)
    with pytest.raises(InvalidValueError, match="another base"):
        vector.cosine(TaskVector.from_checkpoints(nearly, tuned))
    state, _ = states(0)
    assert (
        open_checkpoint({name: value.double() for name, value in state.items()}).fingerprint
        == open_checkpoint(state).fingerprint
    )


def test_another_architecture_is_refused_by_name():
    base, (tuned,) = states(1)
    with pytest.raises(InvalidValueError, match=r"lacks b\.bias"):
        TaskVector.from_checkpoints(base, {name: value for name, value in tuned.items() if name != "b.bias"})
    with pytest.raises(InvalidValueError, match=r"has d\.weight, which the base lacks"):
        TaskVector.from_checkpoints(base, {**tuned, "d.weight": torch.ones(1)})
    with pytest.raises(InvalidValueError, match=r"a\.weight is \[5, 3\] of float32, in the base it is \[5, 4\]"):
        TaskVector.from_checkpoints(base, {**tuned, "a.weight": torch.ones(5, 3)})
    with pytest.raises(InvalidValueError, match=r"embed\.weight .* share the tokenizer"):
        TaskVector.from_checkpoints({"embed.weight": torch.ones(5, 3)}, {"embed.weight": torch.ones(6, 3)})


def test_quantised_weights_are_refused():
    for name, value in {
        "a.weight": torch.ones(2, 2, dtype=torch.int8),
        "a.qweight": torch.ones(2, 2, dtype=torch.int32),
        "a.weight.absmax": torch.ones(2),
        "b.weight": torch.ones(2, 2).to(torch.float8_e4m3fn),
    }.items():
        with pytest.raises(InvalidValueError, match=rf"{name} is quantised"):
            open_checkpoint({"x.weight": torch.ones(2), name: value})


def test_quantised_files_and_adapters_are_refused(tmp_path):
    state, _ = states(0)
    save_model_folder(tmp_path / "gptq", state, config={"quantization_config": {"bits": 4}})
    with pytest.raises(InvalidValueError, match=r"config\.json says that its weights are quantised"):
        open_checkpoint(tmp_path / "gptq")
    save_file({"a.weight": torch.ones(2, 2).to(torch.float8_e5m2)}, tmp_path / "f8.safetensors")
    with pytest.raises(InvalidValueError, match=r"a\.weight is quantised \(float8_e5m2\)"):
        open_checkpoint(tmp_path / "f8.safetensors")
    (tmp_path / "lora").mkdir()
    save_file({"a.lora_A.weight": torch.ones(2, 2)}, tmp_path / "lora" / "adapter_model.safetensors")
    with pytest.raises(InvalidValueError, match="is an adapter"):
        open_checkpoint(tmp_path / "lora")


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(FileProblemError, match="no such file"):
        open_checkpoint(tmp_path / "none.safetensors")
    (tmp_path / "pickled.bin").write_bytes(b"x")
    with pytest.raises(FormatError, match="pickled"):
        open_checkpoint(tmp_path / "pickled.bin")
    with pytest.raises(FormatError, match=r"pickled\.bin is pickled"):
        open_checkpoint(tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"not one")
    with pytest.raises(FormatError, match=r"broken\.safetensors: not a readable"):
        open_checkpoint(tmp_path / "broken.safetensors")
    folder = save_model_folder(tmp_path / "sharded", states(0)[0], shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FormatError, match="names the shard"):
        open_checkpoint(folder)
    with pytest.raises(InvalidTypeError, match="got int"):
        open_checkpoint(3)
    with pytest.raises(InvalidTypeError, match="'a' is int"):
        open_checkpoint({"a": 3})
    with pytest.raises(InvalidValueError, match="holds no floating-point weights"):
        open_checkpoint({"steps": torch.tensor(3)})
    with pytest.raises(InvalidTypeError):
        gram_matrix([1])
    with pytest.raises(InvalidValueError, match="got none"):
        gram_matrix([])


def test_zero_and_not_finite_vectors_are_refused():
    base, (tuned,) = models(1)
    nothing = TaskVector.from_checkpoints(base, copy.deepcopy(base))
    assert nothing.norm() == 0
    with pytest.raises(InvalidValueError, match="is the same as its base"):
        nothing.angle(TaskVector.from_checkpoints(base, tuned))
    with torch.no_grad():
        tuned.norm.bias[2] = float("nan")
    with pytest.raises(InvalidValueError, match=r"norm\.bias holds NaN"):
        TaskVector.from_checkpoints(base, tuned)
    with pytest.raises(InvalidValueError, match="finite"):
        nothing * float("inf")
    with pytest.raises(TypeError):
        nothing + 1


def test_given_differences():
    base, (tuned,) = models(1)
    given_ = {name: torch.ones_like(value) for name, value in base.named_parameters()}
    vector = TaskVector.from_tensors(given_, base)
    assert (vector + TaskVector.from_checkpoints(base, tuned)).names == vector.names
    assert vector.norm() == pytest.approx(math.sqrt(sum(value.numel() for value in given_.values())))
    with pytest.raises(InvalidValueError, match=r"lacks norm\.bias"):
        TaskVector.from_tensors({name: value for name, value in given_.items() if name != "norm.bias"}, base)
    assert isinstance(Network(), nn.Module)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=3), st.integers(1, 40))
def test_row_blocks_cover_everything_once(shape, numbers):
    blocks = list(row_blocks(tuple(shape), numbers))
    value = torch.arange(math.prod(shape)).reshape(shape)
    parts = [value[rows] if shape else value.reshape(1) for rows in blocks]
    assert torch.equal(torch.cat(parts).flatten(), value.flatten())
    row = math.prod(shape[1:])
    assert all(part.numel() <= max(numbers, row) for part in parts)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 4), max_size=3),
            st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 7),
)
def test_the_streaming_writer_writes_what_the_library_reads(tmp_path_factory, described, numbers):
    path = tmp_path_factory.mktemp("writer") / "w.safetensors"
    tensors = {
        f"t{position}": torch.randint(0, 2, shape).to(dtype) for position, (shape, dtype) in enumerate(described)
    }
    layout = {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}
    blocks = (
        value[rows] if value.ndim else value for value in tensors.values() for rows in row_blocks(value.shape, numbers)
    )
    write_weights(path, layout, blocks, {"format": "pt"})
    found = load_file(path)
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)
    with safe_open(path, "pt") as handle:
        assert handle.metadata() == {"format": "pt"}


def test_the_streaming_writer_keeps_its_promise(tmp_path):
    layout = {"a": ((4,), torch.float32)}
    with pytest.raises(InvalidValueError, match="fewer numbers"):
        write_weights(tmp_path / "w", layout, [torch.ones(3)])
    with pytest.raises(InvalidValueError, match="more than its shape"):
        write_weights(tmp_path / "w", layout, [torch.ones(5)])
    with pytest.raises(FileProblemError):
        write_weights(tmp_path / "none" / "w", layout, [torch.ones(4)])
