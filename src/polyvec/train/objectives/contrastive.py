"""Contrastive objectives with in-batch negatives."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from polyvec.core.errors import InvalidValueError
from polyvec.train.objectives.checks import check_embeddings, check_positive
from polyvec.train.objectives.prefix import unit_length


class InfoNCE(nn.Module):
    """Cross-entropy of finding each anchor's own positive among all positives of the batch.

    Row `i` of the anchors belongs to row `i` of the positives; the other rows of the batch, and the extra negatives
    when given, are what it has to be told apart from. The loss is the mean over the batch, in nats. Every row of the
    positives counts as a negative of the other anchors, so a batch should not hold the same item twice.

    Args:
        temperature: Scores are divided by it; fixed, not learned. 0.05 is what sentence encoders are usually trained
            with (a scale of 20).
        symmetric: Also ask for the anchor of each positive and average both directions. Extra negatives take part
            in the direction from the anchors only.
        normalize: Score by cosine (default) instead of by the dot product.

    Shapes:
        anchors `(batch, dim)`, positives `(batch, dim)`, negatives `(others, dim)` or `None`; returns a scalar.

    Raises:
        InvalidTypeError: Not tensors of floating-point numbers.
        InvalidValueError: Temperature not above 0; shapes that do not fit together; NaN (checked on the CPU); one
            pair without negatives, from which nothing can be learned.

    Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding" (2018), equation 4.

    Example:
        >>> import torch
        >>> embeddings = torch.eye(4)
        >>> round(InfoNCE(temperature=1.0)(embeddings, embeddings).item(), 4)
        0.7437
    """

    def __init__(self, temperature: float = 0.05, *, symmetric: bool = False, normalize: bool = True) -> None:
        super().__init__()
        self.temperature = check_positive(temperature, "temperature")
        self.symmetric = bool(symmetric)
        self.normalize = bool(normalize)

    def forward(
        self,
        anchors: Float[Tensor, "batch dim"],
        positives: Float[Tensor, "batch dim"],
        negatives: Float[Tensor, "others dim"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of a batch."""
        check_embeddings(anchors, "anchors")
        check_embeddings(positives, "positives", rows=len(anchors), dim=anchors.shape[1])
        if negatives is not None:
            check_embeddings(negatives, "negatives", dim=anchors.shape[1])
        elif len(anchors) < 2:
            raise InvalidValueError("anchors: got 1 pair and no negatives, needs at least 2; drop a last short batch")
        if self.normalize:
            anchors, positives = unit_length(anchors), unit_length(positives)
            negatives = unit_length(negatives) if negatives is not None else None
        own = torch.arange(len(anchors), device=anchors.device)
        candidates = positives if negatives is None else torch.cat([positives, negatives])
        loss = cross_entropy(anchors @ candidates.T / self.temperature, own)
        if self.symmetric:
            loss = (loss + cross_entropy(positives @ anchors.T / self.temperature, own)) / 2
        return loss

    def extra_repr(self) -> str:
        """The arguments."""
        return f"temperature={self.temperature}, symmetric={self.symmetric}, normalize={self.normalize}"
