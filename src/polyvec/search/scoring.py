"""Pieces of exact and staged search on matrices: blocks, lengths of prefixes, the best of each row, counted cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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


def best_columns(scores: np.ndarray, keep: int) -> npt.NDArray[np.int64]:
    """Columns of the `keep` largest scores of each row, increasing; of equal scores the first columns.

    Where few of many are kept, a bound from every 16th column throws out most scores before any are sorted, which takes
    a third of the time. The result does not depend on it.
    """
    rows, count = scores.shape
    if keep >= count:
        return np.broadcast_to(np.arange(count), scores.shape)
    step = min(16, count // (8 * keep))
    if rows == 0 or step < 4:
        return _partitioned(scores, keep)
    expected = keep / step
    rank = math.ceil(expected + 4 * math.sqrt(expected) + 4)  # so that almost never too few pass
    bound = np.partition(scores[:, ::step], -rank, axis=1)[:, -rank]
    passed = np.flatnonzero(scores >= bound[:, None])
    row = passed // count
    found = np.bincount(row, minlength=rows)
    if found.min() < keep or found.max() > 4 * rank * step:  # columns sorted by score, or many equal scores
        return _partitioned(scores, keep)
    place = np.arange(len(passed)) - np.repeat(np.cumsum(found) - found, found)
    left = np.full((rows, found.max()), -np.inf, dtype=scores.dtype)
    columns = np.zeros(left.shape, dtype=np.int64)
    left[row, place] = scores.reshape(-1)[passed]
    columns[row, place] = passed - row * count
    return np.take_along_axis(columns, _partitioned(left, keep), axis=1)


def _partitioned(scores: np.ndarray, keep: int) -> npt.NDArray[np.int64]:
    count = scores.shape[1]
    if keep >= count:
        return np.broadcast_to(np.arange(count), scores.shape)
    ordered = np.argpartition(scores, count - keep, axis=1)
    chosen = ordered[:, count - keep :]
    best = np.take_along_axis(scores, chosen, axis=1)
    least = best[:, :1]  # argpartition puts the smallest of the chosen first
    cut = np.flatnonzero(np.count_nonzero(scores >= least, axis=1) > keep)  # rows with a tie at the edge
    if len(cut):
        chosen[cut] = np.argsort(-scores[cut], axis=1, kind="stable")[:, :keep]
    return np.sort(chosen, axis=1)
