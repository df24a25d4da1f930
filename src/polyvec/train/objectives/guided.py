"""Guided contrastive training: a frozen guide model says which candidates are no real negatives."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train.objectives.candidates import BLOCKS, block_scores, check_blocks, own_pairs
from polyvec.train.objectives.checks import check_embeddings, check_negatives
from polyvec.train.objectives.contrastive import InfoNCE
from polyvec.train.objectives.prefix import unit_length

logger = logging.getLogger("polyvec.train")
MARGIN_MODES = ("absolute", "relative")
_SAME = 1 - 1e-6  # cosine in float32 of two equal vectors, and of nothing else that a guide gives


def check_margin(margin: float, mode: str) -> float:
    """A margin that is finite and not negative, in a known mode."""
    if mode not in MARGIN_MODES:
        raise InvalidValueError(f"margin_mode: got {mode!r}, needs 'absolute' or 'relative'")
    if isinstance(margin, bool) or not isinstance(margin, (int, float)):
        raise InvalidTypeError(f"margin: got {type(margin).__name__}, needs a number that is not negative")
    if not math.isfinite(margin) or margin < 0:
        raise InvalidValueError(f"margin: got {margin}, needs a finite number that is not negative")
    return float(margin)


def false_negatives(
    guide_anchors: Float[Tensor, "batch guide"],
    guide_positives: Float[Tensor, "batch guide"],
    guide_negatives: Float[Tensor, "others guide"] | Float[Tensor, "batch each guide"] | None = None,
    *,
    margin: float = 0.0,
    margin_mode: str = "absolute",
    blocks: Iterable[str] = BLOCKS,
) -> dict[str, Tensor]:
    """The candidates that a guide finds closer to their anchor than the anchor's own positive is, for each block.

    The threshold of row `i` of every block is the guide's cosine of anchor `i` and positive `i`. Taken out is what lies
    strictly above it; besides, what has the guide vector of the anchor or of its positive, thus the same content, which
    no strict comparison finds where anchor and positive are the same. An anchor's own positive is never taken out.

    Args:
        guide_anchors: The guide's vectors `(batch, guide)` of the anchors.
        guide_positives: Of the positives.
        guide_negatives: Of the negatives, `(others, guide)` or `(batch, each, guide)`.
        margin: Lowers the threshold `t`, so that more is taken out.
        margin_mode: `"absolute"`: to `t - margin`; `"relative"`: to `t - margin * |t|`.
        blocks: See `InfoNCE`.

    Returns:
        For each block a mask of its shape, to be given as `exclude` to `InfoNCE`.

    Raises:
        InvalidTypeError: Not tensors of floating-point numbers.
        InvalidValueError: Shapes that do not fit together; a bad margin; vectors that require a gradient; NaN (checked
            on the CPU).

    Source: GISTEmbed (2024), section 3. Deviations: the diagonals of `qq` and `pp` are left to `InfoNCE`, which always
    takes them out; duplicates are taken out; a relative margin lowers a negative threshold too, where
    `t * (1 - margin)` would raise it.
    """
    names, margin = check_blocks(blocks), check_margin(margin, margin_mode)
    check_embeddings(guide_anchors, "guide_anchors")
    check_embeddings(guide_positives, "guide_positives", rows=len(guide_anchors), dim=guide_anchors.shape[1])
    if guide_negatives is not None:
        check_negatives(guide_negatives, guide_anchors, name="guide_negatives")
    for name, part in (("anchors", guide_anchors), ("positives", guide_positives), ("negatives", guide_negatives)):
        if part is not None and part.requires_grad:
            raise InvalidValueError(f"guide_{name}: requires a gradient, needs a frozen guide; encode under no_grad")
    with torch.no_grad(), torch.autocast(guide_anchors.device.type, enabled=False):
        anchors, positives, negatives = (
            None if part is None else unit_length(part.double() if part.dtype == torch.float64 else part.float())
            for part in (guide_anchors, guide_positives, guide_negatives)
        )
        assert anchors is not None
        assert positives is not None
        scores = block_scores(anchors, positives, negatives, BLOCKS)
        threshold = scores["qp"].diagonal()[:, None]
        cut = threshold - margin * (threshold.abs() if margin_mode == "relative" else 1)
        same = (scores["qq"] >= _SAME) | (scores["pp"] >= _SAME)
        masks = {block: (scores[block] > cut) | same for block in ("qp", "qq", "pp")}
        if negatives is not None:
            masks["qn"] = (scores["qn"] > cut) | (positives @ negatives.flatten(0, -2).T >= _SAME)
        masks["qp"] &= ~own_pairs(len(anchors), anchors.device)
    return {block: masks[block] for block in names if block in masks}


class GuidedContrastiveLoss(nn.Module):
    """InfoNCE without the false negatives that a frozen, stronger guide encoder finds in the batch.

    In a batch, what is labelled as the positive of one anchor is often a good match of another. Whatever the guide
    finds closer to an anchor than its own positive is taken out of that anchor's candidates. The guide's vectors come
    as arguments, by keyword: encode each text once with `GuideCache`. The guide may be of any width, and have another
    tokenizer. Without guide vectors this is `InfoNCE` with the blocks `qq` and `pp`.

    As it takes embeddings, `MatryoshkaLoss` goes around it (guide vectors by keyword are not sliced), and
    `cached_backward` makes its batch as large as wanted. Where one batch is scored many times, call `false_negatives`
    once and give its masks to `InfoNCE` as `exclude`.

    Args:
        temperature: Scores are divided by it; 0.01 as in the source.
        margin: Takes out also what the guide finds nearly as close as the positive; see `false_negatives`.
        margin_mode: `"absolute"` or `"relative"`.
        blocks: The candidates; see `InfoNCE`. All of them as in the source; retrieval may do better without `pp`.
        learn_temperature: Make the temperature a parameter.

    Shapes:
        anchors `(batch, dim)`, positives `(batch, dim)`, negatives `(others, dim)` or `(batch, each, dim)`, and the
        guide's vectors of the same rows in the guide's width; `exclude` as in `InfoNCE`, besides the guide's choice.
        Returns a scalar.

    Raises:
        InvalidTypeError: Not tensors of floating-point numbers.
        InvalidValueError: What `InfoNCE` and `false_negatives` refuse; guide vectors of some sides only.

    Source: Solatorio, "GISTEmbed" (arXiv 2402.16829, 2024), section 3.

    Example:
        >>> import torch
        >>> guide_anchors = torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0]])
        >>> guide_positives = torch.tensor([[1.0, 0.3], [1.0, 0.1], [0.1, 1.0]])
        >>> loss = GuidedContrastiveLoss(blocks=("qp",))
        >>> pairs = torch.randn(3, 8), torch.randn(3, 8)
        >>> value = loss(*pairs, guide_anchors=guide_anchors, guide_positives=guide_positives)
        >>> round(loss.last_mask_rate, 2)  # anchors 0 and 1 are closer to each other's positive than to their own
        0.33
    """

    def __init__(
        self,
        temperature: float = 0.01,
        *,
        margin: float = 0.0,
        margin_mode: str = "absolute",
        blocks: Iterable[str] = BLOCKS,
        learn_temperature: bool = False,
    ) -> None:
        super().__init__()
        self.contrastive = InfoNCE(temperature, blocks=blocks, learn_temperature=learn_temperature)
        self.margin = check_margin(margin, margin_mode)
        self.margin_mode = margin_mode
        self._taken: dict[str, Tensor] = {}
        self._candidates = 0
        self._warned = False

    def forward(
        self,
        anchors: Float[Tensor, "batch dim"],
        positives: Float[Tensor, "batch dim"],
        negatives: Float[Tensor, "others dim"] | Float[Tensor, "batch each dim"] | None = None,
        *,
        guide_anchors: Float[Tensor, "batch guide"] | None = None,
        guide_positives: Float[Tensor, "batch guide"] | None = None,
        guide_negatives: Float[Tensor, "others guide"] | Float[Tensor, "batch each guide"] | None = None,
        exclude: Bool[Tensor, "batch batch"] | Mapping[str, Tensor] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of a batch."""
        sides = {"anchors": anchors, "positives": positives, "negatives": negatives}
        guides = {"anchors": guide_anchors, "positives": guide_positives, "negatives": guide_negatives}
        guided = [name for name, guide in guides.items() if guide is not None]
        masks: dict[str, Tensor] = {}
        if guided:
            _check_sides(sides, guides)
            assert guide_anchors is not None
            assert guide_positives is not None
            masks = false_negatives(
                guide_anchors,
                guide_positives,
                guide_negatives,
                margin=self.margin,
                margin_mode=self.margin_mode,
                blocks=self.contrastive.blocks,
            )
        loss = self.contrastive(anchors, positives, negatives, exclude=_joined(masks, exclude))
        self._remember(masks)
        return loss

    def _remember(self, masks: Mapping[str, Tensor]) -> None:
        """What the figures are made of, as tensors, so that no device is waited for."""
        self._taken = {block: mask.sum(dim=1) for block, mask in masks.items()}
        rows = len(masks["qp"]) if masks else 0
        own = {"qp": rows, "qq": rows, "pp": rows}  # the diagonals, which the guide has no say in
        for block in ("qq", "pp"):
            if block in masks:
                self._taken[block] = self._taken[block] - masks[block].diagonal().int()
        self._candidates = sum(mask.numel() - own.get(block, 0) for block, mask in masks.items())
        if masks and not self._warned and masks["qp"].device.type == "cpu" and 2 * self.last_silent_anchors > rows:
            self._warned = True
            logger.warning(
                "the guide leaves %d of %d anchors without any candidate, so that they teach nothing: "
                "their labelled positives look unlike them; check the pairs or the guide",
                self.last_silent_anchors,
                rows,
            )

    @property
    def temperature(self) -> float:
        """What scores are divided by, at present."""
        return self.contrastive.temperature

    @property
    def last_mask_rate(self) -> float:
        """Share of the candidates (without the positives) that the guide took out in the last batch."""
        return self._total() / self._candidates if self._candidates else 0.0

    @property
    def last_masked(self) -> dict[str, float]:
        """For each block how many candidates of an anchor the guide took out in the last batch, on average."""
        return {block: float(taken.float().mean()) for block, taken in self._taken.items()}

    @property
    def last_silent_anchors(self) -> int:
        """Anchors of the last batch that no candidate was left to."""
        if not self._taken:
            return 0
        each = self._candidates // len(self._taken["qp"])
        return int((torch.stack(list(self._taken.values())).sum(dim=0) == each).sum())

    def _total(self) -> int:
        return int(sum(taken.sum() for taken in self._taken.values()))

    def extra_repr(self) -> str:
        """The arguments."""
        return f"margin={self.margin}, margin_mode={self.margin_mode!r}"


