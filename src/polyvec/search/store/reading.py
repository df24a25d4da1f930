"""Everything that a store answers from one version of itself."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFoundError
from polyvec.data.documents import Document
from polyvec.search.store.hits import Hit, StoreStats
from polyvec.search.store.layout import HIT_COLUMNS, split_content, to_documents
from polyvec.search.store.ranking import reciprocal_rank_fusion
from polyvec.search.store.searching import QUERY_CHARACTERS, Ranked, dense_ranking, keyword_ranking, logger
from polyvec.search.store.snapshot import Snapshot
from polyvec.search.store.writing import named, sql_text

if TYPE_CHECKING:
    from polyvec.core.vectors import Vectors
    from polyvec.search.store.opening import Place

PAGE = 1000


class Reader:
    """Reads of one version of a store.

    Args:
        snapshot: The version.
        memory_limit: Bytes of vectors that may be kept in memory.
    """

    def __init__(self, snapshot: Snapshot, memory_limit: int) -> None:
        self.snapshot = snapshot
        self.memory_limit = memory_limit

    # -- searching ------------------------------------------------------------------------------------------------

    def search(
        self, question: Question, k: int, *, mode: str, where: str | None, offset: int, candidates: int, exact: bool
    ) -> list[Hit]:
        """See `Store.search`."""
        condition = None if where is None else self.snapshot.condition(where)
        dense = keyword = None
        length = candidates if mode == "hybrid" else offset + k
        if mode != "keyword":
            dense = Ranked.nothing()
            if question.vector is not None:
                dense = dense_ranking(
                    self.snapshot, question.vector, length, condition, memory_limit=self.memory_limit, exact=exact
                )
        if mode != "dense":
            keyword = keyword_ranking(self.snapshot, question.text, length, condition)
        if dense is not None and keyword is not None:
            return self.hits(fused(dense, keyword), offset, k)
        return self.hits(dense or keyword or Ranked.nothing(), offset, k)

    def similar(self, key: str, k: int, *, where: str | None, offset: int) -> list[Hit]:
        """See `Store.similar`."""
        condition = None if where is None else self.snapshot.condition(where)
        row, position = self._row(key)
        found = self.snapshot.decoded(self.snapshot.rows([row], [self.snapshot.vector_column]))[0]
        if self.snapshot.info.metric == "cosine" and not found.any():
            return []
        ranked = dense_ranking(self.snapshot, found, offset + k + 1, condition, memory_limit=self.memory_limit)
        others = ranked.positions != position
        return self.hits(Ranked(ranked.row_ids[others], ranked.positions[others], ranked.scores[others]), offset, k)

    def hits(self, ranked: Ranked, offset: int, k: int) -> list[Hit]:
        """One page of a ranking, with the documents' content."""
        page = slice(offset, offset + k)
        rows = self.snapshot.rows(ranked.row_ids[page], HIT_COLUMNS).to_pylist()
        return [
            Hit(
                id=row["id"],
                score=float(score),
                rank=offset + number,
                title=row["title"],
                text=split_content(row["title"], row["content"]),
                source=row["source"] or "",
                metadata=json.loads(row["metadata"]),
            )
            for number, (row, score) in enumerate(zip(rows, ranked.scores[page], strict=True), start=1)
        ]

    # -- reading --------------------------------------------------------------------------------------------------

    def row_of(self, key: str) -> tuple[int, int] | None:
        """LanceDB's row id and the position of a document, or `None`."""
        found = self.snapshot.scan(["position"], f"id = {sql_text(key)}")
        return (found["_rowid"][0].as_py(), found["position"][0].as_py()) if len(found) else None

    def _row(self, key: str) -> tuple[int, int]:
        if not isinstance(key, str):
            raise InvalidTypeError(f"id: got {type(key).__name__}, needs text")
        if (row := self.row_of(key)) is None:
            raise NotFoundError(f"{self.snapshot.path}: has no document with the id {named([key])}")
        return row

    def get(self, key: str) -> Document:
        """See `Store.get`."""
        return to_documents(self.snapshot.rows([self._row(key)[0]], HIT_COLUMNS))[0]

    def count(self, where: str | None) -> int:
        """See `Store.count`."""
        if where is None:
            return self.snapshot.count
        return int(self.snapshot.table.count_rows(self.snapshot.condition(where)))

    def in_order(self, columns: list[str], where: str | None) -> pa.Table:
        """Columns (and `_rowid`) of all rows or of those that fulfil a filter, in the order of their positions."""
        condition = None if where is None else self.snapshot.condition(where)
        return self.snapshot.scan(["position", *columns], condition).sort_by("position")

    def ids(self, where: str | None) -> list[str]:
        """See `Store.ids`."""
        return list(self.in_order(["id"], where)["id"].to_pylist())

    def documents(self, where: str | None, limit: int | None, offset: int) -> Iterator[Document]:
        """See `Store.documents`; the filter is read at once, the documents page by page."""
        rows = self.in_order([], where)["_rowid"].to_numpy()
        rows = rows[offset : None if limit is None else offset + limit]
        return self._pages(rows)

    def _pages(self, rows: np.ndarray) -> Iterator[Document]:
        for start in range(0, len(rows), PAGE):
            yield from to_documents(self.snapshot.rows(rows[start : start + PAGE], HIT_COLUMNS))

    def vectors(self, where: str | None, metadata: bool) -> Vectors:
        """See `Store.vectors`."""
        from polyvec.core.vectors import Vectors

        names = {
            name: column for name, (column, _) in self.snapshot.visible.items() if name not in ("id", "text", "origin")
        }
        rows = self.in_order(["id", self.snapshot.vector_column, *(names.values() if metadata else [])], where)
        matrix = self.snapshot.decoded(rows)
        table = pa.table([rows[column] for column in names.values()], names=list(names)) if metadata else None
        return Vectors(matrix, ids=rows["id"].combine_chunks(), metadata=table)

    def stats(self, place: Place) -> StoreStats:
        """See `Store.stats`."""
        snapshot = self.snapshot
        index = snapshot.keyword_index
        latest = snapshot.table.list_versions()[-1]["timestamp"]
        return StoreStats(
            path=snapshot.path,
            documents=snapshot.count,
            dim=snapshot.info.dim,
            metric=snapshot.info.metric,
            encoder=snapshot.info.encoder,
            compression=snapshot.info.compression,
            columns={name: kind for name, (_, kind) in snapshot.visible.items()},
            nbytes=snapshot.kept_bytes,
            bytes_on_disk=place.bytes_on_disk(),
            fragments=int(snapshot.table.stats()["fragment_stats"]["num_fragments"]),
            vector_index=None if snapshot.vector_index is None else str(snapshot.vector_index.index_type),
            unindexed_documents=snapshot.count if index is None else int(index.num_unindexed_rows or 0),
            version=snapshot.version,
            format=snapshot.info.format,
            written_by=snapshot.info.written_by,
            created=snapshot.info.created,
            updated=latest.astimezone(datetime.UTC).isoformat(timespec="seconds"),
        )


