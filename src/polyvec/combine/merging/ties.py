"""TIES: trim small changes, elect a sign for each number, average those that agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from polyvec.combine.merging.methods import Block, MergeMethod
from polyvec.combine.task_vectors.checkpoint import row_blocks
from polyvec.combine.task_vectors.vector import TaskVector
from polyvec.core.errors import InvalidValueError

_LOW = 1 << 16


def _bits(values: Tensor) -> Tensor:
    """The bit pattern of the magnitudes as 32-bit numbers: it grows with the magnitude."""
    return values.float().abs().contiguous().view(torch.int32)


def magnitude_threshold(blocks: Callable[[], Iterable[Tensor]], keep: int) -> float:
    """The `keep`-th largest magnitude of all numbers, exact, without holding or sorting them.

    A magnitude's bit pattern orders like the magnitude; two passes count its upper and then its lower 16 bits.

    Args:
        blocks: Called twice, brings all numbers each time.
        keep: From 1 to the number of numbers.
    """
    counts = torch.zeros(_LOW, dtype=torch.int64)
    for block in blocks():
        counts += torch.bincount(_bits(block).flatten() >> 16, minlength=_LOW).cpu()
    upper, left = _bin_from_top(counts, keep)
    counts = torch.zeros(_LOW, dtype=torch.int64)
    for block in blocks():
        bits = _bits(block).flatten()
        counts += torch.bincount(bits[bits >> 16 == upper] & (_LOW - 1), minlength=_LOW).cpu()
    lower, _ = _bin_from_top(counts, left)
    return float(torch.tensor(upper << 16 | lower, dtype=torch.int32).view(torch.float32))


def _bin_from_top(counts: Tensor, keep: int) -> tuple[int, int]:
    """The bin that holds the `keep`-th largest, and its place in that bin."""
    from_top = counts.flip(0).cumsum(0)
    place = int(torch.searchsorted(from_top, keep))
    above = int(from_top[place - 1]) if place else 0
    return len(counts) - 1 - place, keep - above


class Ties(MergeMethod):
    """Trim, elect sign, merge.

    Of each task vector the share `density` with the largest magnitudes is kept; each number's sign is that of the
    weighted sum of what is left; the weighted mean is taken over the models that have this sign.

    Args:
        density: Share of the numbers to keep, above 0 and up to 1; 0.2 as in the source.
        trim: Whether the share is taken over the whole vector (`"vector"`, as in the source) or over each weight
            (`"tensor"`, as other tools do, one pass instead of three).
        weights: One number above 0 for each model.
        scale: Multiplies the result; the source's lambda.

    Numbers that are exactly as large as the smallest kept one are kept too. Where the sum is exactly zero the sign is
    positive (the authors' code takes the sign that is more frequent in the whole model).

    Source: Yadav et al., "TIES-Merging" (NeurIPS 2023), algorithm 1.
    """

    name: ClassVar[str] = "ties"
    needs_positive_weights: ClassVar[bool] = True

    def __init__(
        self,
        density: float = 0.2,
        trim: Literal["vector", "tensor"] = "vector",
        weights: Sequence[float] | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__(weights, scale)
        if not 0 < density <= 1:
            raise InvalidValueError(f"density: got {density}, needs a share above 0 and up to 1")
        if trim not in ("vector", "tensor"):
            raise InvalidValueError(f"trim: got {trim!r}, needs 'vector' or 'tensor'")
        self.density, self.trim = float(density), trim
        self._thresholds: list[float] = []

    def _kept(self, numbers: int) -> int:
        return max(1, round(self.density * numbers))

    def prepare(self, vectors: Sequence[TaskVector]) -> None:
        """Find the smallest magnitude that is kept of each task vector: two passes."""
        super().prepare(vectors)
        if self.trim == "tensor" or self.density == 1:
            return
        for vector in vectors:
            numbers = sum(torch.Size(shape).numel() for shape in vector.shapes.values())
            self._thresholds.append(magnitude_threshold(partial(_all, vector), self._kept(numbers)))

    def needs_whole(self, name: str) -> bool:
        """A share of each weight needs the whole weight."""
        return self.trim == "tensor"

    def _trimmed(self, position: int, delta: Tensor) -> Tensor:
        if self.density == 1:
            return delta
        if self.trim == "vector":
            smallest = self._thresholds[position]
        else:
            smallest = magnitude_threshold(lambda: [delta], self._kept(delta.numel()))
        return delta * (delta.abs().float() >= smallest)

    def merge(self, block: Block) -> Tensor:
        """The mean of those that agree with the elected sign."""
        weights = self.weights_for(len(block.deltas))
        kept = [self._trimmed(position, delta) for position, delta in enumerate(block.deltas)]
        total = torch.zeros_like(kept[0])
        for delta, weight in zip(kept, weights, strict=True):
            total.add_(delta, alpha=weight)
        sign = torch.where(total >= 0, 1.0, -1.0).to(total.dtype)
        total.zero_()
        mass = torch.zeros_like(total)
        for delta, weight in zip(kept, weights, strict=True):
            agrees = delta * sign > 0
            total += weight * delta * agrees
            mass += weight * agrees
        return total / torch.where(mass > 0, mass, torch.ones_like(mass))


def _all(vector: TaskVector) -> Iterator[Tensor]:
    for name, shape in vector.shapes.items():
        for rows in row_blocks(shape):
            yield vector.read(name, rows)
