"""Measuring a price list: every setting on the same documents and queries, with and without a finer code."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyvec.compress.codes import unit_rows
from polyvec.core.arrays import as_matrix
from polyvec.core.errors import InvalidValueError, PolyvecError
from polyvec.core.progress import progress
from polyvec.core.randomness import check_seed, numpy_generator
from polyvec.search.coded import SHORTLIST, CodedSearch
from polyvec.search.prices.listing import PriceList, PriceRow, mark_front
from polyvec.search.prices.measures import K, Truth, interval
from polyvec.search.prices.settings import Setting, settings
from polyvec.search.store.layout import METRICS

SAMPLE = 20_000
QUERIES = 1_200
LEAST_DOCUMENTS = 20
TUNING_SHARE = 0.5
SAMPLES = 2
"""Untouched samples of queries, each for one attempt to confirm a choice."""

TIMED = 20
_GATHERED = 1 << 22  # elements of the decoded shortlists at once: 16 MiB


def price_list(
    vectors: Any,
    queries: Any = None,
    *,
    metric: str = "cosine",
    sample: int = SAMPLE,
    seed: int | None = 0,
    matryoshka_sizes: tuple[int, ...] = (),
    show_progress: bool | None = None,
) -> PriceList:
    """What every byte buys: all registered compressors and settings, measured against the full vectors' ranking.

    Every setting learns from the documents and encodes them; queries are then searched among the codes as an index
    would (`CodedSearch`), alone and, where it pays, with a finer code for the shortlist (8, 6 or 4 bits, float16, or
    the full vector), whose bytes count among those that are kept. Half of the queries give the figures, the other half
    stays untouched until `PriceList.choose` confirms its choice with it.

    Args:
        vectors: Documents `(n, dim)`.
        queries: `(q, dim)`; without, documents are drawn as queries and taken out of those that are searched among.
        metric: How vectors are compared: `cosine`, `dot` or `l2`.
        sample: At most so many documents are measured, drawn at random. In a larger collection neighbours lie closer,
            so that the same code finds a smaller share of them; give all when you can.
        seed: For the sample, the split of queries, and the compressors.
        matryoshka_sizes: Sizes that the model was trained to be cut to; only truncation to those is more than plain.
        show_progress: A bar on the terminal; by default when there is a terminal.

    Raises:
        InvalidValueError: Fewer than 20 documents or 2 queries, another width, NaN or infinity, an unknown metric.
    """
    if metric not in METRICS:
        raise InvalidValueError(f"metric: got {metric!r}, needs one of {', '.join(METRICS)}")
    check_seed(seed)
    matrix = as_matrix(vectors, "vectors")
    if isinstance(sample, bool) or not isinstance(sample, (int, np.integer)) or sample < LEAST_DOCUMENTS:
        raise InvalidValueError(f"sample: got {sample!r}, needs a whole number of at least {LEAST_DOCUMENTS}")
    if len(matrix) < LEAST_DOCUMENTS:
        raise InvalidValueError(
            f"vectors: got {len(matrix)}, needs at least {LEAST_DOCUMENTS} documents to compare rankings of"
        )
    work = _Work.of(matrix, queries, metric, int(sample), seed)
    tried = settings(matrix.shape[1], metric, seed, prefixes=tuple(matryoshka_sizes))
    rows: list[PriceRow] = []
    recalls: list[np.ndarray] = []
    left_out: list[dict[str, str]] = []
    with progress("prices", 2 * len(tried), show=show_progress) as bar:
        finer = [_full(work)]
        for setting in tried:
            bar.describe(f"prices: {setting.label}")
            plain = setting.rescores and not setting.arguments.get("rotation")
            if plain and (coded := _attempt(setting, work, left_out)) is not None:
                finer.append(coded)
            bar.advance()
        known = {coded.label: coded for coded in finer}
        for setting in tried:
            bar.describe(f"prices: {setting.label}")
            tried_in_vain = any(each["label"] == setting.label for each in left_out)
            again = known.get(setting.label)
            if again is None and not tried_in_vain:
                again = _attempt(setting, work, left_out)
            if again is not None:
                for row, recall in work.measured(again, finer):
                    rows.append(row)
                    recalls.append(recall)
            bar.advance()
    rows.append(_full_row(work))
    recalls.append(np.ones(len(work.queries)))
    order = mark_front(rows)
    place = {id(row): number for number, row in enumerate(rows)}
    table = np.stack([recalls[place[id(row)]] for row in order])
    return PriceList(
        documents=len(work.base),
        queries=work.tuning,
        dim=int(matrix.shape[1]),
        full_bytes=4 * int(matrix.shape[1]),
        metric=metric,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=seed,
        rows=order,
        left_out=left_out,
        held_out=queries is None,
        of_documents=len(matrix),
        confirmations=np.array_split(table[:, work.tuning :], SAMPLES, axis=1)
        if len(work.queries) - work.tuning >= 2 * SAMPLES
        else [table[:, work.tuning :]],
    )


@dataclass(slots=True)
class _Coded:
    """A fitted setting, the codes of the documents, and what they decode to."""

    setting: Setting | None
    label: str
    compressor: Any
    codes: np.ndarray
    decoded: np.ndarray
    seconds: float

    @property
    def size(self) -> int:
        return int(self.codes.shape[1] * self.codes.itemsize)


@dataclass(slots=True)
class _Work:
    """Documents and queries that every setting is measured on."""

    base: np.ndarray
    queries: np.ndarray
    tuning: int
    metric: str
    truth: Truth
    seed: int | None

    @classmethod
    def of(cls, matrix: np.ndarray, queries: Any, metric: str, sample: int, seed: int | None) -> _Work:
        generator = numpy_generator(seed)
        if queries is None:
            drawn = generator.permutation(len(matrix))[: max(sample, 1)]
            count = min(QUERIES, max(2, len(drawn) // 5))
            asked, base = matrix[drawn[:count]], matrix[np.sort(drawn[count:])]
        else:
            asked = as_matrix(queries, "queries", dim=matrix.shape[1], min_rows=2)
            asked = asked[generator.permutation(len(asked))]
            base = matrix[np.sort(generator.permutation(len(matrix))[:sample])] if len(matrix) > sample else matrix
        if metric == "cosine":
            asked = asked[asked.any(axis=1)]
            if len(asked) < 2:
                raise InvalidValueError("queries: all are zeros, which have no direction; give other queries")
            asked = unit_rows(asked)
        asked, base = np.ascontiguousarray(asked, dtype=np.float32), np.ascontiguousarray(base, dtype=np.float32)
        tuning = max(1, round(TUNING_SHARE * len(asked)))
        return cls(base, asked, tuning, metric, Truth.of(asked, base, metric), seed)

    def measured(self, coded: _Coded, finer: list[_Coded]) -> list[tuple[PriceRow, np.ndarray]]:
        """The setting alone and with each finer code that is at least twice its size."""
        search = CodedSearch(coded.compressor, coded.codes, self.metric)
        shortlist = np.sort(search.candidates(self.queries, min(SHORTLIST, len(self.base))), axis=1)
        full = self._scores(self.base, shortlist)
        result = [self._row(coded, None, shortlist, full)]
        result += [self._row(coded, other, shortlist, full) for other in finer if other.size >= 2 * coded.size]
        return result

    def _row(
        self, coded: _Coded, finer: _Coded | None, shortlist: np.ndarray, full: np.ndarray
    ) -> tuple[PriceRow, np.ndarray]:
        scores = self._scores((finer or coded).decoded, shortlist)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        found = np.take_along_axis(full, order, axis=1)
        recall = self.truth.recall(found, K)
        tuned = slice(0, self.tuning)
        assert coded.setting is not None
        row = PriceRow(
            name=coded.setting.name,
            setting=coded.setting.arguments,
            label=coded.label,
            rescoring=finer.label if finer is not None else False,
            bytes=coded.size,
            kept_bytes=coded.size + (finer.size if finer is not None else 0),
            recall_1=interval(self.truth.recall(found, 1)[tuned], self.seed),
            recall_10=interval(recall[tuned], self.seed),
            ndcg_10=interval(self.truth.ndcg(found)[tuned], self.seed),
            build_seconds=round(coded.seconds + (finer.seconds if finer is not None else 0), 3),
            queries_per_second=self._speed(coded, finer),
            rescoring_name=None if finer is None else finer.setting.name if finer.setting else "full",
            rescoring_setting=None if finer is None else finer.setting.arguments if finer.setting else {},
        )
        return row, recall

    def _scores(self, vectors: np.ndarray, shortlist: np.ndarray) -> np.ndarray:
        """Scores `(q, shortlist)` of each query with its own shortlist; minus infinity where it is shorter."""
        result = np.empty(shortlist.shape, dtype=np.float64)
        step = max(1, _GATHERED // max(1, shortlist.shape[1] * vectors.shape[1]))
        for start in range(0, len(shortlist), step):
            part = slice(start, start + step)
            gathered, asked = vectors[shortlist[part]], self.queries[part]
            if self.metric == "l2":
                result[part] = -np.linalg.norm(gathered - asked[:, None], axis=2)
                continue
            result[part] = (gathered @ asked[:, :, None])[:, :, 0]
            if self.metric == "cosine":
                lengths = np.linalg.norm(gathered, axis=2)
                result[part] /= np.where(lengths > 0, lengths, 1)
        result[shortlist < 0] = -np.inf
        return result

    def _speed(self, coded: _Coded, finer: _Coded | None) -> float:
        search = CodedSearch(
            coded.compressor,
            coded.codes,
            self.metric,
            rescorer=None if finer is None else finer.compressor,
            fetch=None if finer is None else lambda rows: finer.codes[rows],
        )
        asked = self.queries[:TIMED]
        search.search(asked[0], K)
        started = time.perf_counter()
        for query in asked:
            search.search(query, K)
        return round(len(asked) / (time.perf_counter() - started), 1)


class _Identity:
    """The full vectors as their own codes."""

    @staticmethod
    def inverse_transform(codes: np.ndarray) -> np.ndarray:
        return codes


def _full(work: _Work) -> _Coded:
    return _Coded(None, "full vectors", _Identity(), work.base, work.base, 0.0)


def _full_row(work: _Work) -> PriceRow:
    size = 4 * work.base.shape[1]
    asked = work.queries[:TIMED]
    lengths = np.linalg.norm(work.base, axis=1)
    started = time.perf_counter()
    for query in asked:
        scores = np.einsum("ij,j->i", work.base, query)
        scores = scores / np.where(lengths > 0, lengths, 1) if work.metric == "cosine" else scores
        np.argpartition(-scores, K - 1)[:K]
    speed = round(len(asked) / (time.perf_counter() - started), 1)
    ones = [1.0, 1.0, 1.0]
    return PriceRow(
        "full", {}, "full vectors", False, size, size, list(ones), list(ones), list(ones), 0.0, speed
    )  # fmt: skip


def _attempt(setting: Setting, work: _Work, left_out: list[dict[str, str]]) -> _Coded | None:
    """Fit and encode; a setting that does not fit these vectors is left out with its reason."""
    try:
        started = time.perf_counter()
        compressor = setting.build().fit(work.base)
        codes = np.asarray(compressor.transform(work.base))
        seconds = time.perf_counter() - started
    except PolyvecError as error:
        left_out.append({"label": setting.label, "reason": " ".join(str(error).split())})
        return None
    return _Coded(setting, setting.label, compressor, codes, compressor.inverse_transform(codes), seconds)
