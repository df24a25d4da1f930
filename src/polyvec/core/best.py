"""The largest entries of each row, found without sorting all of them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


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
