import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_testing import Network, models, save_model_folder, states
from torch import nn

from polyvec.combine import TaskVector, diagonal_fisher, gram_matrix, linear_grams, merge, slerp
from polyvec.combine.merging import METHODS, slerp_coefficients
from polyvec.combine.merging.methods import merge_method
from polyvec.combine.merging.ties import magnitude_threshold
from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFoundError

PLAIN = ("average", "task-arithmetic", "slerp", "ties", "dare")


def deltas(base, tuned):
    return [{name: value.double() - base[name].double() for name, value in model.items()} for model in tuned]


def close(merged, base, expected, tolerance=1e-5):
    for name, value in base.items():
        assert torch.allclose(merged[name].double(), value.double() + expected[name], atol=tolerance), name


def test_average_and_arithmetic_are_what_they_say():
    base, tuned = states(3)
    parts = deltas(base, tuned)
    close(merge(base, tuned), base, {name: sum(part[name] for part in parts) / 3 for name in base})
    weights = [1.0, 2.0, -0.5]
    total = {name: sum(w * part[name] for w, part in zip(weights, parts, strict=True)) for name in base}
    close(merge(base, tuned, weights=weights), base, {name: value / 2.5 for name, value in total.items()})
    summed = merge(base, tuned, "task-arithmetic", weights=weights, scale=0.3)
    close(summed, base, {name: 0.3 * value for name, value in total.items()})


@pytest.mark.parametrize("method", PLAIN)
def test_the_same_model_several_times_is_that_model(method):
    base, (tuned,) = states(1)
    options = {"ties": {"density": 1.0}, "dare": {"drop": 0.0}, "task-arithmetic": {"scale": 1 / 3}}.get(method, {})
    merged = merge(base, [tuned] * 3, method, **options)
    for name, value in tuned.items():
        assert torch.allclose(merged[name], value, atol=1e-5)


@pytest.mark.parametrize("method", PLAIN)
def test_one_model_and_scale(method):
    base, (tuned,) = states(1)
    options = {"ties": {"density": 1.0}, "dare": {"drop": 0.0}}.get(method, {})
    for scale in (1.0, 0.25):
        merged = merge(base, [tuned], method, scale=scale, **options)
        close(merged, base, {name: scale * value for name, value in deltas(base, [tuned])[0].items()})


# -- spherical --------------------------------------------------------------------------------------------------------


def slerp_by_hand(first, second, weight_first, weight_second):
    """The formula on flat vectors, in NumPy."""
    share = weight_second / (weight_first + weight_second)
    angle = math.acos(np.clip(first @ second / np.linalg.norm(first) / np.linalg.norm(second), -1, 1))
    return (math.sin((1 - share) * angle) * first + math.sin(share * angle) * second) / math.sin(angle)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(0.05, 20), min_size=2, max_size=5))
def test_coefficients_are_those_of_the_iterated_formula(seed, weights):
    vectors = np.random.default_rng(seed).normal(size=(len(weights), 12))
    expected = vectors[0]
    for position in range(1, len(weights)):
        expected = slerp_by_hand(expected, vectors[position], np.mean(weights[:position]), weights[position])
    gram = torch.from_numpy(vectors @ vectors.T)
    found = slerp_coefficients(gram, torch.tensor(weights, dtype=torch.float64), 0.7).numpy() @ vectors
    assert np.allclose(found, 0.7 * expected, rtol=1e-6, atol=1e-8)


def test_slerp_ends_unit_norm_and_flat_cases():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 4, 5, generator=generator).double()
    assert torch.equal(slerp(first, second, 0.0), first)
    assert torch.allclose(slerp(first, second, 1.0), second, atol=1e-12)
    one, other = torch.eye(6)[:2]
    for share in (0.1, 0.5, 0.9):
        assert slerp(one, other, share).norm().item() == pytest.approx(1, abs=1e-6)
    assert torch.allclose(slerp(first, first.clone(), 0.3), first)  # no angle: a line, and no NaN
    assert torch.allclose(slerp(first, 2 * first, 0.25), 1.25 * first)
    assert torch.allclose(slerp(first, -first, 0.25), 0.5 * first)
    with pytest.raises(InvalidValueError, match="zero"):
        slerp(first, torch.zeros_like(first), 0.5)
    with pytest.raises(InvalidValueError, match="share"):
        slerp(first, second, 1.5)
    with pytest.raises(InvalidValueError, match="shape"):
        slerp(first, second.T, 0.5)


