"""Where hard negatives come from: the best documents for each query, by vectors or by words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from polyvec.core.arrays import as_matrix
from polyvec.core.best import best_columns
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.lazy import require

_BLOCK = 1 << 24  # scores that are held at once: 64 MiB of float32


@dataclass(frozen=True)
class Candidates:
    """The documents that a search found for each query, best first.

    Attributes:
        rows: int64 `(queries, depth)`: rows of the documents; -1 where a query has fewer.
        scores: float32 `(queries, depth)`: what the search gave them; `-inf` where there is none.
    """

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape != self.scores.shape:
            raise InvalidValueError(
                f"candidates: got rows {self.rows.shape} and scores {self.scores.shape}, "
                "needs two matrices (queries, depth) of one shape"
            )

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.rows)


def check_count(value: object, name: str, least: int = 1) -> int:
    """`value` as an `int` not below `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"{name}: got {type(value).__name__}, needs an integer")
    if value < least:
        raise InvalidValueError(f"{name}: got {value}, needs at least {least}")
    return int(value)


def unit_rows(values: Any, name: str, dim: int | None = None) -> np.ndarray:
    """Checked float32 matrix with rows of unit length; a zero row stays zero."""
    matrix = as_matrix(values, name, dim=dim)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0)


def dense_candidates(queries: Any, documents: Any, depth: int = 200) -> Candidates:
    """The `depth` documents with the largest cosine for each query; exact, in blocks of queries.

    Args:
        queries: Vectors `(queries, dim)` of any kind.
        documents: Vectors `(documents, dim)`.
        depth: How many a query; all documents where there are fewer.

    Raises:
        InvalidTypeError: Not vectors.
        InvalidValueError: Other widths, NaN, no rows; depth below 1.
    """
    depth = check_count(depth, "depth")
    stored = unit_rows(documents, "documents")
    asked = unit_rows(queries, "queries", dim=stored.shape[1])
    depth = min(depth, len(stored))
    rows = np.empty((len(asked), depth), dtype=np.int64)
    scores = np.empty((len(asked), depth), dtype=np.float32)
    step = max(1, _BLOCK // len(stored))
    for start in range(0, len(asked), step):
        block = slice(start, start + step)
        every = asked[block] @ stored.T
        chosen = best_columns(every, depth)
        values = np.take_along_axis(every, chosen, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        rows[block], scores[block] = (np.take_along_axis(part, order, axis=1) for part in (chosen, values))
    return Candidates(rows, scores)


def keyword_candidates(
    queries: Sequence[str], documents: Sequence[str], depth: int = 200, *, k1: float = 1.5, b: float = 0.75
) -> Candidates:
    """The `depth` documents with the largest BM25 score for each query; documents without a common word do not count.

    BM25 as in Lucene: `idf * tf / (tf + k1 * (1 - b + b * length / mean length))`, where `idf` is
    `ln(1 + (N - n + .5) / (n + .5))`, over lower-case words of two and more characters. Its finds share words with the
    query, where those of a dense search share meaning: they are hard in another way, and they need no model.

    Args:
        queries: Texts.
        documents: Texts.
        depth: How many a query, at most.
        k1: How soon repeated words stop to count.
        b: How much long documents are marked down, from 0 to 1.

    Raises:
        InvalidTypeError: Not sequences of texts.
        InvalidValueError: None of them; depth below 1; k1 or b out of range.
        MissingDependencyError: bm25s is not installed.
    """
    depth = check_count(depth, "depth")
    if not k1 >= 0 or not 0 <= b <= 1:
        raise InvalidValueError(f"k1, b: got {k1} and {b}, needs k1 of at least 0 and b from 0 to 1")
    for name, texts in (("queries", queries), ("documents", documents)):
        _check_texts(texts, name)
    bm25s = require("bm25s", "train", "mining by BM25")
    splitting = {"stopwords": [], "return_ids": False, "show_progress": False}
    words, asked = bm25s.tokenize(list(documents), **splitting), bm25s.tokenize(list(queries), **splitting)
    rows = np.full((len(asked), min(depth, len(words))), -1, dtype=np.int64)
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    if not any(words):
        return Candidates(rows, scores)
    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    index.index(words, show_progress=False)
    for number, tokens in enumerate(asked):
        known = [token for token in tokens if token in index.vocab_dict]
        if not known:
            continue
        every = index.get_scores(known)
        chosen = best_columns(every[None], rows.shape[1])[0]
        chosen = chosen[np.argsort(-every[chosen], kind="stable")]
        chosen = chosen[every[chosen] > 0]
        rows[number, : len(chosen)], scores[number, : len(chosen)] = chosen, every[chosen]
    return Candidates(rows, scores)


def _check_texts(texts: Any, name: str) -> None:
    if isinstance(texts, (str, bytes)):
        raise InvalidTypeError(f"{name}: got one text, needs a sequence of texts")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidTypeError(f"{name}: item {position} is a {type(text).__name__}, needs a str")
    if not len(texts):
        raise InvalidValueError(f"{name}: got none, needs at least one")
