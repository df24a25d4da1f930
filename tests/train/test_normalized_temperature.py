import math

import pytest
import torch
from jaxtyping import config

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train.objectives.normalized_temperature import NTXentLoss


def views(rows: int = 5, dim: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(rows, dim, generator=generator, dtype=torch.float64) for _ in range(2))


def by_hand(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    both = [row / row.norm() for row in (*first, *second)]
    losses = []
    for i, anchor in enumerate(both):
        own = (i + len(first)) % len(both)
        scores = {j: math.exp(float(anchor @ other) / temperature) for j, other in enumerate(both) if j != i}
        losses.append(-math.log(scores[own] / sum(scores.values())))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 5.0])
def test_equals_a_loop_over_views(temperature: float) -> None:
    assert NTXentLoss(temperature)(*views()).item() == pytest.approx(by_hand(*views(), temperature))


def test_order_of_the_two_views_and_scale_do_not_matter() -> None:
    first, second = views()
    loss = NTXentLoss()
    assert loss(first, second).item() == pytest.approx(loss(second, 3 * first).item())


def test_identical_views_of_orthogonal_items_reach_the_minimum() -> None:
    eye = torch.eye(6)
    low = NTXentLoss(0.05)(eye, eye).item()
    assert low == pytest.approx(0.0, abs=1e-6)
    assert NTXentLoss(0.05)(eye, eye.roll(1, 0)).item() > 15
    # collapsed views cannot be told apart from 2n - 2 others and the own one
    assert NTXentLoss()(torch.ones(6, 3), torch.ones(6, 3)).item() == pytest.approx(math.log(11), rel=1e-6)


def test_gradient_descent_pulls_views_together() -> None:
    first, second = (value.requires_grad_() for value in views(8, 6))
    optimiser = torch.optim.SGD([first, second], lr=5.0)
    loss = NTXentLoss()
    before = loss(first, second).item()
    for _ in range(100):
        optimiser.zero_grad()
        loss(first, second).backward()
        optimiser.step()
    assert loss(first, second).item() < before / 2
    assert torch.cosine_similarity(first, second).min() > 0.9


def test_bad_input() -> None:
    config.update("jaxtyping_disable", True)  # the product's own messages, not those of the shape checks
    try:
        first, second = views()
        loss = NTXentLoss()
        for bad in (first[0], first[:3], first[:, :2], first[:0]):
            with pytest.raises(InvalidValueError):
                loss(bad, second)
        with pytest.raises(InvalidValueError, match="got one pair"):
            loss(first[:1], second[:1])
        broken = first.clone()
        broken[2, 1] = torch.nan
        with pytest.raises(InvalidValueError, match="row 2 holds NaN"):
            loss(broken, second)
        with pytest.raises(InvalidTypeError):
            loss(first.long(), second)
        for temperature in (0.0, -1.0, math.inf):
            with pytest.raises(InvalidValueError, match="temperature"):
                NTXentLoss(temperature)
    finally:
        config.update("jaxtyping_disable", False)