def test_slerp_merge_uses_the_angle_of_the_whole_vectors():
    base, tuned = states(2)
    parts = deltas(base, tuned)
    flat = [torch.cat([part[name].flatten() for name in base]).numpy() for part in parts]
    expected = torch.from_numpy(1.3 * slerp_by_hand(*flat, 1.0, 3.0))
    merged = merge(base, tuned, "slerp", weights=[1.0, 3.0], scale=1.3)
    found = torch.cat([(merged[name].double() - base[name].double()).flatten() for name in base])
    assert torch.allclose(found, expected, atol=1e-5)


def test_opposite_vectors_that_cancel_do_not_become_nan():
    gram = torch.tensor([[1.0, -1, 0], [-1, 1, 0], [0, 0, 1]], dtype=torch.float64)
    weights = torch.ones(3, dtype=torch.float64, requires_grad=True)
    found = slerp_coefficients(gram, weights)
    assert found.isfinite().all()
    found.sum().backward()
    assert weights.grad.isfinite().all()


# -- TIES and DARE ----------------------------------------------------------------------------------------------------


def test_ties_on_an_example_by_hand():
    base = {"w": torch.zeros(5)}
    tuned = [{"w": torch.tensor([4.0, -3.0, 0.5, 0.1, 0.0])}, {"w": torch.tensor([2.0, 5.0, -0.2, -6.0, 0.3])}]
    # Two fifths are kept: [4, -3, ., ., .] and [., 5, ., -6, .]; signs +, + (5 - 3), ., -, .
    merged = merge(base, tuned, "ties", density=0.4)
    assert torch.equal(merged["w"], torch.tensor([4.0, 5.0, 0.0, -6.0, 0.0]))
    # Everything kept: signs + (6), + (2), + (0.3), - (-5.9), + (0.3).
    merged = merge(base, tuned, "ties", density=1.0, scale=0.5)
    assert torch.allclose(merged["w"], 0.5 * torch.tensor([3.0, 5.0, 0.5, -6.0, 0.3]))
    # With a weight of 2 for the first, the second number's sum is -1 and its sign -.
    merged = merge(base, tuned, "ties", density=1.0, weights=[2.0, 1.0])
    assert torch.allclose(merged["w"], torch.tensor([10 / 3, -3.0, 0.5, -6.0, 0.3]))


def ties_by_hand(base, tuned, density, weights, whole):
    """Loops over single numbers."""
    parts = deltas(base, tuned)
    kept = []
    for part in parts:
        every = sorted((abs(v) for name in base for v in part[name].float().flatten().tolist()), reverse=True)
        smallest = {}
        for name in base:
            values = every if whole else sorted((abs(v) for v in part[name].float().flatten().tolist()), reverse=True)
            smallest[name] = values[max(1, round(density * len(values))) - 1]
        kept.append(
            {n: [v if abs(np.float32(v)) >= smallest[n] else 0.0 for v in part[n].flatten().tolist()] for n in base}
        )
    result = {}
    for name, value in base.items():
        numbers = []
        for position in range(value.numel()):
            column = [part[name][position] for part in kept]
            sign = 1 if sum(w * v for w, v in zip(weights, column, strict=True)) >= 0 else -1
            agreeing = [(w, v) for w, v in zip(weights, column, strict=True) if v * sign > 0]
            mass = sum(w for w, _ in agreeing)
            numbers.append(sum(w * v for w, v in agreeing) / mass if mass else 0.0)
        result[name] = torch.tensor(numbers, dtype=torch.float64).reshape(value.shape)
    return result


@pytest.mark.parametrize("trim", ["vector", "tensor"])
@pytest.mark.parametrize("density", [0.05, 0.2, 0.7, 1.0])
def test_ties_against_loops(trim, density):
    base, tuned = states(3, seed=int(100 * density))
    weights = [1.0, 0.5, 2.0]
    merged = merge(base, tuned, "ties", density=density, trim=trim, weights=weights)
    close(merged, base, ties_by_hand(base, tuned, density, weights, trim == "vector"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=60), st.integers(1, 60), st.integers(1, 17)
)
def test_the_threshold_is_the_kth_largest_magnitude(values, keep, size):
    tensor = torch.tensor(values)
    keep = min(keep, len(values))
    found = magnitude_threshold(lambda: tensor.split(size), keep)
    assert found == tensor.abs().sort(descending=True).values[keep - 1].item()


