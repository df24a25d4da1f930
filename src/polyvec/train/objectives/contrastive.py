"""Contrastive objectives with in-batch negatives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jaxtyping import Bool, Float
from torch import Tensor, nn

from polyvec.core.errors import InvalidValueError
from polyvec.train.objectives.candidates import block_scores, check_blocks, masked_cross_entropy, masks_of
from polyvec.train.objectives.checks import check_embeddings, check_negatives
from polyvec.train.objectives.prefix import unit_length
from polyvec.train.objectives.temperature import Temperature


class InfoNCE(nn.Module):
    """Cross-entropy of finding each anchor's own positive among all candidates of the batch.

    Row `i` of the anchors belongs to row `i` of the positives; the other rows of the batch, and the extra negatives
    when given, are what it has to be told apart from. The loss is the mean over the batch, in nats. Every row of the
    positives counts as a negative of the other anchors, so a batch should not hold the same item twice; what is known
    to be no negative is taken out by `exclude`.

    Args:
        temperature: Scores are divided by it. 0.05 is what sentence encoders are usually trained with (a scale of 20).
        symmetric: Also ask for the anchor of each positive and average both directions. Extra negatives take part
            in the direction from the anchors only.
        normalize: Score by cosine (default) instead of by the dot product.
        blocks: The candidates of anchor `i`: `"qp"` all positives (always), `"qn"` the negatives where given, `"qq"`
            the other anchors, `"pp"` the other positives, these scored against positive `i`.
        in_batch: `False` leaves each anchor its own positive and its own negatives alone, for batches whose items are
            often matches of each other, such as those of a classification task.
        learn_temperature: Make the temperature a parameter, kept within 0.01 to 1; see `Temperature`.

    Shapes:
        anchors `(batch, dim)`, positives `(batch, dim)`, negatives `(others, dim)`, `(batch, each, dim)` or `None`;
        exclude `(batch, batch)` booleans, `[i, j]` true where item `j` is a known match of anchor `i` (taken out of
        `qp`, `qq` and `pp`), or a mapping from blocks to masks of their shapes. Returns a scalar.

    Raises:
        InvalidTypeError: Not tensors of floating-point numbers.
        InvalidValueError: Temperature not above 0; shapes that do not fit together; NaN (checked on the CPU); one
            pair without negatives, from which nothing can be learned; `in_batch=False` without an anchor's own
            negatives; an anchor's own positive in `exclude` (checked on the CPU).

    Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding" (2018), equation 4; the
    blocks `qq` and `pp` as in GISTEmbed (2024), section 3; `in_batch=False` as in NV-Embed (2025), second stage.

    Example:
        >>> import torch
        >>> embeddings = torch.eye(4)
        >>> round(InfoNCE(temperature=1.0)(embeddings, embeddings).item(), 4)
        0.7437
    """

    def __init__(
        self,
        temperature: float = 0.05,
        *,
        symmetric: bool = False,
        normalize: bool = True,
        blocks: Iterable[str] = ("qp", "qn"),
        in_batch: bool = True,
        learn_temperature: bool = False,
    ) -> None:
        super().__init__()
        self.scale = Temperature(temperature, learned=learn_temperature)
        self.symmetric = bool(symmetric)
        self.normalize = bool(normalize)
        self.blocks = check_blocks(blocks)
        self.in_batch = bool(in_batch)
        if not in_batch and (symmetric or set(self.blocks) - {"qp", "qn"}):
            raise InvalidValueError("in_batch: False has no other items, needs blocks ('qp', 'qn') and symmetric=False")

    @property
    def temperature(self) -> float:
        """What scores are divided by, at present."""
        return self.scale.value

    def forward(
        self,
        anchors: Float[Tensor, "batch dim"],
        positives: Float[Tensor, "batch dim"],
        negatives: Float[Tensor, "others dim"] | Float[Tensor, "batch each dim"] | None = None,
        *,
        exclude: Bool[Tensor, "batch batch"] | Mapping[str, Tensor] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of a batch."""
        check_embeddings(anchors, "anchors")
        check_embeddings(positives, "positives", rows=len(anchors), dim=anchors.shape[1])
        self._check_negatives(anchors, negatives)
        if self.normalize:
            anchors, positives = unit_length(anchors), unit_length(positives)
            negatives = unit_length(negatives) if negatives is not None else None
        temperature = self.scale()
        scores = block_scores(anchors, positives, negatives, self.blocks, self.in_batch)
        loss = masked_cross_entropy(scores, masks_of(scores, exclude, self.in_batch), temperature)
        if self.symmetric:
            scores = block_scores(positives, anchors, None, self.blocks)
            loss = (loss + masked_cross_entropy(scores, masks_of(scores, _turned(exclude)), temperature)) / 2
        return loss

    def _check_negatives(self, anchors: Tensor, negatives: Tensor | None) -> None:
        if negatives is not None:
            check_negatives(negatives, anchors, own=not self.in_batch)
            if "qn" not in self.blocks:
                raise InvalidValueError(f"negatives: given, but blocks {list(self.blocks)} leaves out 'qn'")
        elif not self.in_batch:
            raise InvalidValueError("negatives: got none, but in_batch=False has no others; needs (batch, each, dim)")
        elif len(anchors) < 2:
            raise InvalidValueError("anchors: got 1 pair and no negatives, needs at least 2; drop a last short batch")

    def extra_repr(self) -> str:
        """The arguments."""
        return f"symmetric={self.symmetric}, normalize={self.normalize}, blocks={self.blocks}, in_batch={self.in_batch}"


def _turned(exclude: Tensor | Mapping[str, Tensor] | None) -> Tensor | Mapping[str, Tensor] | None:
    """The same masks seen from the positives."""
    if exclude is None:
        return None
    if isinstance(exclude, Mapping):
        names = {"qp": "qp", "qq": "pp", "pp": "qq"}
        return {names[block]: mask.T for block, mask in exclude.items() if block in names}
    return exclude.T
