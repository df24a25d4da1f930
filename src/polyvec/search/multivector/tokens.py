"""The vectors that exact scores are computed from, as they are kept: float32, float16, or whole numbers of 8 bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyvec.compress.fixed_dimensional.sets import VectorSets, rows_of
from polyvec.core.errors import InvalidValueError

PRECISIONS = ("float32", "float16", "int8")


@dataclass(frozen=True, eq=False)
class KeptVectors:
    """All vectors of all documents, one after the other.

    Attributes:
        values: `(total, d)` in the precision that is kept.
        scales: `(total,)` float32: what the whole numbers of a vector are multiplied by; empty unless int8.
        offsets: `(n + 1,)` where each document begins.
    """

    values: np.ndarray
    scales: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, sets: VectorSets, precision: str) -> KeptVectors:
        """Keep sets of vectors; with int8 each vector has its own scale, so that its largest number becomes 127."""
        none = np.empty(0, dtype=np.float32)
        if precision == "float32":
            return cls(sets.values, none, sets.offsets)
        if precision == "float16":
            with np.errstate(over="ignore"):
                short = sets.values.astype(np.float16)
            if not np.isfinite(short).all():
                raise InvalidValueError("documents: numbers too large for float16; use precision='float32' or 'int8'")
            return cls(short, none, sets.offsets)
        largest = np.abs(sets.values).max(axis=1)
        scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        return cls(np.rint(sets.values / scales[:, None]).astype(np.int8), scales, sets.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of vectors, scales and offsets."""
        return int(self.values.nbytes + self.scales.nbytes + self.offsets.nbytes)

    def read(self, numbers: np.ndarray) -> VectorSets:
        """The documents with these numbers, in float32."""
        rows, offsets = rows_of(self.offsets, numbers)
        values = self.values[rows].astype(np.float32)
        if len(self.scales):
            values *= self.scales[rows, None]
        return VectorSets.unchecked(values, offsets)

    def joined(self, other: KeptVectors) -> KeptVectors:
        """These documents, then the other ones."""
        return KeptVectors(
            np.concatenate([self.values, other.values]),
            np.concatenate([self.scales, other.scales]),
            np.concatenate([self.offsets, other.offsets[1:] + self.offsets[-1]]),
        )

    def without(self, gone: np.ndarray) -> KeptVectors:
        """All documents but those whose entry in `gone` `(n,)` is true."""
        rows, offsets = rows_of(self.offsets, np.flatnonzero(~gone))
        return KeptVectors(self.values[rows], self.scales[rows] if len(self.scales) else self.scales, offsets)
