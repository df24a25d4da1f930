"""Dense and keyword rankings of one version of a store."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from polyvec.core.errors import StoreError
from polyvec.search.coded import exact_scores
from polyvec.search.store.ranking import best_rows
from polyvec.search.store.snapshot import BATCH_ROWS, Snapshot

logger = logging.getLogger("polyvec.search")

MEMORY_LIMIT = 1024 * 1024 * 1024
"""Vectors without an index are read into memory at the first dense search, up to this many bytes: one product with the
whole matrix is several times quicker than LanceDB's scan of the disk, and as exact."""

QUERY_CHARACTERS = 32_768
"""A longer query is cut here, with a warning: no encoder reads more at once."""

TUNED_HITS = 10
LEAST_REFINE = 4
"""An index is tuned for `TUNED_HITS` hits. Longer rankings re-rank as many candidates as these did, but no fewer than
this multiple of their own length: hybrid search, which asks for 1,000, would read 10,000 vectors else."""

QUERY_WORDS = 512
"""Keyword search reads this many different words of a query: LanceDB's time grows faster than the number of words."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rows of a snapshot, best first: LanceDB's row ids, the documents' positions, and scores."""

    row_ids: np.ndarray
    positions: np.ndarray
    scores: np.ndarray

    @classmethod
    def nothing(cls) -> Ranked:
        """No rows."""
        return cls(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64))


def dense_ranking(
    snapshot: Snapshot,
    vector: np.ndarray,
    count: int,
    condition: str | None,
    *,
    memory_limit: int = MEMORY_LIMIT,
    exact: bool = False,
    parameters: tuple[int, int] | None = None,
) -> Ranked:
    """The `count` documents whose vectors are most similar to `vector` `(dim,)`.

    Exact in memory when the vectors fit in `memory_limit` bytes and there is no index; else LanceDB's index; else, or
    with `exact=True`, LanceDB's scan of all vectors. Equal scores are ordered by position. `parameters` overrides those
    that the index was built with (see `index_parameters`).
    """
    if snapshot.count == 0 or count <= 0:
        return Ranked.nothing()
    index = snapshot.vector_index
    if snapshot.codec is not None:
        if exact or snapshot.vector_bytes > memory_limit:
            return _decoding(snapshot, vector, count, condition)
        return _in_codes(snapshot, vector, count, condition)
    if (index is None or exact) and snapshot.vector_bytes <= memory_limit:
        return _in_memory(snapshot, vector, count, condition)

    def fetch(limit: int) -> pa.Table:
        query = (
            snapshot.table.search(vector, vector_column_name="vector", query_type="vector")
            .distance_type(snapshot.info.metric)
            .select(["position", "_distance"])
            .with_row_id(True)
            .limit(limit)
        )
        if condition is not None:
            query = query.where(condition, prefilter=True)
        if index is None or exact:
            query = query.bypass_vector_index()
        else:
            probes, refine = parameters or index_parameters(snapshot.schema)
            refine = max(LEAST_REFINE, math.ceil(refine * TUNED_HITS / limit)) if parameters is None else refine
            query = query.minimum_nprobes(probes).maximum_nprobes(0).refine_factor(refine)
        return query.to_arrow()

    metric = snapshot.info.metric

    def scores(rows: pa.Table) -> np.ndarray:
        distances = rows["_distance"].to_numpy().astype(np.float64)
        similarities = -np.sqrt(np.maximum(distances, 0)) if metric == "l2" else 1.0 - distances
        return np.nan_to_num(similarities, nan=0.0)  # a stored vector of zeros has no direction

    return _with_ties(fetch, scores, count)


def index_parameters(schema: pa.Schema) -> tuple[int, int]:
    """Partitions to visit, and candidates to re-rank (as a multiple of the hits), as measured after building."""
    told = schema.field("vector").metadata or {}
    return int(told.get(b"polyvec.nprobes", b"20")), int(told.get(b"polyvec.refine_factor", b"10"))


