import copy
import math
import warnings

import numpy as np
import pytest
import torch
from merge_testing import models
from torch import nn
from torch.func import functional_call

from polyvec.combine import (
    ContrastiveProbe,
    SelfPositioning,
    SlerpCombiner,
    TaskVector,
    balanced_batches,
    gram_matrix,
    merge,
)
from polyvec.combine.merging import LinearCombiner, PerBlockCombiner, slerp_coefficients
from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFittedError, NotFoundError
from polyvec.train import InfoNCE


def linear_models(count=2, seed=0, width=5):
    generator = torch.Generator().manual_seed(seed)

    def one():
        layer = nn.Linear(width, width).double()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        return layer

    return one(), [one() for _ in range(count)], torch.randn(40, width, generator=generator).double()


def squared(model, batch):
    return (model(batch).tanh() - batch.flip(1)).square().mean()


def fitted_gradient(search, batch):
    """What the search uses: the gradient of its raw numbers for one batch."""
    weights = dict(search.base_model.named_parameters())
    stacks = {name: torch.stack([v.read(name) for v in search.vectors]) for name in weights}
    coefficients = search.combiner()
    _, slope, _ = search._gradient(weights, stacks, coefficients.detach(), [], batch)
    return torch.autograd.grad((coefficients * slope).sum(), [*search.combiner.parameters()])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_gradient_equals_autograd_and_finite_differences(count):
    base, tuned, batch = linear_models(count)
    search = SelfPositioning(base, tuned, squared)
    combiner = search.combiner
    with torch.no_grad():
        combiner.raw_weights.copy_(torch.linspace(-1, 1.5, count))
        combiner.raw_scale.fill_(0.3)
    found = fitted_gradient(search, batch)

    def loss():
        coefficients = slerp_coefficients(combiner.gram, combiner.mixing(), combiner.length())
        merged = {
            name: value.detach() + sum(c * v.read(name) for c, v in zip(coefficients, search.vectors, strict=True))
            for name, value in base.named_parameters()
        }
        return squared(lambda x: functional_call(base, merged, (x,)), batch)

    through_the_graph = torch.autograd.grad(loss(), [combiner.raw_weights, combiner.raw_scale])
    for mine, whole in zip(found, through_the_graph, strict=True):
        assert torch.allclose(mine, whole, rtol=1e-8, atol=1e-10)
    step = 1e-5
    for parameter, gradient in zip((combiner.raw_weights, combiner.raw_scale), found, strict=True):
        for position in range(parameter.numel()):
            values = []
            for direction in (step, -step):
                with torch.no_grad():
                    parameter.view(-1)[position] += direction
                    values.append(loss().item())
                    parameter.view(-1)[position] -= direction
            difference = (values[0] - values[1]) / (2 * step)
            assert gradient.view(-1)[position].item() == pytest.approx(difference, rel=1e-3, abs=1e-7)


def test_coefficients_for_each_weight_have_their_own_gradient():
    base, tuned, batch = linear_models(2)
    search = SelfPositioning(base, tuned, squared, combiner=PerBlockCombiner(2, 2, start=0.3), steps=60, lr=0.05)
    (found,) = fitted_gradient(search, batch)
    merged = {
        name: (value + sum(0.3 * v.read(name) for v in search.vectors)).detach().requires_grad_()
        for name, value in base.named_parameters()
    }
    loss = squared(lambda x: functional_call(base, merged, (x,)), batch)
    gradients = torch.autograd.grad(loss, list(merged.values()))
    for column, (name, gradient) in enumerate(zip(merged, gradients, strict=True)):
        for row, vector in enumerate(search.vectors):
            assert found[row, column].item() == pytest.approx((gradient * vector.read(name)).sum().item(), rel=1e-6)
    search.fit([batch])
    assert search.history_[-1].loss < search.history_[0].loss
    state = search.merged_state_dict()
    for column, name in enumerate(("weight", "bias")):
        change = sum(search.coefficients_[row][column] * v.read(name) for row, v in enumerate(search.vectors))
        assert torch.allclose(state[name], base.get_parameter(name) + change)
    with pytest.raises(InvalidValueError, match="coefficient for each weight"):
        search.method()


def test_it_finds_the_point_that_made_the_data():
    base, tuned, batch = linear_models(2)
    vectors = [TaskVector.from_checkpoints(base, model) for model in tuned]
    wanted = merge(base, vectors, "slerp", weights=[3.0, 1.0], scale=0.6)
    target = functional_call(base, wanted, (batch,)).detach()
    search = SelfPositioning(
        base, vectors, lambda model, x: (model(x) - target).square().mean(), mu=0.0, lr=0.05, steps=400
    )
    search.fit([batch])
    assert search.scale_ == pytest.approx(0.6, abs=1e-3)
    assert search.weights_[0] / search.weights_[1] == pytest.approx(3.0, abs=0.02)
    for name, value in search.merged_state_dict().items():
        assert torch.allclose(value, wanted[name], atol=2e-3)


