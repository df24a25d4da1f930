"""Which of the candidates are hard negatives, and which are rather matches that nobody labelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.randomness import numpy_generator
from polyvec.train.negatives.candidates import Candidates, check_count, dense_candidates, unit_rows

CHOICES = ("hardest", "random")
_BLOCK = 1 << 24  # elements of the largest temporary array


@dataclass(frozen=True)
class MinedNegatives:
    """Hard negatives of each query, hardest first.

    Attributes:
        rows: int64 `(queries, count)`: rows of the documents; -1 where too few candidates passed.
        scores: float32 `(queries, count)`: the scores that they were judged by; `-inf` where there is none.
        thresholds: float32 `(queries,)`: the largest score that passed as a negative.
    """

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    thresholds: npt.NDArray[np.float32]

    @property
    def found(self) -> npt.NDArray[np.int64]:
        """How many each query got."""
        return (self.rows >= 0).sum(axis=1)

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """Which queries got as many as were asked for: those that a batch `(batch, count, dim)` can be made of."""
        return self.found == self.rows.shape[1]


def check_positives(positives: Any, queries: int, documents: int | None = None) -> list[np.ndarray]:
    """For each query the rows of its positives, one or more.

    Raises:
        InvalidTypeError: Not integers.
        InvalidValueError: Not one entry a query; a query without positives; a row out of range.
    """
    if isinstance(positives, (str, bytes)) or not hasattr(positives, "__len__"):
        raise InvalidTypeError(f"positives: got {type(positives).__name__}, needs the rows of each query's positives")
    if len(positives) != queries:
        raise InvalidValueError(f"positives: got {len(positives)} entries, needs {queries}, one a query")
    checked = []
    for number, entry in enumerate(positives):
        rows = np.atleast_1d(np.asarray(entry))
        if rows.size == 0:
            raise InvalidValueError(f"positives: query {number} has none, needs at least one")
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise InvalidTypeError(f"positives: query {number} has {entry!r}, needs a row or a list of rows")
        if rows.min() < 0 or (documents is not None and rows.max() >= documents):
            raise InvalidValueError(f"positives: query {number} has {rows.tolist()}, needs rows below {documents}")
        checked.append(rows.astype(np.int64))
    return checked


def _check_limits(limits: dict[str, float | None]) -> None:
    for name, value in limits.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise InvalidTypeError(f"{name}: got {type(value).__name__}, needs a number or None")
        if not math.isfinite(value):
            raise InvalidValueError(f"{name}: got {value}, needs a finite number or None")
    ratio, margin = limits.get("max_ratio"), limits.get("margin")
    if ratio is not None and not 0 < ratio <= 1:
        raise InvalidValueError(f"max_ratio: got {ratio}, needs a number above 0 and at most 1, such as 0.95")
    if margin is not None and margin < 0:
        raise InvalidValueError(f"margin: got {margin}, needs a number that is not negative")


def score_limits(
    positive_scores: npt.ArrayLike,
    *,
    max_ratio: float | None = None,
    margin: float | None = None,
    max_score: float | None = None,
) -> npt.NDArray[np.float32]:
    """The largest score of a negative for each query; the strictest of the rules that are given.

    Args:
        positive_scores: Score of each query's positive; of several positives the lowest.
        max_ratio: That share of the positive's score: 0.95 is the recipe of NV-Embed ("95% of the positive"). Where the
            positive's score `s` is negative, it is lowered by the same amount: `s - (1 - max_ratio) * |s|`.
        margin: That much below the positive's score.
        max_score: The same for all queries.

    Raises:
        InvalidTypeError: Not numbers.
        InvalidValueError: A ratio outside of (0, 1], a negative margin, a limit that is not finite.

    Source: NV-Embed (2025), section 4.1; Moreira et al., "NV-Retriever" (2024), section 3.2, whose names are
    TopK-PercPos, TopK-MarginPos and TopK-Abs.

    Example:
        >>> [round(limit, 3) for limit in score_limits([0.8, -0.5], max_ratio=0.95).tolist()]
        [0.76, -0.525]
    """
    _check_limits({"max_ratio": max_ratio, "margin": margin, "max_score": max_score})
    own = np.asarray(positive_scores, dtype=np.float32)
    limit = np.full(own.shape, np.inf, dtype=np.float32)
    if max_ratio is not None:
        limit = np.minimum(limit, own - np.float32(1 - max_ratio) * np.abs(own))
    if margin is not None:
        limit = np.minimum(limit, own - np.float32(margin))
    if max_score is not None:
        limit = np.minimum(limit, np.float32(max_score))
    return limit


def select_negatives(
    candidates: Candidates,
    positives: Sequence[Any],
    *,
    count: int = 7,
    limits: npt.ArrayLike | None = None,
    min_score: float | None = None,
    ranks: tuple[int, int | None] = (0, None),
    choice: str = "hardest",
    seed: int | None = None,
) -> MinedNegatives:
    """Hard negatives among candidates: no positives, not too high, not too low.

    Args:
        candidates: What a search found, best first.
        positives: For each query the row of its positive, or the rows of several.
        count: How many a query; 7 as in NV-Embed.
        limits: Largest score for each query, from `score_limits`; `None` lets every score pass.
        min_score: Smallest score, below which a negative teaches nothing.
        ranks: First and last rank (exclusive) that count, positives left aside: `(10, 60)` skips the ten best.
        choice: `"hardest"` takes the best that pass, `"random"` draws among all that pass.
        seed: Of the draws.

    Raises:
        InvalidTypeError: Arguments of a wrong type.
        InvalidValueError: Counts below 1, ranks that leave nothing, an unknown choice, positives that do not fit.
    """
    count = check_count(count, "count")
    if choice not in CHOICES:
        raise InvalidValueError(f"choice: got {choice!r}, needs one of {', '.join(CHOICES)}")
    first, last = check_count(ranks[0], "ranks", 0), None if ranks[1] is None else check_count(ranks[1], "ranks")
    if last is not None and last <= first:
        raise InvalidValueError(f"ranks: got {ranks}, needs a last rank above the first")
    _check_limits({"min_score": min_score})
    own = check_positives(positives, len(candidates))
    largest = np.full(len(candidates), np.inf, np.float32) if limits is None else np.asarray(limits, np.float32)
    if largest.shape != (len(candidates),):
        raise InvalidValueError(f"limits: got shape {largest.shape}, needs ({len(candidates)},), one a query")
    passes = (candidates.rows >= 0) & ~_is_positive(candidates.rows, own)
    rank = np.cumsum(passes, axis=1) - 1
    passes &= (rank >= first) & (rank < (rank.shape[1] if last is None else last))
    passes &= candidates.scores <= largest[:, None]
    if min_score is not None:
        passes &= candidates.scores >= np.float32(min_score)
    if choice == "random":
        order = np.where(passes, numpy_generator(seed).random(passes.shape), np.inf)
        chosen = np.zeros_like(passes)
        np.put_along_axis(chosen, order.argsort(axis=1)[:, :count], True, axis=1)
        passes &= chosen
    place = np.cumsum(passes, axis=1) - 1
    passes &= place < count
    rows = np.full((len(candidates), count), -1, dtype=np.int64)
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    query = np.nonzero(passes)[0]
    rows[query, place[passes]], scores[query, place[passes]] = candidates.rows[passes], candidates.scores[passes]
    return MinedNegatives(rows, scores, largest)


def _is_positive(rows: np.ndarray, positives: list[np.ndarray]) -> np.ndarray:
    """Which candidates are positives of their own query; pairs (query, row) as one number each."""
    width = int(max(rows.max(initial=0), max(int(part.max()) for part in positives))) + 1
    known = np.concatenate([part + width * number for number, part in enumerate(positives)])
    return np.isin(rows + width * np.arange(len(rows))[:, None], known) & (rows >= 0)


def _pair_scores(asked: np.ndarray, stored: np.ndarray, query: np.ndarray, row: np.ndarray) -> npt.NDArray[np.float32]:
    """Inner products of given pairs, in blocks."""
    scores = np.empty(len(query), dtype=np.float32)
    step = max(1, _BLOCK // asked.shape[1])
    for start in range(0, len(query), step):
        block = slice(start, start + step)
        scores[block] = np.einsum("nd,nd->n", asked[query[block]], stored[row[block]])
    return scores


def rescored(candidates: Candidates, queries: Any, documents: Any) -> Candidates:
    """The same candidates with the cosines of other vectors, say of a stronger guide, best first by those.

    Raises:
        InvalidTypeError: Not vectors.
        InvalidValueError: Other numbers of rows or widths than the candidates; NaN.
    """
    stored = unit_rows(documents, "documents")
    asked = unit_rows(queries, "queries", dim=stored.shape[1])
    if len(asked) != len(candidates):
        raise InvalidValueError(f"queries: got {len(asked)}, needs {len(candidates)} as the candidates")
    if candidates.rows.max(initial=-1) >= len(stored):
        raise InvalidValueError(f"documents: got {len(stored)}, but a candidate is row {candidates.rows.max()}")
    scores = np.full(candidates.rows.shape, -np.inf, dtype=np.float32)
    query, place = np.nonzero(candidates.rows >= 0)
    scores[query, place] = _pair_scores(asked, stored, query, candidates.rows[query, place])
    order = np.argsort(-scores, axis=1, kind="stable")
    return Candidates(np.take_along_axis(candidates.rows, order, axis=1), np.take_along_axis(scores, order, axis=1))


def mine_hard_negatives(
    queries: Any,
    documents: Any,
    positives: Sequence[Any],
    *,
    count: int = 7,
    candidates: Candidates | None = None,
    depth: int = 200,
    max_ratio: float | None = 0.95,
    margin: float | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    ranks: tuple[int, int | None] = (0, None),
    choice: str = "hardest",
    seed: int | None = None,
) -> MinedNegatives:
    """Hard negatives by a teacher's vectors, without those that it finds nearly as good as the positive.

    The teacher's cosine of query and positive sets the limit for each query: a document above 95% of it is more likely
    a match that nobody labelled than a negative. Of several positives the lowest sets it.

    Args:
        queries: The teacher's vectors `(queries, dim)`.
        documents: The teacher's vectors `(documents, dim)`.
        positives: For each query the row of its positive, or the rows of several.
        count: How many a query.
        candidates: From another search (`keyword_candidates`, or `dense_candidates` of the model in training), which
            the teacher then only filters and sorts. `None`: the teacher's own search.
        depth: How deep the teacher's own search goes.
        max_ratio: See `score_limits`, like `margin` and `max_score`; `None` turns a rule off.
        margin: See `score_limits`.
        max_score: See `score_limits`.
        min_score: See `select_negatives`, like the rest.
        ranks: See `select_negatives`.
        choice: See `select_negatives`.
        seed: See `select_negatives`.

    Raises:
        InvalidTypeError: Arguments of a wrong type.
        InvalidValueError: Arguments that do not fit together or are out of range.

    Source: NV-Embed (2025), section 4.1.

    Example:
        >>> documents = [[1.0, 0.0], [0.99, 0.1], [0.7, 0.7], [0.0, 1.0]]
        >>> mined = mine_hard_negatives([[1.0, 0.05]], documents, [0], count=2)
        >>> mined.rows.tolist()  # row 1 is as close as the positive
        [[2, 3]]
    """
    stored = unit_rows(documents, "documents")
    asked = unit_rows(queries, "queries", dim=stored.shape[1])
    own = check_positives(positives, len(asked), len(stored))
    counts = np.array([len(rows) for rows in own])
    scores = _pair_scores(asked, stored, np.repeat(np.arange(len(own)), counts), np.concatenate(own))
    lowest = np.minimum.reduceat(scores, np.cumsum(counts) - counts)
    limits = score_limits(lowest, max_ratio=max_ratio, margin=margin, max_score=max_score)
    candidates = dense_candidates(asked, stored, depth) if candidates is None else rescored(candidates, asked, stored)
    return select_negatives(
        candidates, own, count=count, limits=limits, min_score=min_score, ranks=ranks, choice=choice, seed=seed
    )
