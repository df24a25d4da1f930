"""The Chamfer score of two sets of vectors, exactly: for each query vector its best match in the document, added up."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from polyvec.compress.fixed_dimensional.maxsim import best_matches
from polyvec.compress.fixed_dimensional.sets import VectorSets, as_sets
from polyvec.core.arrays import as_matrix, match_kind
from polyvec.train.sizes import check_size

_BLOCK = 1 << 22  # inner products held at once: 16 MiB of float32


def chamfer(query: Any, document: Any) -> float:
    """Chamfer (MaxSim, late interaction) score: the sum over query vectors of the largest inner product.

    Args:
        query: `(m_q, d)`.
        document: `(m_d, d)`.

    Raises:
        InvalidValueError: No vectors, different widths, NaN or infinity.

    Source: ColBERT (2020), equation 3; called Chamfer similarity in MUVERA (2024).

    Example:
        >>> import numpy as np
        >>> chamfer(np.eye(2), np.array([[1.0, 0.0], [0.6, 0.8]]))
        1.8
    """
    asked = as_matrix(query, "query", dtype=None)
    stored = as_matrix(document, "document", dim=asked.shape[1], dtype=None)
    return float((asked @ stored.T).max(axis=1).sum())


def chamfer_matrix(queries: Any, documents: Any, batch: int | None = None) -> Any:
    """Chamfer scores of every query with every document.

    Args:
        queries: Sets of vectors: a list of matrices `(m_i, d)`, `VectorSets`, or what `as_sets` takes.
        documents: As `queries`.
        batch: Documents that are scored together; the default bounds memory.

    Returns:
        float32 `(queries, documents)`; a tensor when a tensor `(n, m, d)` of queries was given.

    Raises:
        InvalidValueError: A set without vectors, different widths, NaN or infinity.
    """
    asked = as_sets(queries, "query")
    stored = as_sets(documents, "document", dim=asked.dim)
    if batch is not None:
        check_size(batch, "batch")
    result = np.empty((len(asked), len(stored)), dtype=np.float32)
    longest = int(stored.lengths.max())
    step = batch or max(1, _BLOCK // (max(1, int(asked.lengths.max())) * longest))
    for start in range(0, len(stored), step):
        part = stored[start : start + step]
        rows = max(1, _BLOCK // max(1, len(part.values)))
        begin = 0
        while begin < len(asked):  # whole queries, as many as fit
            full = int(np.searchsorted(asked.offsets, asked.offsets[begin] + rows, side="right")) - 1
            end = min(max(full, begin + 1), len(asked))
            result[begin:end, start : start + step] = _scores(asked[begin:end], part)
            begin = end
    return match_kind(result, queries)


def _scores(queries: VectorSets, documents: VectorSets) -> Float[np.ndarray, "queries documents"]:
    matches = best_matches(queries.values, documents.values, documents.offsets)
    return np.add.reduceat(matches, queries.offsets[:-1], axis=0)