def test_dare_drops_the_share_rescales_and_is_repeatable():
    base = {"w": torch.zeros(300, 400)}
    tuned = [{"w": torch.full((300, 400), value)} for value in (1.0, 3.0)]
    merged = merge(base, tuned, "dare", drop=0.75, seed=5)["w"]
    assert set(merged.unique().tolist()) == {0.0, 2.0, 6.0, 8.0}  # (4 and/or 12) / 2
    shares = [(merged == value).float().mean().item() for value in (0.0, 2.0, 6.0, 8.0)]
    assert shares == pytest.approx([0.5625, 0.1875, 0.1875, 0.0625], abs=0.01)
    assert merged.mean().item() == pytest.approx(2.0, abs=0.03)
    assert torch.equal(merge(base, tuned, "dare", drop=0.75, seed=5)["w"], merged)
    assert not torch.equal(merge(base, tuned, "dare", drop=0.75, seed=6)["w"], merged)
    assert not torch.equal(
        merge(base, tuned, "dare", drop=0.75, seed=None)["w"], merge(base, tuned, "dare", drop=0.75, seed=None)["w"]
    )


# -- Fisher and RegMean -----------------------------------------------------------------------------------------------


def test_fisher_is_the_closed_form_and_falls_back_to_the_mean():
    base, tuned = states(2)
    generator = torch.Generator().manual_seed(9)
    fishers = [{name: torch.rand(value.shape, generator=generator) for name, value in base.items()} for _ in tuned]
    for fisher in fishers:
        fisher["b.bias"][:3] = 0
    merged = merge(base, tuned, "fisher", fishers=fishers, weights=[1.0, 2.0])
    for name in base:
        first, second = fishers[0][name].double(), 2 * fishers[1][name].double()
        expected = (first * tuned[0][name] + second * tuned[1][name]) / (first + second)
        if name == "b.bias":
            expected[:3] = (tuned[0][name][:3] + 2 * tuned[1][name][:3]).double() / 3
        assert torch.allclose(merged[name].double(), expected, atol=1e-5)


def test_fisher_minimises_the_sum_of_the_quadratic_losses():
    """For losses that are quadratic with a diagonal curvature, the Fisher mean is where their sum is smallest."""
    base, tuned = {"w": torch.zeros(6)}, [{"w": torch.randn(6)} for _ in range(3)]
    curvature = [torch.rand(6) + 0.1 for _ in tuned]
    merged = merge(base, tuned, "fisher", fishers=[{"w": part} for part in curvature])["w"]
    point = merged.clone().requires_grad_()
    loss = sum((part * (point - model["w"]) ** 2).sum() for part, model in zip(curvature, tuned, strict=True))
    assert torch.allclose(torch.autograd.grad(loss, point)[0], torch.zeros(6), atol=1e-5)


def test_fisher_information_is_the_mean_squared_gradient_without_dropout():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 1, bias=False), nn.Dropout(0.5))
    model.train()
    batches = [torch.randn(1, 3, generator=generator) for _ in range(4)]
    found = diagonal_fisher(model, lambda network, batch: network(batch).sum(), batches)
    expected = torch.stack([batch[0] ** 2 for batch in batches]).mean(0)
    assert torch.allclose(found["0.weight"][0], expected)
    assert model.training
    assert model[1].training
    with pytest.raises(InvalidValueError, match="got none"):
        diagonal_fisher(model, lambda network, batch: network(batch).sum(), [])
    with pytest.raises(InvalidValueError, match="diverged"):
        diagonal_fisher(model, lambda network, batch: network(batch).sum() * math.nan, batches)


def test_regmean_is_the_least_squares_solution():
    generator = torch.Generator().manual_seed(1)
    base = nn.Linear(4, 3)
    layers = [nn.Linear(4, 3) for _ in range(3)]
    inputs = [torch.randn(20, 4, generator=generator) @ torch.randn(4, 4, generator=generator) for _ in layers]
    grams = [
        linear_grams(layer, lambda net, x: net(x), [x[:8], x[8:]]) for layer, x in zip(layers, inputs, strict=True)
    ]
    for gram, x in zip(grams, inputs, strict=True):
        assert torch.allclose(gram["weight"], x.T @ x / len(x), atol=1e-5)
    merged = merge(base, layers, "regmean", grams=grams, shrink=1.0)
    stacked = torch.cat(inputs).double()
    wanted = torch.cat([x @ layer.weight.T for layer, x in zip(layers, inputs, strict=True)]).detach().double()
    solution = torch.linalg.lstsq(stacked, wanted).solution.T
    assert torch.allclose(merged["weight"].double(), solution, atol=1e-4)
    assert torch.allclose(merged["bias"], torch.stack([layer.bias for layer in layers]).mean(0), atol=1e-6)


