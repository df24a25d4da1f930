import json
import subprocess
import sys

import pytest
import torch
from merge_testing import save_model_folder, states
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from polyvec.combine import TaskVector, merge, merge_files
from polyvec.combine.merging.methods import METHODS, MergeMethod
from polyvec.combine.task_vectors import weight_files
from polyvec.combine.task_vectors.checkpoint import Checkpoint
from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError

PLAIN = ("average", "task-arithmetic", "slerp", "ties", "dare")


@pytest.fixture
def folders(tmp_path):
    base, tuned = states(2)
    for state in (base, *tuned):
        state["position_ids"] = torch.arange(4)
    tuned[0]["position_ids"] += 7
    places = [save_model_folder(tmp_path / name, state) for name, state in zip("bxy", (base, *tuned), strict=True)]
    return places, base, tuned


@pytest.mark.parametrize("method", PLAIN)
def test_a_folder_becomes_a_folder_with_the_weights_of_merge(folders, tmp_path, method):
    (base, *models), state, tuned = folders
    (base / "pytorch_model.bin").write_bytes(b"old")
    (base / "onnx").mkdir()
    (base / "onnx" / "model.onnx").write_bytes(b"old")
    report = merge_files(base, models, tmp_path / "out", method)
    found, expected = load_file(tmp_path / "out" / "model.safetensors"), merge(state, tuned, method)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert torch.equal(found["position_ids"], state["position_ids"])
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {"config.json", "vocab.txt", "model.safetensors", "polyvec_merge.json"}
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as handle:
        assert handle.metadata() == {"format": "pt"}
    assert json.loads((tmp_path / "out" / "polyvec_merge.json").read_text()) == report.to_dict()
    vectors = [TaskVector.from_checkpoints(state, model) for model in tuned]
    assert report.norms == pytest.approx([vector.norm() for vector in vectors])
    assert report.cosines[0][1] == pytest.approx(vectors[0].cosine(vectors[1]), abs=1e-6)
    change = TaskVector.from_checkpoints(state, expected)
    assert report.merged_norm == pytest.approx(change.norm(), rel=1e-4)
    assert (report.weights, report.kept, report.numbers) == (3, 1, 39)


def test_shards_and_sub_folders_keep_their_places(tmp_path):
    base, tuned = states(2)
    base_folder = save_model_folder(tmp_path / "b", base, shards=3)
    for position, place in enumerate([base_folder, tmp_path / "x"]):
        if position:
            save_model_folder(place, tuned[0], shards=2)  # another split of the same tensors
        (place / "2_Dense").mkdir()
        save_file({"linear.weight": torch.full((2, 2), float(position))}, place / "2_Dense" / "model.safetensors")
    merge_files(base_folder, [tmp_path / "x"], tmp_path / "out", scale=0.5)
    names = {file.relative_to(base_folder).as_posix() for file in base_folder.rglob("*") if file.is_file()}
    assert {
        file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*") if file.is_file()
    } == names | {"polyvec_merge.json"}
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())["weight_map"]
    for name, file in index.items():
        value = load_file(tmp_path / "out" / file)[name]
        assert torch.allclose(value, (base[name] + tuned[0][name]) / 2, atol=1e-6)
    dense = load_file(tmp_path / "out" / "2_Dense" / "model.safetensors")["linear.weight"]
    assert torch.equal(dense, torch.full((2, 2), 0.5))


def test_a_file_becomes_a_file(tmp_path):
    base, tuned = states(2, dtype=torch.bfloat16)
    for name, state in zip("bxy", (base, *tuned), strict=True):
        save_file(state, tmp_path / f"{name}.safetensors")
    TaskVector.from_checkpoints(tmp_path / "b.safetensors", tmp_path / "x.safetensors").save(tmp_path / "v.safetensors")
    for first in ("x", "v"):
        models = [tmp_path / f"{first}.safetensors", tmp_path / "y.safetensors"]
        merge_files(tmp_path / "b.safetensors", models, tmp_path / "o.safetensors", overwrite=True)
        found = load_file(tmp_path / "o.safetensors")
        for name, value in merge(base, tuned).items():
            assert found[name].dtype == torch.bfloat16
            assert torch.equal(found[name], value)


def test_refusals_leave_nothing_behind(folders, tmp_path):
    (base, *models), _, tuned = folders
    before = sorted(path.name for path in tmp_path.iterdir())
    save = tmp_path / "out"

    def refused(error, message, *arguments, **options):
        with pytest.raises(error, match=message):
            merge_files(*arguments, **options)
        assert sorted(path.name for path in tmp_path.iterdir()) == before

    refused(InvalidValueError, "is the same as its base", base, [models[0], base], save)
    refused(InvalidValueError, "is or holds", base, models, base)
    refused(InvalidValueError, "is or holds", base, models, tmp_path)
    refused(InvalidValueError, "needs a folder, as the base is one", base, models, tmp_path / "o.safetensors")
    refused(FileProblemError, "no such file", base, [tmp_path / "none"], save)
    refused(InvalidTypeError, "needs a list", base, str(models[0]), save)
    broken = save_model_folder(tmp_path / "nan", {**tuned[0], "b.bias": torch.full((7,), float("nan"))})
    other = save_model_folder(tmp_path / "other", {"d.weight": torch.ones(2)})
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "precious").write_text("x")
    before = sorted(path.name for path in tmp_path.iterdir())
    refused(InvalidValueError, r"nan: b\.bias holds NaN", base, [broken], save)
    refused(InvalidValueError, r"other: lacks a\.weight", base, [other], save)
    refused(InvalidValueError, "exists; choose another place", base, models, taken)
    assert (taken / "precious").exists()
    merge_files(base, models, taken, overwrite=True)
    assert not (taken / "precious").exists()


