"""VICReg: views of one item agree, every dimension varies, no two dimensions say the same."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polyvec.core.errors import InvalidValueError
from polyvec.train.objectives.checks import check_embeddings


def variance_term(embeddings: Float[Tensor, "batch dim"], floor: float = 1e-4) -> Float[Tensor, ""]:
    """How far the standard deviations over the batch fall short of 1, mean over dimensions.

    `floor` is added to the variance, so that the gradient of its root stays finite in a dead dimension.
    """
    return F.relu(1.0 - torch.sqrt(embeddings.var(dim=0) + floor)).mean()


def covariance_term(embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Squared covariances of different dimensions over the batch, summed and divided by `dim`."""
    centred = embeddings - embeddings.mean(dim=0)
    covariance = centred.T @ centred / (len(embeddings) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / embeddings.shape[1]


class VICRegLoss(nn.Module):
    """Variance, invariance and covariance of two views: self-supervision without negatives.

    `invariance * mse + variance * (v(a) + v(b)) / 2 + covariance * (c(a) + c(b))`, with the mean squared difference
    over rows and dimensions, `variance_term` and `covariance_term`. Row `i` of both arguments is the same item.
    Without the last two terms the best encoder is a constant one.

    Args:
        invariance: Weight of the agreement of views; 25 in the source.
        variance: Weight of the spread of each dimension; 25 in the source.
        covariance: Weight of the independence of dimensions; 1 in the source.

    Shapes:
        anchors `(batch, dim)`, positives `(batch, dim)`; returns a scalar.

    Raises:
        InvalidTypeError: Not tensors of floating-point numbers.
        InvalidValueError: A negative weight; shapes that do not fit together; NaN (checked on the CPU); one row, which
            has no variance.

    Source: Bardes et al., "VICReg" (ICLR 2022), equations 1 to 6. Deviation: the squared difference is also divided by
    the number of dimensions and the two variance terms are averaged, as in the authors' published code, to which the
    weights 25, 25, 1 belong.

    Example:
        >>> import torch
        >>> views = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> VICRegLoss()(views, views).item(), VICRegLoss()(views * 0, views * 0).item()
        (0.0, 24.75)
    """

    def __init__(self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> None:
        super().__init__()
        for name, weight in (("invariance", invariance), ("variance", variance), ("covariance", covariance)):
            if not math.isfinite(weight) or weight < 0:
                raise InvalidValueError(f"{name}: got {weight}, needs a finite weight >= 0")
        self.invariance, self.variance, self.covariance = float(invariance), float(variance), float(covariance)

    def forward(self, anchors: Float[Tensor, "batch dim"], positives: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
        """The loss of a batch of two views."""
        check_embeddings(anchors, "anchors")
        check_embeddings(positives, "positives", rows=len(anchors), dim=anchors.shape[1])
        if len(anchors) < 2:
            raise InvalidValueError("anchors: got one row, needs at least 2; drop the last short batch")
        return (
            self.invariance * F.mse_loss(anchors, positives)
            + self.variance * (variance_term(anchors) + variance_term(positives)) / 2
            + self.covariance * (covariance_term(anchors) + covariance_term(positives))
        )

    def extra_repr(self) -> str:
        """The weights."""
        return f"invariance={self.invariance}, variance={self.variance}, covariance={self.covariance}"
