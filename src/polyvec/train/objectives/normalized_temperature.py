"""NT-Xent: SimCLR's objective, where both views of all other items are negatives."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polyvec.core.errors import InvalidValueError
from polyvec.train.objectives.checks import check_embeddings, check_positive
from polyvec.train.objectives.prefix import unit_length


class NTXentLoss(nn.Module):
    """Normalised-temperature cross-entropy: find the other view of each of the `2 batch` views among all others.

    Differs from a symmetric `InfoNCE` in that the negatives of a view are both views of the other items, not only the
    opposite ones: each view is told apart from `2 batch - 2` others. The loss is the mean over all views, in nats.

    Args:
        temperature: Cosines are divided by it; 0.5 is the source's best value for small pictures.

    Shapes:
        anchors `(batch, dim)`, positives `(batch, dim)`; returns a scalar.

    Raises:
        InvalidTypeError: Not tensors of floating-point numbers.
        InvalidValueError: Temperature not above 0; shapes that do not fit together; NaN (checked on the CPU); one pair,
            which has no negatives.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (2020), equation 1.

    Example:
        >>> import torch
        >>> views = torch.eye(2)
        >>> round(NTXentLoss(temperature=1.0)(views, views).item(), 4)
        0.5514
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = check_positive(temperature, "temperature")

    def forward(self, anchors: Float[Tensor, "batch dim"], positives: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
        """The loss of a batch of two views."""
        check_embeddings(anchors, "anchors")
        check_embeddings(positives, "positives", rows=len(anchors), dim=anchors.shape[1])
        if len(anchors) < 2:
            raise InvalidValueError("anchors: got one pair, needs at least 2; drop the last short batch")
        views = unit_length(torch.cat([anchors, positives]))
        scores = views @ views.T / self.temperature
        scores = scores.masked_fill(torch.eye(len(views), dtype=torch.bool, device=views.device), float("-inf"))
        other_view = torch.arange(len(views), device=views.device).roll(len(anchors))
        return F.cross_entropy(scores, other_view)

    def extra_repr(self) -> str:
        """The argument."""
        return f"temperature={self.temperature}"