def fused(dense: Ranked, keyword: Ranked) -> Ranked:
    """Two rankings of one snapshot as one, by reciprocal rank fusion; equal scores in the order of positions."""
    positions, scores = reciprocal_rank_fusion([dense.positions.tolist(), keyword.positions.tolist()])
    known = dict(zip(dense.positions.tolist(), dense.row_ids.tolist(), strict=True))
    known |= dict(zip(keyword.positions.tolist(), keyword.row_ids.tolist(), strict=True))
    return Ranked(np.array([known[place] for place in positions.tolist()], dtype=np.uint64), positions, scores)


@dataclass(frozen=True, slots=True)
class Question:
    """A query that was checked: its text (empty when only a vector was given) and its vector.

    The vector is `None` when it is not needed, or when the encoder gives zeros, which resemble nothing.
    """

    text: str
    vector: np.ndarray | None

    @classmethod
    def of(
        cls, query: Any, vector: Any, *, mode: str, dim: int, metric: str, encode: Callable[[str], np.ndarray]
    ) -> Question:
        """Check a query and encode its text where that is needed.

        Raises:
            InvalidTypeError: Neither text nor vector; a vector where words are needed.
            InvalidValueError: Empty, of other dimensions, NaN, infinity, zeros that have no direction.
        """
        if query is None:
            raise InvalidTypeError("query: got None, needs a text or a vector")
        text = checked_text(query) if isinstance(query, str) else None
        if text is None and mode != "dense":
            raise InvalidTypeError(
                f"query: got {type(query).__name__}, but mode={mode!r} needs a text; give the vector as vector=..."
            )
        if mode == "keyword":
            return cls(text or "", None)
        given = query if text is None else vector
        if given is None:
            point = encode(text or "")
            return cls(text or "", None if metric == "cosine" and not point.any() else point)
        point = checked_vector(given, dim)
        if metric == "cosine" and not point.any():
            raise InvalidValueError(
                "query: a vector of zeros has no direction to compare by cosine; give another vector"
            )
        return cls(text or "", point)


def checked_text(query: str) -> str:
    """A query text; cut at `QUERY_CHARACTERS` with a warning, refused when empty."""
    if not query.strip():
        raise InvalidValueError("query: is empty, needs at least one word")
    if len(query) > QUERY_CHARACTERS:
        logger.warning("query: only the first %d of %d characters are used", QUERY_CHARACTERS, len(query))
        query = query[:QUERY_CHARACTERS]
    return query.encode("utf-8", "replace").decode("utf-8")  # half surrogate pairs, from a badly decoded command line


def checked_vector(vector: Any, dim: int) -> np.ndarray:
    """A query vector `(dim,)` float32 of numbers."""
    from polyvec.core.arrays import as_matrix, is_tensor

    array = vector if isinstance(vector, np.ndarray) or is_tensor(vector) else np.asarray(vector)
    row = array[None, :] if array.ndim == 1 else array
    matrix = as_matrix(row, "query", dim=dim)
    if len(matrix) != 1:
        raise InvalidValueError(f"query: got {len(matrix)} vectors, needs one; search for each")
    return matrix[0]
