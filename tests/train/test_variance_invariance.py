import math

import numpy as np
import pytest
import torch
from jaxtyping import config

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train.objectives.variance_invariance import VICRegLoss, covariance_term, variance_term


def views(rows: int = 20, dim: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(0.7 * torch.randn(rows, dim, generator=generator, dtype=torch.float64) for _ in range(2))


def test_terms_equal_numpy() -> None:
    first, second = views()
    spread, shared = [], []
    for each in (first.numpy(), second.numpy()):
        deviation = np.sqrt(each.var(axis=0, ddof=1) + 1e-4)
        spread.append(np.maximum(0, 1 - deviation).mean())
        covariance = np.cov(each.T)
        shared.append((covariance[~np.eye(4, dtype=bool)] ** 2).sum() / 4)
    assert variance_term(first).item() == pytest.approx(spread[0])
    assert covariance_term(second).item() == pytest.approx(shared[1])
    agreement = np.mean((first.numpy() - second.numpy()) ** 2)
    assert VICRegLoss(3.0, 5.0, 7.0)(first, second).item() == pytest.approx(
        3 * agreement + 5 * np.mean(spread) + 7 * sum(shared)
    )


def test_each_weight_switches_its_term() -> None:
    first, second = views()
    assert VICRegLoss(0.0, 0.0, 0.0)(first, second).item() == 0.0
    assert VICRegLoss(1.0, 0.0, 0.0)(first, first).item() == 0.0
    assert VICRegLoss(0.0, 1.0, 0.0)(10 * first, 10 * second).item() == 0.0
    one_dimension = VICRegLoss(0.0, 0.0, 1.0)(first[:, :1], second[:, :1])
    assert one_dimension.item() == pytest.approx(0.0, abs=1e-12)


def test_constant_embeddings_are_the_worst_only_with_the_variance_term() -> None:
    constant = torch.full((8, 3), 2.0)
    assert VICRegLoss()(constant, constant).item() == pytest.approx(25 * 0.99)
    assert VICRegLoss(variance=0.0)(constant, constant).item() == 0.0


def test_a_dead_dimension_has_a_finite_gradient() -> None:
    first, second = (value.clone() for value in views())
    first[:, 2] = 0.0
    first.requires_grad_()
    VICRegLoss()(first, second).backward()
    assert torch.isfinite(first.grad).all()


def test_bad_input() -> None:
    config.update("jaxtyping_disable", True)  # the product's own messages, not those of the shape checks
    try:
        first, second = views()
        loss = VICRegLoss()
        for bad in (first[0], first[:3], first[:, :2], first[:0]):
            with pytest.raises(InvalidValueError):
                loss(bad, second)
        with pytest.raises(InvalidValueError, match="got one row"):
            loss(first[:1], second[:1])
        broken = first.clone()
        broken[2, 1] = math.nan
        with pytest.raises(InvalidValueError, match="row 2 holds NaN"):
            loss(broken, second)
        with pytest.raises(InvalidTypeError):
            loss(first.long(), second)
        for name in ("invariance", "variance", "covariance"):
            with pytest.raises(InvalidValueError, match=name):
                VICRegLoss(**{name: -1.0})
    finally:
        config.update("jaxtyping_disable", False)
