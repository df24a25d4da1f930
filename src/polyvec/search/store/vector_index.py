"""The approximate index of the vectors: built when it pays, and kept only when it finds what exact search finds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from polyvec.search.store.layout import StoreInfo
from polyvec.search.store.searching import TUNED_HITS, dense_ranking
from polyvec.search.store.snapshot import Snapshot, vector_matrix

if TYPE_CHECKING:
    from polyvec.search.store.writing import Writer

logger = logging.getLogger("polyvec.search")

PARAMETERS = ((10, 10), (20, 10), (20, 20), (40, 20), (80, 40), (160, 80))
"""Partitions to visit and candidates to re-rank with the true vectors (as a multiple of the hits), tried in this
order."""

RECALL = 0.95
QUERIES = 64
GROWTH = 2.0
"""`build` without `force` trains anew once the store has grown by this factor; before, new rows join the old index."""

PAYS_FROM = 64 * 1024 * 1024
"""Bytes of vectors (43,700 of 384 dimensions) from which on an index pays. Below, the exact product in memory takes
some 3 ms of one core, and there is nothing to save; above, the index is quicker, and the first query of a process need
not read all vectors. `benchmarks/store_search.py` measures both for several sizes."""

LEAST_ROWS = 5_000
"""Fewer vectors train no useful partitions."""


def build(writer: Writer, memory_limit: int, *, force: bool = False, recall: float = RECALL) -> str | None:
    """Build, or bring up to date, the vector index; the kind, or `None` when there is none.

    Kinds are tried in this order, which is that of cost: IVF_RQ (one bit a dimension), IVF_SQ (one byte a dimension).
    On 60,000 clustered vectors of 384 dimensions and 2 cores they were built in 1.2 and 1.8 s, IVF_PQ and IVF_HNSW_SQ
    in 89 and 81 s, and all four reach a recall of 0.98 and more when ten times as many candidates are re-ranked with
    the true vectors.

    After building, `QUERIES` vectors of the store are searched both ways, and the search parameters raised until the
    recall among the ten nearest is reached. Without `force` nothing is built below `PAYS_FROM` bytes of vectors (or
    `memory_limit`, where that is less), and an index that is there stays.
    """
    snapshot = writer.snapshot()
    if snapshot.codec is not None:  # codes are scanned whole
        return None
    if not force:
        if snapshot.vector_index is not None and snapshot.count < GROWTH * _trained_rows(snapshot):
            return _kind(snapshot)
        if snapshot.vector_index is None and snapshot.vector_bytes <= min(memory_limit, PAYS_FROM):
            return None
    if snapshot.count < LEAST_ROWS:
        return _kind(snapshot)
    for kind, config in _kinds(snapshot.info):
        try:
            writer.table.create_index("vector", config=config, replace=True)
        except (RuntimeError, ValueError) as error:  # a kind that does not take this many dimensions
            logger.info("vector index %s cannot be built: %s", kind, error)
            continue
        if (found := _tune(writer, recall)) is not None:
            probes, refine, reached = found
            logger.info(
                "vector index %s: recall %.3f with %d partitions, %d-fold re-ranking", kind, reached, probes, refine
            )
            return _kind(writer.snapshot())
    if (index := writer.snapshot().vector_index) is not None:
        writer.table.drop_index(index.name)
    logger.warning("no vector index reached a recall of %.2f; search stays exact", recall)
    return None


def _kind(snapshot: Snapshot) -> str | None:
    return None if snapshot.vector_index is None else str(snapshot.vector_index.index_type)


def _kinds(info: StoreInfo) -> list[tuple[str, Any]]:
    from lancedb.index import IvfRq, IvfSq

    metric: Any = info.metric
    kinds: list[tuple[str, Any]] = [("IVF_RQ", IvfRq(distance_type=metric)), ("IVF_SQ", IvfSq(distance_type=metric))]
    return kinds if info.dim % 8 == 0 else kinds[1:]  # one bit a dimension, in whole bytes


def _trained_rows(snapshot: Snapshot) -> int:
    return int((snapshot.schema.field("vector").metadata or {}).get(b"polyvec.trained_rows", b"0"))


def _tune(writer: Writer, recall: float) -> tuple[int, int, float] | None:
    """The first parameters that reach `recall`, stored in the vector column's metadata; `None` when none does."""
    snapshot = writer.snapshot()
    row_ids = snapshot.scan(["position"])["_rowid"].to_numpy()
    chosen = row_ids[np.linspace(0, len(row_ids) - 1, QUERIES).astype(np.int64)]
    queries = vector_matrix(snapshot.rows(chosen, ["vector"])["vector"], snapshot.info.dim)
    queries = queries[queries.any(axis=1)]
    truth = [_nearest(snapshot, query, None) for query in queries]
    for parameters in PARAMETERS:
        found = [_nearest(snapshot, query, parameters) for query in queries]
        hits = sum(len(true & near) for true, near in zip(truth, found, strict=True))
        reached = hits / max(1, sum(map(len, truth)))
        if reached >= recall:
            probes, refine = parameters
            told = {"nprobes": probes, "refine_factor": refine, "trained_rows": snapshot.count}
            metadata = {f"polyvec.{key}": str(value) for key, value in told.items()}
            writer.table.update_field_metadata({"path": "vector", "metadata": metadata})
            return probes, refine, reached
    return None


def _nearest(snapshot: Snapshot, query: np.ndarray, parameters: tuple[int, int] | None) -> set[int]:
    """Positions of the nearest, exactly or with the index; never through memory, which the index is there to save."""
    ranked = dense_ranking(
        snapshot, query, TUNED_HITS, None, memory_limit=0, exact=parameters is None, parameters=parameters
    )
    return set(ranked.positions.tolist())
