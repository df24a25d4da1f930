"""Ranking all codes for a query: without decoding where the code allows it, else block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import numpy as np

Project = Callable[[np.ndarray], np.ndarray]

_BLOCK = 4096
_MANY_QUERIES = 64


@contextmanager
def one_thread() -> Iterator[None]:
    """FAISS on one thread inside the block, for this thread only.

    Its threads wait for each other in a loop. For work of a millisecond they bring nothing on a free machine, and on a
    busy one they take a hundred times as long.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


@runtime_checkable
class Scanner(Protocol):
    """Holds codes in memory and finds the best rows for queries."""

    @property
    def nbytes(self) -> int:
        """Bytes of the codes in memory."""
        ...

    def search(self, queries: np.ndarray, k: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Numbers of the `k` best rows `(queries, k)`, best first, -1 where there are no more.

        `rows`, when given, are the only ones that count (increasing numbers).
        """
        ...

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """The codes of these rows."""
        ...


class FaissScanner:
    """A FAISS index that holds the codes as they are.

    Args:
        empty: Makes the index, trained and without rows.
        codes: `(n, width)`, of the type whose bytes the index takes.
        project: From queries `(q, dim)` to the index's space; `None` for none.
        selects: Whether the index takes a selection of rows itself; else an index of those rows is made for the query.
    """

    def __init__(self, empty: Callable[[], Any], codes: np.ndarray, project: Project | None, *, selects: bool) -> None:
        import faiss

        self._empty, self._project, self._selects = empty, project, selects
        self._type = codes.dtype
        self._index = empty()
        raw = np.ascontiguousarray(codes).view(np.uint8)
        if len(raw):
            self._index.add_sa_codes(raw)
            raw = faiss.rev_swig_ptr(self._index.codes.data(), raw.size).reshape(raw.shape)  # codes lie in memory once
        self._view = raw

    @staticmethod
    def metric_of(metric: str) -> Any:
        """FAISS's metric; the cosine of unit vectors is their inner product."""
        import faiss

        return faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT

    @property
    def nbytes(self) -> int:
        """Bytes of the codes in memory."""
        return int(self._view.nbytes)

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """The codes of these rows."""
        return self._view[rows].view(self._type)

    def search(self, queries: np.ndarray, k: int, rows: np.ndarray | None = None) -> np.ndarray:
        """See `Scanner`."""
        if len(queries) >= _MANY_QUERIES:
            return self._search(queries, k, rows)
        with one_thread():
            return self._search(queries, k, rows)

    def _search(self, queries: np.ndarray, k: int, rows: np.ndarray | None) -> np.ndarray:
        import faiss

        points = queries if self._project is None else self._project(queries)
        points = np.ascontiguousarray(points, dtype=np.float32)
        count = len(self._view) if rows is None else len(rows)
        k = min(k, count)
        if k == 0:
            return np.empty((len(queries), 0), dtype=np.int64)
        if rows is None:
            return self._index.search(points, k)[1]
        if self._selects:
            allowed = np.zeros(len(self._view), dtype=bool)
            allowed[rows] = True
            bits = np.packbits(allowed, bitorder="little")
            library: Any = faiss  # its types do not know what its Python layer adds
            chosen = library.SearchParameters(sel=library.IDSelectorBitmap(bits))
            return self._index.search(points, k, params=chosen)[1]
        part = self._empty()
        part.add_sa_codes(np.ascontiguousarray(self._view[rows]))
        return rows[part.search(points, k)[1]]


class FlatScanner(FaissScanner):
    """Codes that are float32 coordinates themselves."""

    def __init__(self, codes: np.ndarray, metric: str, project: Project | None) -> None:
        import faiss

        width = codes.shape[1]
        super().__init__(
            lambda: faiss.IndexFlat(width, FaissScanner.metric_of(metric)),
            np.asarray(codes, dtype=np.float32),
            project,
            selects=True,
        )


class DecodingScanner:
    """For a compressor without a scan of its own: decodes and scores block by block.

    Args:
        compressor: Decodes with `inverse_transform`.
        codes: `(n, width)` codes.
        metric: `cosine`, `dot` or `l2`.
    """

    def __init__(self, compressor: Any, codes: np.ndarray, metric: str) -> None:
        self._compressor, self._codes, self._metric = compressor, codes, metric

    @property
    def nbytes(self) -> int:
        """Bytes of the codes in memory."""
        return int(self._codes.nbytes)

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """The codes of these rows."""
        return self._codes[rows]

    def search(self, queries: np.ndarray, k: int, rows: np.ndarray | None = None) -> np.ndarray:
        """See `Scanner`."""
        chosen = np.arange(len(self._codes)) if rows is None else rows
        scores = np.empty((len(queries), len(chosen)), dtype=np.float32)
        for start in range(0, len(chosen), _BLOCK):
            part = chosen[start : start + _BLOCK]
            vectors = self._compressor.inverse_transform(self._codes[part])
            scores[:, start : start + len(part)] = similarities(queries, vectors, self._metric)
        k = min(k, len(chosen))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return chosen[order]


def similarities(queries: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """Scores `(q, n)`, higher is better: cosine (0 with zeros), inner product, or minus the Euclidean distance."""
    if metric == "l2":
        squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
        own = np.einsum("qd,qd->q", queries, queries, dtype=np.float64)
        distances = own[:, None] + squares[None] - 2.0 * (queries.astype(np.float64) @ vectors.T.astype(np.float64))
        return -np.sqrt(np.maximum(distances, 0))
    scores = queries @ vectors.T
    if metric == "cosine":
        lengths = np.linalg.norm(vectors, axis=1)
        own = np.linalg.norm(queries, axis=1)
        scores = scores / np.where(lengths > 0, lengths, 1)[None] / np.where(own > 0, own, 1)[:, None]
    return scores


def scanner_of(compressor: Any, codes: np.ndarray, metric: str) -> Scanner:
    """The compressor's own scan, or one that decodes."""
    own = getattr(compressor, "scanner", None)
    return own(codes, metric) if callable(own) else DecodingScanner(compressor, codes, metric)
