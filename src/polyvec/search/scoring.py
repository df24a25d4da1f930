"""Pieces of exact and staged search on matrices: blocks, lengths of prefixes, the best of each row, counted cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from polyvec.core.best import best_columns as best_columns

_BLOCK = 1 << 24  # elements of the largest temporary array: 64 MiB of float32


@dataclass(frozen=True, slots=True)
class SearchCost:
    """Multiply-adds of the inner products that a search computed, counted while it ran.

    Scaling by lengths, choosing the best and moving data are not counted, neither here nor for the exact search.

    Attributes:
        queries: Number of queries.
        multiply_adds: What the search took, all queries together.
        exact: What scoring every stored vector in full length would have taken.
    """

    queries: int
    multiply_adds: int
    exact: int

    @property
    def saving(self) -> float:
        """How many times fewer multiply-adds than the exact search."""
        return self.exact / self.multiply_adds


def blocks(rows: int, elements_a_row: int) -> Iterator[slice]:
    """Slices of rows whose temporary arrays stay small."""
    step = max(1, _BLOCK // max(1, elements_a_row))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def inverse_lengths(matrix: np.ndarray, sizes: Sequence[int]) -> npt.NDArray[np.float64]:
    """One over the Euclidean length of each prefix `(n, sizes)`; 0 where the length is 0."""
    squares = np.empty((len(matrix), len(sizes)))
    start = 0
    for position, size in enumerate(sizes):
        part = matrix[:, start:size]
        squares[:, position] = np.einsum("nd,nd->n", part, part, dtype=np.float64)
        start = size
    lengths = np.sqrt(np.cumsum(squares, axis=1))
    return np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
