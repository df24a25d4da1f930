"""Triplets: an anchor is to be closer to items of its class than to others, by a margin; mined inside the batch."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.randomness import check_seed, torch_generator
from polyvec.train.objectives.checks import check_embeddings, check_positive
from polyvec.train.objectives.prefix import unit_length

MINING = ("semihard", "hard", "random", "all")
_BLOCK = 1 << 24  # elements of the largest temporary array


def _check_labels(labels: Tensor, rows: int, name: str) -> None:
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise InvalidTypeError(f"{name}: got {kind}, needs a tensor of integers, one for each row")
    if labels.shape != (rows,):
        raise InvalidValueError(f"{name}: got shape {tuple(labels.shape)}, needs ({rows},), one for each row")


def mine_triplets(
    distances: Float[Tensor, "anchors references"],
    labels: Int[Tensor, " anchors"],
    reference_labels: Int[Tensor, " references"] | None = None,
    *,
    margin: float = 0.2,
    mining: str = "semihard",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors, positives and negatives, as three int64 vectors of numbers, sorted by anchor, then positive.

    Every pair of an anchor and another item of its class takes part. Its negative is of another class:

    - `"semihard"`: the closest that is farther than the positive, by less than the margin; a pair without one is left
      out. All of these have a loss above 0, and none asks to push apart what the encoder has wrong altogether.
    - `"hard"`: the closest of all. Early in training this makes encoders collapse to one point.
    - `"random"`: any.
    - `"all"`: every one, a triplet each.

    Args:
        distances: `(anchors, references)`; not looked at by `"random"` and `"all"`.
        labels: Classes of the anchors.
        reference_labels: Classes of the references. `None`: the references are the anchors, and an item is not its own
            positive.
        margin: For `"semihard"`.
        mining: The rule.
        generator: For `"random"`; torch's own when left out.

    Raises:
        InvalidTypeError: Labels that are no integers.
        InvalidValueError: Shapes that do not fit; no anchor with a positive, or none with a negative; unknown rule;
            margin not above 0.

    Source: Schroff et al., "FaceNet" (2015), section 3.2.

    Example:
        >>> import torch
        >>> distances = torch.tensor([[0.0, 0.2, 0.1, 0.3], [0.2, 0.0, 0.6, 0.9], [0.1, 0.6, 0, 1], [0.3, 0.9, 1, 0]])
        >>> [part.tolist() for part in mine_triplets(distances, torch.tensor([0, 0, 1, 2]))]  # 1 has none within 0.4
        [[0], [1], [3]]
    """
    if mining not in MINING:
        raise InvalidValueError(f"mining: got {mining!r}, needs one of {', '.join(MINING)}")
    check_positive(margin, "margin")
    if not isinstance(distances, Tensor) or distances.ndim != 2:
        raise InvalidValueError("distances: needs a matrix (anchors, references)")
    _check_labels(labels, distances.shape[0], "labels")
    others = labels if reference_labels is None else reference_labels
    _check_labels(others, distances.shape[1], "reference_labels")
    same = labels[:, None] == others[None, :]
    positive = same.clone()
    if reference_labels is None:
        positive.fill_diagonal_(False)
    anchors, positives = positive.nonzero(as_tuple=True)
    if not len(anchors) or bool(same.all()):
        lacking = "no item has another of its class" if not len(anchors) else "all items are of one class"
        raise InvalidValueError(
            f"labels: {lacking} among {len(labels)} anchors of {len(labels.unique())} classes; "
            "needs at least two classes, and two items of one; draw some items of each class for a batch"
        )
    step = max(1, _BLOCK // distances.shape[1])
    found = []
    for start in range(0, len(anchors), step):
        anchor, own = anchors[start : start + step], positives[start : start + step]
        allowed, score = ~same[anchor], distances.detach()[anchor]
        if mining == "semihard":
            near = score.gather(1, own[:, None])
            allowed &= (score > near) & (score < near + margin)
        if mining == "all":
            pair, negative = allowed.nonzero(as_tuple=True)
        else:
            if mining == "random":
                score = torch.rand(score.shape, generator=generator, device=score.device)
            pair = allowed.any(dim=1).nonzero()[:, 0]
            negative = score.masked_fill(~allowed, torch.inf).argmin(dim=1)[pair]
        found.append((anchor[pair], own[pair], negative))
    anchor, own, negative = (torch.cat(parts) for parts in zip(*found, strict=True))
    return anchor, own, negative


class TripletLoss(nn.Module):
    """`[D(anchor, positive) - D(anchor, negative) + margin]+` over triplets that are mined from the batch.

    Takes embeddings and classes, so that any batch with two and more items of a class serves. The mean is over the
    active triplets, those with a loss above 0: over all, the gradient would shrink as training goes well. The value is
    therefore no measure of progress; `last_active_share` is. A value that stays at exactly the margin is a collapse:
    all embeddings are the same.

    Args:
        margin: In units of the distance; 0.2 as in the source, which belongs to squared distances of unit vectors.
        mining: See `mine_triplets`.
        squared: Use squared Euclidean distances, as the source; `False` their roots, to which other margins belong.
        normalize: Scale embeddings to unit length first.
        seed: Of the draws of `"random"`.

    Shapes:
        embeddings `(batch, dim)`, labels `(batch,)` integers; optionally `references` `(others, dim)` with
        `reference_labels`, among which positives and negatives are then looked for instead. Returns a scalar; 0 when no
        triplet is active.

    Raises:
        InvalidTypeError: Not tensors of floating-point numbers, labels that are no integers.
        InvalidValueError: What `mine_triplets` refuses; references without labels; NaN (checked on the CPU).

    Source: Schroff et al., "FaceNet" (2015), sections 3.1 and 3.2.

    Example:
        >>> import torch
        >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
        >>> loss = TripletLoss(mining="hard")
        >>> round(loss(embeddings, torch.tensor([0, 0, 1, 1])).item(), 3), loss.last_active_share
        (1.4, 0.25)
    """

    def __init__(
        self,
        margin: float = 0.2,
        mining: str = "semihard",
        *,
        squared: bool = True,
        normalize: bool = True,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.margin = check_positive(margin, "margin")
        if mining not in MINING:
            raise InvalidValueError(f"mining: got {mining!r}, needs one of {', '.join(MINING)}")
        self.mining = mining
        self.squared, self.normalize = bool(squared), bool(normalize)
        self._seed = check_seed(seed)
        self._draws: torch.Generator | None = None
        self._active: Tensor | None = None
        self._mined = 0

    def forward(
        self,
        embeddings: Float[Tensor, "batch dim"],
        labels: Int[Tensor, " batch"],
        references: Float[Tensor, "others dim"] | None = None,
        reference_labels: Int[Tensor, " others"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of a batch."""
        check_embeddings(embeddings, "embeddings")
        if (references is None) != (reference_labels is None):
            raise InvalidValueError("references: needs reference_labels with them, and none without")
        if references is not None:
            check_embeddings(references, "references", dim=embeddings.shape[1])
        others = embeddings if references is None else references
        if self.normalize:
            embeddings, others = unit_length(embeddings), unit_length(others)
        distances = self._distances(embeddings, others)
        anchors, positives, negatives = mine_triplets(
            distances,
            labels,
            reference_labels,
            margin=self.margin,
            mining=self.mining,
            generator=self._generator(others),
        )
        terms = torch.relu(distances[anchors, positives] - distances[anchors, negatives] + self.margin)
        active = (terms.detach() > 0).sum()
        self._active, self._mined = active, len(terms)
        return terms.sum() / active.clamp(min=1)

    def _distances(self, rows: Tensor, others: Tensor) -> Tensor:
        """In float32 at least: differences of distances are small."""
        with torch.autocast(rows.device.type, enabled=False):
            rows, others = (part if part.dtype == torch.float64 else part.float() for part in (rows, others))
            squares = rows.square().sum(1)[:, None] + others.square().sum(1)[None, :] - 2 * rows @ others.T
            squares = squares.clamp(min=0.0 if self.squared else 1e-12)  # the root has no gradient at 0
            return squares if self.squared else squares.sqrt()

    def _generator(self, values: Tensor) -> torch.Generator | None:
        if self.mining == "random" and (self._draws is None or self._draws.device != values.device):
            self._draws = torch_generator(self._seed, values.device)
        return self._draws

    @property
    def last_active_share(self) -> float:
        """Share of the last batch's triplets that had a loss above 0; 0 when none was mined."""
        return float(self._active) / self._mined if self._active is not None and self._mined else 0.0

    def extra_repr(self) -> str:
        """The arguments."""
        return f"margin={self.margin}, mining={self.mining!r}, squared={self.squared}, normalize={self.normalize}"