def test_regmean_leaves_the_mean_where_no_input_goes():
    base, (first, second) = nn.Linear(3, 2, bias=False), [nn.Linear(3, 2, bias=False) for _ in range(2)]
    inputs = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    grams = [linear_grams(layer, lambda net, x: net(x), [inputs * size]) for layer, size in ((first, 1), (second, 2))]
    merged = merge(base, [first, second], "regmean", grams=grams)["weight"]
    assert torch.allclose(merged[:, 2], (first.weight[:, 2] + second.weight[:, 2]) / 2, atol=1e-6)
    assert torch.allclose(merged[:, :2], (first.weight + 4 * second.weight)[:, :2] / 5, atol=1e-5)


def test_regmean_and_fisher_refuse_what_does_not_fit():
    base, (first, second) = models(2)
    gram = {"inner.weight": torch.eye(6)}
    with pytest.raises(InvalidValueError, match="needs 2, one for each model"):
        merge(base, [first, second], "regmean", grams=[gram])
    with pytest.raises(InvalidValueError, match=r"inner\.weight stands in only some"):
        merge(base, [first, second], "regmean", grams=[gram, {}])
    with pytest.raises(InvalidValueError, match=r"inner\.weight is \(5, 5\)"):
        merge(base, [first, second], "regmean", grams=[{"inner.weight": torch.eye(5)}] * 2)
    with pytest.raises(InvalidValueError, match="no linear layer"):
        linear_grams(nn.ReLU(), lambda net, x: net(x), [torch.ones(1)])
    fisher = {name: torch.ones_like(value) for name, value in base.named_parameters()}
    with pytest.raises(InvalidValueError, match="needs 2, one for each model"):
        merge(base, [first, second], "fisher", fishers=[fisher])
    with pytest.raises(InvalidValueError, match=r"fishers\[1\]: lacks norm\.bias"):
        merge(base, [first, second], "fisher", fishers=[fisher, {k: v for k, v in fisher.items() if k != "norm.bias"}])
    with pytest.raises(InvalidValueError, match="negative numbers"):
        merge(base, [first, second], "fisher", fishers=[fisher, {name: -value for name, value in fisher.items()}])


# -- every method -----------------------------------------------------------------------------------------------------


def options_for(method, base, tuned):
    if method == "fisher":
        return {"fishers": [{n: p.detach().abs() for n, p in model.named_parameters()} for model in tuned]}
    if method == "regmean":
        return {"grams": [{"inner.weight": torch.eye(6) + 0.1} for _ in tuned]}
    return {}


@pytest.mark.parametrize("method", METHODS)
def test_buffers_stay_ties_hold_nothing_else_changes(method):
    base, tuned = models(2)
    before = [copy.deepcopy(model.state_dict()) for model in (base, *tuned)]
    merged = merge(base, tuned, method, **options_for(method, base, tuned))
    for model, state in zip((base, *tuned), before, strict=True):
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name])
    assert list(merged) == list(base.state_dict())
    assert torch.equal(merged["norm.running_mean"], base.norm.running_mean)
    assert torch.equal(merged["position_ids"], base.position_ids)
    assert torch.equal(merged["out.weight"], merged["table.weight"])
    loaded = Network(7)
    loaded.load_state_dict(merged, strict=True)
    assert loaded.out.weight is loaded.table.weight
    assert not torch.equal(merged["inner.weight"], base.inner.weight)
    merged["inner.bias"].zero_()
    merged["norm.running_mean"].zero_()
    assert torch.equal(base.inner.bias, before[0]["inner.bias"])
    assert torch.equal(base.norm.running_mean, before[0]["norm.running_mean"])


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_is_added_up_in_32_bits(method):
    base, tuned = (models(2)[0].half(), [model.half() for model in models(2)[1]])
    options = options_for(method, base, tuned)
    merged = merge(base, tuned, method, **options)
    wide = merge(copy.deepcopy(base).float(), [copy.deepcopy(model).float() for model in tuned], method, **options)
    for name, value in merged.items():
        assert value.dtype == base.state_dict()[name].dtype
        assert torch.equal(value, wide[name].to(value.dtype)), name


