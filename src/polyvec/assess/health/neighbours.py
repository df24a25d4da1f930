"""Exact nearest neighbours by blocked matrix products: within a sample, and of every row among reference rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyvec.assess.health.rows import Rows, units
from polyvec.core.progress import ProgressHandle
from polyvec.search.scoring import best_columns, blocks

NEAR = 0.999
"""Cosine above which two vectors count as nearly the same."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest rows of each row.

    Attributes:
        rows: Row numbers `(m,)`.
        nearest: Places in `rows` of the `k` nearest others `(m, k)`, nearest first.
        cosines: Their cosines `(m, k)`, float32.
    """

    rows: np.ndarray
    nearest: np.ndarray
    cosines: np.ndarray


def neighbours_within(unit: np.ndarray, rows: np.ndarray, k: int, handle: ProgressHandle) -> Neighbours:
    """The `k` nearest others of each row of float32 unit vectors `(m, dim)`, by cosine.

    Of equally near rows those that come first are taken.
    """
    nearest = np.empty((len(unit), k), dtype=np.int64)
    cosines = np.empty((len(unit), k), dtype=np.float32)
    for part in blocks(len(unit), len(unit)):
        scores = unit[part] @ unit.T
        scores[np.arange(len(scores)), np.arange(part.start, part.stop)] = -np.inf
        chosen = best_columns(scores, k)
        values = np.take_along_axis(scores, chosen, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        nearest[part] = np.take_along_axis(chosen, order, axis=1)
        cosines[part] = np.take_along_axis(values, order, axis=1)
        handle.advance(len(scores))
    return Neighbours(rows, nearest, cosines)


@dataclass(frozen=True, slots=True)
class References:
    """All rows compared with a few reference rows.

    Attributes:
        closeness: Mean cosine of each row to its `k` nearest reference rows `(n,)`, itself left out.
        best: Row number of the row nearest to each reference `(r,)`.
        best_cosine: Its cosine `(r,)`.
        near: How many rows have a cosine above `NEAR` to each reference `(r,)`.
    """

    closeness: np.ndarray
    best: np.ndarray
    best_cosine: np.ndarray
    near: np.ndarray


def compare_with_references(
    rows: Rows, wanted: np.ndarray, references: np.ndarray, k: int, handle: ProgressHandle
) -> References:
    """Compare the rows `wanted` (increasing row numbers) with the rows `references` (some of them), in one pass."""
    targets = rows.units(references)
    closeness = np.empty(len(wanted), dtype=np.float32)
    best = np.zeros(len(references), dtype=np.int64)
    best_cosine = np.full(len(references), -np.inf, dtype=np.float32)
    near = np.zeros(len(references), dtype=np.int64)
    place = np.argsort(references)
    done = 0
    for start, block in rows.blocks():
        stop = int(np.searchsorted(wanted, start + len(block)))
        numbers = wanted[done:stop]
        handle.advance(len(block))
        if not len(numbers):
            continue
        whole = block if len(numbers) == len(block) else block[numbers - start]
        scores = units(whole)[0].astype(np.float32) @ targets.T
        found = np.searchsorted(references, numbers, sorter=place)
        candidates = place[np.minimum(found, len(place) - 1)]
        itself = np.flatnonzero(references[candidates] == numbers)
        scores[itself, candidates[itself]] = -np.inf
        near += (scores > NEAR).sum(axis=0)
        top = scores.argmax(axis=0)
        values = scores[top, np.arange(len(references))]
        better = values > best_cosine
        best[better] = numbers[top[better]]
        best_cosine[better] = values[better]
        cut = scores.shape[1] - k
        closeness[done:stop] = np.partition(scores, cut, axis=1)[:, cut:].mean(axis=1)
        done = stop
    return References(closeness, best, best_cosine, near)