def test_nothing_but_the_numbers_is_learned_and_the_state_loads():
    base, tuned = models(2)
    base.train()
    before = copy.deepcopy(base.state_dict())
    vectors = [TaskVector.from_checkpoints(base, model) for model in tuned]
    ids = torch.arange(11)
    search = SelfPositioning(base, vectors, lambda model, batch: model(batch).square().mean(), steps=5, lr=0.1)
    search.fit([ids])
    for name, value in base.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in base.parameters())
    assert base.training  # and batch statistics did not move
    loaded = search.apply_(copy.deepcopy(base))
    assert loaded.out.weight is loaded.table.weight
    coefficients = search.coefficients_
    expected = merge(base, vectors, "task-arithmetic", weights=coefficients)
    for name, value in search.merged_state_dict().items():
        assert torch.allclose(value, expected[name], atol=1e-5), name
    assert [len(search.history_), len(coefficients)] == [5, 2]
    assert search.method().scale == search.scale_


def test_the_same_batches_give_the_same_numbers():
    base, tuned, batch = linear_models(3)
    runs = [SelfPositioning(base, tuned, squared, steps=20).fit([batch, batch * 2]).coefficients_ for _ in range(2)]
    assert runs[0] == runs[1]


def test_one_vector_learns_its_length_only():
    base, tuned, batch = linear_models(1)
    search = SelfPositioning(base, tuned, squared, steps=30, lr=0.05).fit([batch])
    assert [name for name, value in search.combiner.named_parameters() if value.requires_grad] == ["raw_scale"]
    assert search.weights_ == pytest.approx([1.0])
    assert search.coefficients_ == pytest.approx([search.scale_])
    assert search.scale_ != pytest.approx(1.0, abs=0.01)


def test_a_large_penalty_drives_the_length_down():
    base, tuned, batch = linear_models(2)
    lengths = [
        SelfPositioning(base, tuned, squared, mu=mu, steps=150, lr=0.05).fit([batch]).scale_ for mu in (0.0, 0.3, 10.0)
    ]
    assert lengths[0] > lengths[1] > lengths[2]
    assert lengths[2] < 0.05


def test_nan_stops_and_the_best_numbers_stay():
    base, tuned, batch = linear_models(2)
    batches = [batch] * 12 + [batch * math.nan] + [batch] * 5
    search = SelfPositioning(base, tuned, squared, steps=18, lr=0.05)
    with pytest.warns(UserWarning, match="not finite at step 12"):
        search.fit(batches)
    assert search.stopped_ == "the loss or its gradient was not finite at step 12"
    assert len(search.history_) == 12
    best = min(range(12), key=lambda step: search.history_[step].loss)  # it falls all the way
    assert search.coefficients_ == pytest.approx(search.history_[best].coefficients)
    assert all(value.isfinite().all() for value in search.merged_state_dict().values())
    with pytest.raises(InvalidValueError, match="not finite at the first step"):
        SelfPositioning(base, tuned, squared).fit([batch * math.nan])


def test_bad_input(own_messages):
    base, tuned, batch = linear_models(2)
    for options, error, message in (
        ({"mu": -0.1}, InvalidValueError, "mu: got -0.1"),
        ({"lr": 0.0}, InvalidValueError, "lr"),
        ({"steps": 0}, InvalidValueError, "steps"),
    ):
        with pytest.raises(error, match=message):
            SelfPositioning(base, tuned, squared, **options)
    with pytest.raises(InvalidValueError, match="at least one model"):
        SelfPositioning(base, [], squared)
    with pytest.raises(InvalidValueError, match="has length 0"):
        SelfPositioning(base, [copy.deepcopy(base), *tuned], squared)
    with pytest.raises(InvalidValueError, match="another base"):
        SelfPositioning(base, [TaskVector.from_checkpoints(tuned[0], tuned[1])], squared)
    with pytest.raises(InvalidTypeError, match="base_model"):
        SelfPositioning(base.state_dict(), tuned, squared)
    with pytest.raises(InvalidTypeError, match="loss_fn"):
        SelfPositioning(base, tuned, 3)
    search = SelfPositioning(base, tuned, squared)
    with pytest.raises(NotFittedError):
        search.merged_state_dict()
    with pytest.raises(InvalidValueError, match="got none"):
        search.fit([])
    with pytest.raises(InvalidTypeError, match="needs a scalar"):
        SelfPositioning(base, tuned, lambda model, x: model(x)).fit([batch])
    with pytest.raises(InvalidValueError, match="does not depend on the model"):
        SelfPositioning(base, tuned, lambda model, x: x.sum()).fit([batch])
    with pytest.raises(InvalidValueError, match="square"):
        SlerpCombiner(torch.ones(2, 3))
    with pytest.raises(InvalidValueError, match="at least 1"):
        PerBlockCombiner(0, 1)