def test_another_vocabulary_is_refused(folders, tmp_path):
    (base, *models), *_ = folders
    for place, words in ((base, "abc"), (models[0], "abc"), (models[1], "acb")):
        vocabulary = {word: position for position, word in enumerate(words)}
        (place / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    merge_files(base, models[:1], tmp_path / "out")
    with pytest.raises(InvalidValueError, match="y: its tokenizer has another vocabulary"):
        merge_files(base, models, tmp_path / "out2")


def test_a_model_from_elsewhere_is_pointed_out(folders, tmp_path):
    (base, *_), state, _ = folders
    far = {name: -value if value.is_floating_point() else value for name, value in state.items()}
    report = merge_files(base, [save_model_folder(tmp_path / "far", far)], tmp_path / "out")
    assert len(report.warnings) == 1
    assert "was it really trained from this base" in report.warnings[0]
    near = {name: 1.1 * value if value.is_floating_point() else value for name, value in state.items()}
    assert merge_files(base, [save_model_folder(tmp_path / "near", near)], tmp_path / "out2").warnings == []


def test_an_interruption_leaves_nothing_behind(folders, tmp_path):
    (base, *models), *_ = folders

    class Interrupted(MergeMethod):
        name = "interrupted"

        def merge(self, block):
            if block.name == "b.bias":
                raise KeyboardInterrupt
            return block.deltas[0]

    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        merge_files(base, models, tmp_path / "out", Interrupted())
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("method", PLAIN)
def test_no_tensor_is_read_whole(tmp_path, monkeypatch, method):
    """Each read is a block of rows, and a merge never holds more than its few blocks."""
    base, tuned = states(2, shapes={"big.weight": (64, 8), "small.bias": (8,)})
    places = [save_model_folder(tmp_path / name, state) for name, state in zip("bxy", (base, *tuned), strict=True)]
    for module in ("merging.in_memory", "merging.ties", "task_vectors.vector", "task_vectors.checkpoint"):
        monkeypatch.setattr(f"polyvec.combine.{module}.row_blocks", _blocks_of_16)
    read = []
    original = weight_files.FileCheckpoint.read

    def counted(self: Checkpoint, name, rows=slice(None)):
        value = original(self, name, rows)
        read.append(value.numel())
        return value

    monkeypatch.setattr(weight_files.FileCheckpoint, "read", counted)
    merge_files(places[0], places[1:], tmp_path / "out", method)
    assert max(read) == 16
    assert len(read) >= 3 * 33


def _blocks_of_16(shape, numbers=None):
    step = max(1, 16 // max(1, int(torch.Size(shape[1:]).numel())))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


MEASURE = """
import resource, sys
import torch
from polyvec.combine import merge_files
folder, method, *models = sys.argv[1:]
torch.set_num_threads(1)
merge_files(models[0], models[1:2], f"{folder}/warm", method, overwrite=True)
start = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
merge_files(models[2], models[3:], f"{folder}/out", method)
print(int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("method", ["average", "ties"])
def test_peak_memory_is_below_one_model(tmp_path, method):
    """Three models of 128 MB each; merging adds less than one of them to a process that has merged a small one."""
    weight = torch.randn(4096, 2048, generator=torch.Generator().manual_seed(0))
    small, (tuned,) = states(1)
    arguments = [save_model_folder(tmp_path / "s0", small), save_model_folder(tmp_path / "s1", tuned)]
    for number in range(3):
        state = {f"layer{layer}.weight": weight + number * weight.roll(layer + 1, 0) for layer in range(4)}
        arguments.append(save_model_folder(tmp_path / f"m{number}", state))
    del state
    command = [sys.executable, "-c", MEASURE, str(tmp_path), method, *map(str, arguments)]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024
    assert grown < 100, f"grew by {grown:.0f} MB"


def test_an_index_alone_cannot_be_the_base(tmp_path):
    base, (tuned,) = states(1)
    folder = save_model_folder(tmp_path / "b", base, shards=2)
    model = save_model_folder(tmp_path / "m", tuned)
    with pytest.raises(FormatError, match="give the folder it is in"):
        merge_files(folder / "model.safetensors.index.json", [model], tmp_path / "o.safetensors")
    # As a model it is as good as its folder.
    report = merge_files(model, [folder / "model.safetensors.index.json"], tmp_path / "out")
    assert report.weights == 3
    assert set(METHODS) > set(PLAIN)
