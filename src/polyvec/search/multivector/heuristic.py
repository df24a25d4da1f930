"""The single-vector heuristic: search each query vector among all document vectors, take their documents in turn.

This is how multi-vector engines found candidates before fixed dimensional encodings; it stands here as the baseline.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from polyvec.compress.fixed_dimensional.sets import as_sets
from polyvec.core.arrays import as_matrix
from polyvec.train.sizes import check_size


def single_vector_candidates(
    query: Any, documents: Any, n_candidates: int, *, deduplicate: bool = True
) -> Int[np.ndarray, " candidates"]:
    """Numbers of the documents whose vectors are nearest to the query's vectors, in round-robin order.

    First the documents of the nearest neighbours of all query vectors, then those of the second nearest, and so on.
    The search among the vectors is exact.

    Args:
        query: `(m, d)`.
        documents: Sets of vectors.
        n_candidates: How many to return.
        deduplicate: Whether a document counts once. If not, the list may name one document many times, which is what
            an engine without this step spends its candidates on.

    Returns:
        `(n_candidates,)`; fewer where there are not as many.

    Raises:
        InvalidValueError: No vectors, different widths, NaN or infinity, `n_candidates` below 1.

    Source: the baseline of MUVERA (2024), section 3.1, as used by ColBERTv2 and PLAID.
    """
    stored = as_sets(documents)
    asked = as_matrix(query, "query", dim=stored.dim)
    wanted = check_size(n_candidates, "n_candidates")
    scores = asked @ stored.values.T
    owners = stored.owners
    if not deduplicate:
        depth = min(-(-wanted // len(asked)), scores.shape[1])
        return owners[_neighbours(scores, depth).T.reshape(-1)][:wanted]
    wanted = min(wanted, len(stored))
    depth = min(wanted, scores.shape[1])
    while True:
        found = owners[_neighbours(scores, depth).T.reshape(-1)]
        _, first = np.unique(found, return_index=True)
        if len(first) >= wanted or depth == scores.shape[1]:
            return found[np.sort(first)][:wanted]
        depth = min(2 * depth, scores.shape[1])


def _neighbours(scores: np.ndarray, depth: int) -> np.ndarray:
    """Columns of the `depth` largest scores of each row, best first."""
    if depth < scores.shape[1]:
        columns = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    else:
        columns = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