def test_linear_combiner_may_go_negative():
    base, (tuned,), batch = linear_models(1)
    vector = TaskVector.from_checkpoints(base, tuned)
    wanted = merge(base, [vector], "task-arithmetic", scale=-0.5)
    target = functional_call(base, wanted, (batch,)).detach()
    search = SelfPositioning(
        base, [vector], lambda model, x: (model(x) - target).square().mean(), lr=0.05, steps=300,
        combiner=LinearCombiner([1.0]),
    ).fit([batch])  # fmt: skip
    assert search.coefficients_ == pytest.approx([-0.5], abs=1e-3)
    assert search.scale_ is None
    assert search.weights_ is None


# -- the probe --------------------------------------------------------------------------------------------------------


def test_probe_is_the_mean_of_the_tasks_losses():
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(6, 4)
    batch = {name: tuple(torch.randn(2, 8, 6, generator=generator)) for name in ("a", "b")}
    probe = ContrastiveProbe(["a", "b"], 0.07, symmetric=True)
    expected = np.mean([InfoNCE(0.07, symmetric=True)(layer(x), layer(y)).item() for x, y in batch.values()])
    assert probe(layer, batch).item() == pytest.approx(expected, rel=1e-5)
    assert probe.temperatures == pytest.approx({"a": 0.07, "b": 0.07})
    with pytest.raises(NotFoundError, match="'c'"):
        probe(layer, {"c": batch["a"]})
    with pytest.raises(InvalidValueError, match="no task"):
        probe(layer, {})
    with pytest.raises(InvalidValueError, match="tasks"):
        ContrastiveProbe([])
    with pytest.raises(InvalidValueError, match="temperature"):
        ContrastiveProbe(["a"], 0.0)


def test_temperatures_are_learned_for_each_task_or_stay():
    base, tuned, x = linear_models(2)
    batches = [{"near": (x, x + 0.01), "far": (x, x.flip(0))}]
    for learn in (True, False):
        probe = ContrastiveProbe(["near", "far"], learn_temperature=learn)
        SelfPositioning(base, tuned, probe, steps=80, lr=0.05).fit(batches)
        near, far = probe.temperatures["near"], probe.temperatures["far"]
        assert (near < 0.05 < far) if learn else near == far == pytest.approx(0.05)


def test_balanced_batches():
    left, right = torch.arange(10), np.arange(10) + 100
    names = [str(number) for number in range(3)]
    tasks = {"many": (left, right), "few": (names, names), "drawn": lambda draws: (draws.integers(5), 1)}
    batches = list(balanced_batches(tasks, 4, steps=5, seed=1))
    assert len(batches) == 5
    for batch in batches:
        anchors, positives = batch["many"]
        assert len(set(anchors.tolist())) == 4
        assert (positives - 100).tolist() == anchors.tolist()
        assert sorted(batch["few"][0]) == names
        assert batch["few"][0] == batch["few"][1]
    again = list(balanced_batches(tasks, 4, steps=5, seed=1))
    assert [batch["drawn"] for batch in batches] == [batch["drawn"] for batch in again]
    for bad, message in (
        ({}, "got none"),
        ({"a": ([1, 2], [1])}, "2 anchors and 1"),
        ({"a": ([1], [1])}, "at least 2"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            balanced_batches(bad)
    with pytest.raises(InvalidTypeError):
        balanced_batches({"a": [1, 2]})
    with pytest.raises(InvalidValueError, match="batch_size"):
        balanced_batches(tasks, 1)


def test_a_single_task_is_pointed_out():
    base, tuned, x = linear_models(2)
    probe = ContrastiveProbe(["a", "b"])
    with pytest.warns(UserWarning, match="all of the task 'a'"):
        SelfPositioning(base, tuned, probe, steps=3).fit([{"a": (x, x.flip(1))}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SelfPositioning(base, tuned, probe, steps=3).fit([{"a": (x, x.flip(1)), "b": (x, x)}])
        SelfPositioning(base, tuned, probe, steps=4).fit([{"a": (x, x.flip(1))}, {"b": (x, x)}])


def test_the_gram_matrix_is_all_that_slerp_needs():
    base, tuned, _ = linear_models(3)
    vectors = [TaskVector.from_checkpoints(base, model) for model in tuned]
    combiner = SlerpCombiner(gram_matrix(vectors))
    merged = merge(base, vectors, "task-arithmetic", weights=combiner().tolist())
    direct = merge(base, vectors, "slerp")
    for name, value in direct.items():
        assert torch.allclose(merged[name], value)
    assert combiner.length().item() == pytest.approx(1.0)