def _check_sides(sides: Mapping[str, Tensor | None], guides: Mapping[str, Tensor | None]) -> None:
    """Guide vectors for every side that takes part, and for no other, row by row."""
    for name, side in sides.items():
        guide = guides[name]
        if (side is None) != (guide is None):
            wrong = "got none, needs one vector a row of the" if guide is None else "given, but there are no"
            raise InvalidValueError(f"guide_{name}: {wrong} {name}")
        if isinstance(side, Tensor) and isinstance(guide, Tensor) and guide.shape[:-1] != side.shape[:-1]:
            raise InvalidValueError(
                f"guide_{name}: got {tuple(guide.shape[:-1])} rows, needs {tuple(side.shape[:-1])} as the {name}"
            )


def _joined(
    masks: dict[str, Tensor], exclude: Tensor | Mapping[str, Tensor] | None
) -> Tensor | Mapping[str, Tensor] | None:
    """The guide's masks and the caller's."""
    if not masks or exclude is None:
        return masks or exclude
    if not isinstance(exclude, Mapping):
        exclude = {block: exclude for block in masks if block != "qn"}
    joined = dict(masks)
    for block, mask in exclude.items():
        joined[block] = joined[block] | mask if block in joined and joined[block].shape == mask.shape else mask
    return joined
