"""The best match of each vector in each set, and how much it differs between sets."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from polyvec.compress.fixed_dimensional.sets import VectorSets

_SAMPLED_SETS, _SAMPLED_VECTORS, _FEWEST_SETS = 1_000, 256, 10


def best_matches(
    queries: Float[np.ndarray, "vectors d"], values: Float[np.ndarray, "total d"], offsets: Int[np.ndarray, " bounds"]
) -> Float[np.ndarray, "vectors sets"]:
    """The largest inner product of each query vector with the vectors of each set `(vectors, sets)`."""
    return np.maximum.reduceat(queries @ values.T, offsets[:-1], axis=1)


def maxsim_spread(sets: VectorSets, seed: int | None = 0) -> float | None:
    """How far the best matches of one vector lie apart from document to document; what a search has to tell apart.

    For each of 256 vectors of the sets, drawn at random, the largest cosine with each of up to 1,000 other sets; of
    these the distance between the 5th and the 95th percentile; of these distances the mean. `None` for fewer than 10
    sets, whose percentiles mean little.
    """
    if len(sets) < _FEWEST_SETS:
        return None
    draws = np.random.default_rng(seed)
    chosen = np.sort(draws.choice(len(sets), size=min(_SAMPLED_SETS, len(sets)), replace=False))
    sample = sets[chosen]
    lengths = np.linalg.norm(sample.values, axis=1, keepdims=True)
    unit = sample.values / np.where(lengths > 0, lengths, 1)
    rows = np.sort(draws.choice(len(unit), size=min(_SAMPLED_VECTORS, len(unit)), replace=False))
    matches = np.empty((len(rows), len(sample)), dtype=np.float32)
    step = max(1, (1 << 22) // len(unit))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        matches[start : start + step] = best_matches(unit[part], unit, sample.offsets)
    matches[np.arange(len(rows)), sample.owners[rows]] = np.nan  # a vector matches its own set by itself
    low, high = np.nanpercentile(matches, [5, 95], axis=1)
    return float((high - low).mean())
