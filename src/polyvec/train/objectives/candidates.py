"""What an anchor is told apart from: scores of the candidates in blocks, and masks that take candidates out.

All contrastive objectives share these. A block is named by its two sides: `q` anchors (queries), `p` positives, `n`
negatives. Row `i` of each block belongs to anchor `i`; the columns are candidates; the label is `qp[i, i]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from polyvec.core.errors import InvalidTypeError, InvalidValueError

BLOCKS = ("qp", "qq", "pp", "qn")


def check_blocks(blocks: Iterable[str]) -> tuple[str, ...]:
    """Names of blocks, in the order of `BLOCKS`, with `qp` among them.

    Raises:
        InvalidTypeError: Not a sequence of names.
        InvalidValueError: An unknown or repeated name; none; without `qp`, which holds the positives.
    """
    if isinstance(blocks, (str, bytes)) or not isinstance(blocks, Iterable):
        raise InvalidTypeError(f"blocks: got {blocks!r}, needs names such as ('qp', 'qq', 'pp', 'qn')")
    given = list(blocks)
    for block in given:
        if block not in BLOCKS:
            raise InvalidValueError(f"blocks: got {block!r}, needs names among {', '.join(BLOCKS)}")
    if len(set(given)) != len(given):
        raise InvalidValueError(f"blocks: got {given}, needs each name once")
    if "qp" not in given:
        raise InvalidValueError(f"blocks: got {given}, needs 'qp', the block that holds the positives")
    return tuple(block for block in BLOCKS if block in given)


def block_scores(
    anchors: Float[Tensor, "batch dim"],
    positives: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "others dim"] | Float[Tensor, "batch each dim"] | None,
    blocks: tuple[str, ...],
    in_batch: bool = True,
) -> dict[str, Tensor]:
    """Inner products of anchors with candidates (of positives with positives in `pp`), one matrix a block.

    Args:
        anchors: `(batch, dim)`.
        positives: `(batch, dim)`.
        negatives: `(others, dim)` for all anchors, or `(batch, each, dim)`: some for each anchor.
        blocks: From `check_blocks`; `qn` is left out where there are no negatives.
        in_batch: `False` gives each anchor its own positive and its own negatives alone: `qp` is `(batch, 1)`, `qn`
            `(batch, each)`. Otherwise all rows are candidates of all anchors: `(batch, batch)`, and `qn`
            `(batch, others)` or `(batch, batch * each)`.
    """
    if not in_batch:
        scores = {"qp": (anchors * positives).sum(dim=1, keepdim=True)}
        if negatives is not None:
            scores["qn"] = torch.einsum("bd,bkd->bk", anchors, negatives)
        return scores
    pairs = {"qp": (anchors, positives), "qq": (anchors, anchors), "pp": (positives, positives)}
    if negatives is not None:
        pairs["qn"] = (anchors, negatives.flatten(0, -2))
    return {block: pairs[block][0] @ pairs[block][1].T for block in blocks if block in pairs}


def own_pairs(batch: int, device: torch.device) -> Bool[Tensor, "batch batch"]:
    """The diagonal."""
    return torch.eye(batch, dtype=torch.bool, device=device)


def masks_of(
    scores: Mapping[str, Tensor], exclude: Tensor | Mapping[str, Tensor] | None, in_batch: bool = True
) -> dict[str, Tensor]:
    """For each block, what is no candidate; blocks of which every entry is one are left out.

    The diagonals of `qq` and `pp`, an item with itself, are always taken out.

    Args:
        scores: From `block_scores`.
        exclude: `(batch, batch)`, `[i, j]` true where item `j` is a known match of anchor `i`: taken out of `qp`, `qq`
            and `pp`. Or a mapping from names of blocks to a mask of each block's shape.
        in_batch: As in `block_scores`.

    Raises:
        InvalidTypeError: A mask is no boolean tensor.
        InvalidValueError: Unknown block, wrong shape; an anchor's own positive is excluded (checked on the CPU).
    """
    masks = {}
    for block in ("qq", "pp"):
        if block in scores:
            masks[block] = own_pairs(len(scores[block]), scores[block].device)
    if exclude is None:
        return masks
    if not isinstance(exclude, Mapping):
        if not in_batch:
            raise InvalidValueError(
                "exclude: got a matrix, but in_batch=False has no other items as candidates; "
                "use exclude={'qn': mask} for the negatives"
            )
        exclude = {block: exclude for block in scores if block != "qn"}
    for block, mask in exclude.items():
        if block not in scores:
            raise InvalidValueError(f"exclude: got a mask for {block!r}, but the blocks in use are {list(scores)}")
        _check_mask(mask, block, scores[block])
        taken_out = mask.to(scores[block].device)
        masks[block] = masks[block] | taken_out if block in masks else taken_out
    return masks


def _check_mask(mask: Tensor, block: str, scores: Tensor) -> None:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise InvalidTypeError(f"exclude: got {kind} for {block!r}, needs a boolean tensor")
    if mask.shape != scores.shape:
        raise InvalidValueError(
            f"exclude: got shape {tuple(mask.shape)} for {block!r}, needs {tuple(scores.shape)}, one entry a candidate"
        )
    if block == "qp" and mask.device.type == "cpu" and bool((own := labels_in(mask)).any()):
        raise InvalidValueError(
            f"exclude: the positive of row {int(own.nonzero()[0])} is excluded; the diagonal has to be False"
        )


def labels_in(block: Tensor) -> Tensor:
    """The entries of a `qp` block that belong to the anchors' own positives."""
    return block[:, 0] if block.shape[1] == 1 else block.diagonal()


def masked_cross_entropy(
    scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], temperature: float | Tensor
) -> Float[Tensor, ""]:
    """Mean over anchors of the cross-entropy of finding their own positive among the candidates that are left."""
    parts = [part.masked_fill(masks[block], -torch.inf) if block in masks else part for block, part in scores.items()]
    own = scores["qp"]
    labels = torch.arange(len(own), device=own.device)
    if own.shape[1] == 1:
        labels = torch.zeros_like(labels)
    return cross_entropy(torch.cat(parts, dim=1) / temperature, labels)


def same_group(groups: Tensor) -> Bool[Tensor, "batch batch"]:
    """For `exclude`: which other items of the batch are of the same group (topic, document, identical text).

    Args:
        groups: `(batch,)` integers; equal numbers are one group.

    Raises:
        InvalidTypeError: Not a tensor of integers.
        InvalidValueError: Not one-dimensional.

    Example:
        >>> import torch
        >>> same_group(torch.tensor([7, 3, 7])).int().tolist()
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    """
    if not isinstance(groups, Tensor) or groups.is_floating_point() or groups.is_complex():
        kind = groups.dtype if isinstance(groups, Tensor) else type(groups).__name__
        raise InvalidTypeError(f"groups: got {kind}, needs a tensor of integers, one for each item")
    if groups.ndim != 1:
        raise InvalidValueError(f"groups: got shape {tuple(groups.shape)}, needs one dimension")
    return (groups[:, None] == groups[None, :]) & ~own_pairs(len(groups), groups.device)
