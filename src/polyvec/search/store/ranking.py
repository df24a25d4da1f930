"""Orders of results: the best rows of a score vector with ties settled, and reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

RRF_CONSTANT = 60
"""The constant that Cormack, Clarke and Buettcher (SIGIR 2009) fixed in a pilot study; the usual default since."""


def best_rows(scores: Float[np.ndarray, " rows"], count: int) -> Int[np.ndarray, " best"]:
    """Numbers of the `count` highest scores, best first; equal scores in the order of their rows.

    Rows of minus infinity are left out. The first `count` results are the same whatever larger `count` is asked for.
    """
    count = min(count, len(scores))
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    if count < len(scores):
        lowest = np.partition(scores, len(scores) - count)[len(scores) - count]
        candidates = np.flatnonzero(scores >= lowest)
    else:
        candidates = np.arange(len(scores))
    candidates = candidates[scores[candidates] > -np.inf]
    return candidates[np.argsort(-scores[candidates], kind="stable")][:count]


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[int]], constant: int = RRF_CONSTANT
) -> tuple[Int[np.ndarray, " found"], Float[np.ndarray, " found"]]:
    """Several rankings as one: each item scores the sum of `1 / (constant + rank)` over the rankings that hold it.

    Args:
        rankings: Items (whole numbers), best first; ranks count from 1.
        constant: How much the first ranks are worth more than later ones.

    Returns:
        Items and scores, best first; equal scores in the order of the items' numbers.

    Source: Cormack, Clarke and Buettcher, Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods, SIGIR 2009.
    """
    filled = [np.asarray(ranking, dtype=np.int64) for ranking in rankings]
    items, inverse = np.unique(np.concatenate([*filled, np.empty(0, dtype=np.int64)]), return_inverse=True)
    scores = np.zeros(len(items))
    shares = np.concatenate([*(1.0 / (constant + np.arange(1, len(ranking) + 1)) for ranking in filled), np.empty(0)])
    np.add.at(scores, inverse, shares)
    order = best_rows(scores, len(scores))
    return items[order], scores[order]