def _in_memory(snapshot: Snapshot, vector: np.ndarray, count: int, condition: str | None) -> Ranked:
    memory = snapshot.memory()
    query = vector.astype(np.float32)
    if snapshot.info.metric == "l2":
        scores = np.empty(len(memory.matrix), dtype=np.float32)
        for start in range(0, len(scores), 8192):
            scores[start : start + 8192] = -np.linalg.norm(memory.matrix[start : start + 8192] - query, axis=1)
    else:
        if snapshot.info.metric == "cosine":
            query = query / np.linalg.norm(query)
        # einsum, not @: BLAS splits so small a product over threads that wait for each other, which on a busy machine
        # takes fifteen times as long; and here equal vectors have equal scores, wherever they stand in the matrix
        scores = np.einsum("ij,j->i", memory.matrix, query)
    if condition is not None:
        allowed = snapshot.scan(["position"], condition)["position"].to_numpy()
        masked = np.full(len(scores), -np.inf, dtype=scores.dtype)
        kept = np.searchsorted(memory.positions, allowed)
        masked[kept] = scores[kept]
        scores = masked
    best = best_rows(scores, count)
    return Ranked(memory.row_ids[best], memory.positions[best], scores[best].astype(np.float64))


def _in_codes(snapshot: Snapshot, vector: np.ndarray, count: int, condition: str | None) -> Ranked:
    """By a scan of the codes in memory, the shortlist by decoded vectors."""
    memory = snapshot.memory()
    assert memory.codes is not None
    rows = None
    if condition is not None:
        allowed = snapshot.scan(["position"], condition)["position"].to_numpy()
        rows = np.sort(np.searchsorted(memory.positions, allowed))
    found, scores = memory.codes.search(vector.astype(np.float32), count, rows)
    return Ranked(memory.row_ids[found], memory.positions[found], scores)


def _decoding(snapshot: Snapshot, vector: np.ndarray, count: int, condition: str | None) -> Ranked:
    """By decoding every document's best code from the disk, block by block; only scores stay in memory."""
    query = snapshot.table.search().select(["position", snapshot.vector_column]).with_row_id(True).limit(None)
    if condition is not None:
        query = query.where(condition, prefilter=True)
    row_ids, positions, scores = [], [], []
    for batch in query.to_batches(BATCH_ROWS):
        row_ids.append(batch.column("_rowid").to_numpy())
        positions.append(batch.column("position").to_numpy())
        scores.append(exact_scores(vector.astype(np.float32), snapshot.decoded(batch), snapshot.info.metric))
    if not scores:
        return Ranked.nothing()
    joined = Ranked(np.concatenate(row_ids), np.concatenate(positions), np.concatenate(scores))
    order = np.lexsort((joined.positions, -joined.scores))[:count]
    return Ranked(joined.row_ids[order], joined.positions[order], joined.scores[order])


def keyword_ranking(snapshot: Snapshot, text: str, count: int, condition: str | None) -> Ranked:
    """The `count` documents with the highest BM25 for the words of `text`; documents with none of them are left out."""
    from lancedb.query import MatchQuery

    if snapshot.count == 0 or count <= 0:
        return Ranked.nothing()
    if snapshot.keyword_index is None and snapshot.codec is None:  # a store that was just shrunk is searched without
        raise StoreError(f"{snapshot.path}: has no keyword index yet; run optimize() once, or search with mode='dense'")
    words = shortened(text)
    if not words:
        return Ranked.nothing()

    def fetch(limit: int) -> pa.Table:
        query = (
            snapshot.table.search(MatchQuery(words, "content"), query_type="fts")
            .select(["position", "_score"])
            .with_row_id(True)
            .limit(limit)
        )
        if condition is not None:
            query = query.where(condition, prefilter=True)
        return query.to_arrow()

    return _with_ties(fetch, lambda rows: rows["_score"].to_numpy().astype(np.float64), count)


def shortened(text: str) -> str:
    """The query with at most `QUERY_WORDS` different words, in the order they first come."""
    words = text.split()
    if len(words) <= QUERY_WORDS:
        return text
    different = list(dict.fromkeys(words))
    if len(different) > QUERY_WORDS:
        logger.warning("query: keyword search reads the first %d of %d different words", QUERY_WORDS, len(different))
    return " ".join(different[:QUERY_WORDS])


def _with_ties(fetch: Callable[[int], pa.Table], scores_of: Callable[[pa.Table], np.ndarray], count: int) -> Ranked:
    """The best `count` rows with equal scores ordered by position, also where a tie crosses the limit.

    LanceDB breaks such a tie as it likes, so that two pages could show one document twice; so more is asked for until
    the tie is complete.
    """
    limit = count + 1
    while True:
        rows: Any = fetch(limit)
        scores = scores_of(rows)
        if len(scores) < limit or scores.min() < np.sort(scores)[::-1][count - 1]:
            break
        limit *= 4
    positions = rows["position"].to_numpy()
    order = np.lexsort((positions, -scores))[:count]
    return Ranked(rows["_rowid"].to_numpy()[order], positions[order], scores[order])
