"""Search in codes: a quick scan of all, then the shortlist by better vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from polyvec.compress.scanning import Scanner, scanner_of

SHORTLIST = 100
"""Rows that the scan passes on for up to ten results; more results get a proportionally longer shortlist."""

FetchCodes = Callable[[np.ndarray], np.ndarray]


def shortlist_length(count: int) -> int:
    """How many rows to rank again for `count` results: ten times as many, in steps that double.

    In steps, so that pages of one ranking mostly come from the same shortlist.
    """
    length = SHORTLIST
    while length < 10 * count and length < 2 * SHORTLIST * 64:
        length *= 2
    return max(length, count)


class CodedSearch:
    """Ranks codes for queries: every code by the compressor's own scan, a shortlist by decoded vectors.

    The scan is approximate in two ways: the code is coarse, and it does not know the length of the vector that a code
    stands for. So the shortlist is decoded, from the same code or from a finer one, and scored as full vectors are.

    Args:
        compressor: Fitted; made `codes`.
        codes: `(n, width)`, kept in memory.
        metric: `cosine`, `dot` or `l2`.
        rescorer: Fitted compressor of the finer codes, or `None` to score the shortlist by the same codes.
        fetch: The finer codes `(m, width)` of given rows; needed with `rescorer`.
    """

    def __init__(
        self,
        compressor: Any,
        codes: np.ndarray,
        metric: str,
        *,
        rescorer: Any = None,
        fetch: FetchCodes | None = None,
    ) -> None:
        self.metric = metric
        self._compressor, self._rescorer, self._fetch = compressor, rescorer, fetch
        self._scanner: Scanner = scanner_of(compressor, codes, metric)

    @property
    def nbytes(self) -> int:
        """Bytes of the codes in memory."""
        return self._scanner.nbytes

    def search(self, query: np.ndarray, k: int, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores of the `k` best for one query `(d,)`, best first; equal scores by row.

        `rows`, when given, are the only ones that count (increasing numbers).
        """
        found = self._scanner.search(query[None].astype(np.float32), shortlist_length(k), rows)[0]
        found = np.sort(found[found >= 0])
        scores = exact_scores(query, self.decoded(found), self.metric)
        best = np.lexsort((found, -scores))[:k]
        return found[best], scores[best]

    def decoded(self, rows: np.ndarray) -> np.ndarray:
        """The best vectors that are known of these rows `(m, d)`."""
        if self._rescorer is not None and self._fetch is not None:
            return self._rescorer.inverse_transform(self._fetch(rows))
        return self._compressor.inverse_transform(self._scanner.codes(rows))

    def candidates(self, queries: np.ndarray, length: int) -> np.ndarray:
        """Rows that the scan alone finds for each query `(q, length)`, -1 where there are no more."""
        return self._scanner.search(queries, length)


def exact_scores(query: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """Scores of few vectors; equal vectors have equal scores wherever they stand, which a matrix product denies."""
    if metric == "l2":
        return -np.sqrt(np.einsum("nd,nd->n", vectors - query, vectors - query, dtype=np.float64))
    scores = np.einsum("nd,d->n", vectors, query, dtype=np.float64)
    if metric == "cosine":
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)) * np.linalg.norm(query)
        scores = np.divide(scores, lengths, out=np.zeros_like(scores), where=lengths > 0)
    return scores