@pytest.mark.parametrize("method", METHODS)
def test_blocks_of_rows_change_nothing(method, monkeypatch):
    base, tuned = models(2)
    options = options_for(method, base, tuned)
    if method == "dare":
        options["drop"] = 0.0  # what is dropped depends on the blocks
    whole = merge(base, tuned, method, **options)
    for module in ("polyvec.combine.merging.in_memory", "polyvec.combine.task_vectors.checkpoint"):
        monkeypatch.setattr(f"{module}.BLOCK_NUMBERS", 7)
    pieces = merge(base, tuned, method, **options)
    for name, value in whole.items():
        assert torch.allclose(value, pieces[name], atol=1e-6), name


def test_bad_input(tmp_path):
    base, tuned = models(2)
    for options, error, message in (
        ({"method": "best"}, NotFoundError, "needs one of average, task-arithmetic"),
        ({"method": "self-positioning"}, NotFoundError, "use SelfPositioning"),
        ({"method": "ties", "drop": 0.1}, InvalidTypeError, "ties: got an unexpected keyword argument 'drop'"),
        ({"method": "fisher"}, InvalidTypeError, "fisher: missing 1 required positional argument: 'fishers'"),
        ({"weights": [1.0]}, InvalidValueError, "weights: got 1, needs 2"),
        ({"weights": [1.0, -1.0]}, InvalidValueError, "sum to 0"),
        ({"weights": [1.0, math.nan]}, InvalidValueError, "finite"),
        ({"weights": ["a", 1]}, InvalidTypeError, "needs a number"),
        ({"scale": math.inf}, InvalidValueError, "finite"),
        ({"method": "slerp", "weights": [1.0, 0.0]}, InvalidValueError, "above 0"),
        ({"method": "ties", "density": 0.0}, InvalidValueError, "density"),
        ({"method": "ties", "trim": "layer"}, InvalidValueError, "trim"),
        ({"method": "dare", "drop": 1.0}, InvalidValueError, "drop"),
        ({"method": "regmean", "grams": [{}, {}], "shrink": 2.0}, InvalidValueError, "shrink"),
    ):
        with pytest.raises(error, match=message):
            merge(base, tuned, **options)
    with pytest.raises(InvalidValueError, match="at least one model"):
        merge(base, [])
    with pytest.raises(InvalidTypeError, match="needs a list"):
        merge(base, tuned[0])
    with pytest.raises(InvalidTypeError, match="beside a ready method"):
        merge(base, tuned, merge_method("average"), scale=2.0)
    for method in PLAIN:
        with pytest.raises(InvalidValueError, match="is the same as its base"):
            merge(base, [tuned[0], copy.deepcopy(base)], method)
    other = TaskVector.from_checkpoints(tuned[0], tuned[1])
    with pytest.raises(InvalidValueError, match="another base"):
        merge(base, [other])
    with pytest.raises(InvalidValueError, match=r"lacks b\.bias"):
        merge(states(0)[0], [{"a.weight": torch.ones(5, 4), "c.weight": torch.ones(3, 2, 2)}])
    small = {"w": torch.ones(3, dtype=torch.float16)}
    with pytest.raises(InvalidValueError, match=r"w: the merged weights do not fit in torch\.float16"):
        merge(small, [{"w": torch.full((3,), 6e4, dtype=torch.float16)}], "task-arithmetic", scale=2.0)


def test_mixed_kinds_of_models(tmp_path):
    base, tuned = states(3)
    TaskVector.from_checkpoints(base, tuned[1]).save(tmp_path / "second.safetensors")
    save_model_folder(tmp_path / "third", tuned[2], shards=2)
    given_ = [tuned[0], tmp_path / "second.safetensors", str(tmp_path / "third")]
    mixed, plain = merge(base, given_), merge(base, tuned)
    vectors = merge(base, [TaskVector.from_checkpoints(base, model) for model in tuned])
    for name, value in plain.items():
        assert torch.allclose(mixed[name], value, atol=1e-6)
        assert torch.allclose(vectors[name], value, atol=1e-6)
    gram = gram_matrix([TaskVector.from_checkpoints(base, model) for model in tuned])
    assert gram.shape == (3, 3)
