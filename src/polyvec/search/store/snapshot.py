"""One version of a store, as readers see it: it does not change while it is read."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from polyvec.search.store.columns import filter_columns
from polyvec.search.store.layout import HIT_COLUMNS, read_info, visible_columns
from polyvec.search.store.where import rewrite_where

if TYPE_CHECKING:
    from polyvec.search.coded import CodedSearch
    from polyvec.search.store.codec import Codec, LoadParameters

BATCH_ROWS = 16_384
"""Rows that LanceDB hands over at once; its default, a sixteenth, makes scans slower."""

CONTENT_LIMIT = 64 * 1024 * 1024
"""Bytes of texts and metadata that a version may keep in memory (20,000 package descriptions take 15 MB)."""

KEEP_CONTENT_AFTER = 16
"""Requests for rows after which a version that fits `CONTENT_LIMIT` keeps its content in memory: fetching ten rows from
LanceDB takes some 2.5 ms of processor time, from memory 0.2 ms, and reading all of it pays only for who asks often."""


@dataclass(frozen=True, slots=True)
class MemoryContent:
    """What hits show, of all documents of one version: row ids in rising order, and their rows."""

    row_ids: np.ndarray
    rows: pa.Table

    def take(self, wanted: Sequence[int] | np.ndarray, columns: Sequence[str]) -> pa.Table:
        """The columns of these rows, in this order."""
        places = np.searchsorted(self.row_ids, np.asarray(wanted, dtype=np.uint64))
        return self.rows.select(list(columns)).take(pa.array(places))


@dataclass(frozen=True, slots=True)
class MemoryVectors:
    """The vectors of one version in memory, in the order of the documents' positions.

    `matrix` is float32 `(n, dim)`; with the cosine metric its rows have unit length (rows of zeros stay zeros). In a
    compressed store `codes` holds the codes instead, and `matrix` has no rows.
    """

    row_ids: np.ndarray
    positions: np.ndarray
    matrix: np.ndarray
    codes: CodedSearch | None = None


class Snapshot:
    """A version of the table, opened once; the vectors are read into memory when the first dense search wants them.

    Args:
        table: A LanceDB table that is not written to through this handle, so that it stays at its version.
        path: The store's folder or address, for messages.
    """

    def __init__(self, table: Any, path: str, parameters: LoadParameters | None = None) -> None:
        self.table = table
        self.path = path
        self._parameters = parameters
        self.version = int(table.version)
        self.schema: pa.Schema = table.schema
        self.info = read_info(self.schema, path)
        self.kinds, self.replaced_columns = filter_columns(self.schema.names)
        self.visible = visible_columns(self.kinds)
        self._memory: MemoryVectors | None = None
        self._memory_lock = threading.Lock()
        self._content: MemoryContent | None = None
        self._content_lock = threading.Lock()
        self._requests = 0

    @cached_property
    def count(self) -> int:
        """Number of documents."""
        return int(self.table.count_rows())

    @cached_property
    def codec(self) -> Codec | None:
        """What makes and reads the codes of a compressed store; `None` when the vectors are whole."""
        told = self.info.compression
        if told is None:
            return None
        from polyvec.search.store.codec import codec_of

        return codec_of(told, self._parameters, self.path)

    @property
    def vector_bytes(self) -> int:
        """Bytes that a scan reads: all vectors as float32, or all codes."""
        told = self.info.compression
        return self.count * (self.info.dim * 4 if told is None else int(told["code"]["bytes"]))

    @property
    def kept_bytes(self) -> int:
        """Bytes of all vectors or codes, with the finer codes that only shortlists are ranked by."""
        told = self.info.compression
        return self.vector_bytes if told is None else self.count * sum(int(part["bytes"]) for part in told.values())

    @property
    def vector_column(self) -> str:
        """The column that holds the vectors, or the codes closest to them; for `decoded`."""
        return "vector" if self.codec is None else self.codec.best.column

    def decoded(self, rows: Any) -> np.ndarray:
        """Vectors `(n, dim)` of rows that have `vector_column`."""
        return vector_matrix(rows["vector"], self.info.dim) if self.codec is None else self.codec.decode(rows)

    def vector_arrays(self, vectors: np.ndarray) -> dict[str, pa.Array]:
        """Vectors `(n, dim)` as the columns that this store keeps of them."""
        if self.codec is not None:
            return self.codec.encode(np.ascontiguousarray(vectors, dtype=np.float32))
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
        return {"vector": pa.FixedSizeListArray.from_arrays(flat, self.info.dim)}

    @cached_property
    def indices(self) -> list[Any]:
        """LanceDB's indexes of this version."""
        return list(self.table.list_indices())

    @property
    def vector_index(self) -> Any | None:
        """The index of the vectors, or `None`."""
        return next((index for index in self.indices if list(index.columns) == ["vector"]), None)

    @property
    def keyword_index(self) -> Any | None:
        """The keyword index, or `None` (a store whose creation was interrupted)."""
        return next((index for index in self.indices if list(index.columns) == ["content"]), None)

    def condition(self, where: str) -> str:
        """A user's filter with this version's columns."""
        return rewrite_where(where, {name: column for name, (column, _) in self.visible.items()})

    def scan(self, columns: Sequence[str], condition: str | None = None) -> pa.Table:
        """The columns, and `_rowid`, of all rows or of those that fulfil a condition of LanceDB's, as stored."""
        query = self.table.search().select(list(columns)).with_row_id(True).limit(None)
        if condition is not None:
            query = query.where(condition, prefilter=True)
        return query.to_batches(BATCH_ROWS).read_all()

    def rows(self, row_ids: Sequence[int] | np.ndarray, columns: Sequence[str]) -> pa.Table:
        """The columns of these rows, in this order."""
        if len(row_ids) == 0:
            return pa.schema([self.schema.field(name) for name in columns]).empty_table()
        if (content := self._kept_content()) is not None and set(columns) <= set(HIT_COLUMNS):
            return content.take(row_ids, columns)
        wanted = [int(row) for row in row_ids]
        found = self.table.take_row_ids(wanted).select(list(columns)).with_row_id().to_arrow()
        place = {row: number for number, row in enumerate(found["_rowid"].to_pylist())}
        return found.select(list(columns)).take(pa.array([place[row] for row in wanted]))

    def _kept_content(self) -> MemoryContent | None:
        """The content in memory, once it was asked for often enough and fits; while it is read, nobody waits for it."""
        self._requests += 1
        if self._requests > KEEP_CONTENT_AFTER and self._content_lock.acquire(blocking=False):
            self._content = self._read_content()  # the lock stays taken: one try for each version
        return self._content

    def _read_content(self) -> MemoryContent | None:
        batches = []
        taken = 0
        query = self.table.search().select(HIT_COLUMNS).with_row_id(True).limit(None)
        for batch in query.to_batches(BATCH_ROWS):
            taken += batch.nbytes
            if taken > CONTENT_LIMIT:
                return None
            batches.append(batch)
        rows = pa.Table.from_batches(batches).combine_chunks()
        row_ids = rows["_rowid"].to_numpy()
        if np.any(np.diff(row_ids.astype(np.int64)) < 0):
            order = np.argsort(row_ids)
            rows, row_ids = rows.take(pa.array(order)), row_ids[order]
        return MemoryContent(row_ids, rows.drop_columns(["_rowid"]))

    def memory(self) -> MemoryVectors:
        """All vectors in memory; read once."""
        with self._memory_lock:
            if self._memory is None:
                self._memory = self._load()
            return self._memory

    def _load(self) -> MemoryVectors:
        if (codec := self.codec) is not None:
            return self._load_codes(codec)
        matrix = np.empty((self.count, self.info.dim), dtype=np.float32)
        row_ids = np.empty(self.count, dtype=np.uint64)
        positions = np.empty(self.count, dtype=np.int64)
        start = 0
        query = self.table.search().select(["position", "vector"]).with_row_id(True).limit(None)
        for batch in query.to_batches(BATCH_ROWS):
            stop = start + len(batch)
            matrix[start:stop] = vector_matrix(batch.column("vector"), self.info.dim)
            row_ids[start:stop] = batch.column("_rowid").to_numpy()
            positions[start:stop] = batch.column("position").to_numpy()
            start = stop
        if self.info.metric == "cosine":
            normalize_rows(matrix)
        if np.any(np.diff(positions) < 0):  # documents that were replaced lie at the end of the table
            order = np.argsort(positions, kind="stable")
            matrix, row_ids, positions = matrix[order], row_ids[order], positions[order]
        return MemoryVectors(row_ids, positions, matrix)

    def _load_codes(self, codec: Codec) -> MemoryVectors:
        from polyvec.search.coded import CodedSearch

        rows = self.scan(["position", codec.scan.column]).sort_by("position")
        row_ids, positions = rows["_rowid"].to_numpy(), rows["position"].to_numpy()
        owner = weakref.proxy(self)  # a cycle would keep this version open, and its files on the disk
        search = CodedSearch(
            codec.scan.compressor,
            codec.scan.codes(rows[codec.scan.column]),
            self.info.metric,
            rescorer=None if codec.finer is None else codec.finer.compressor,
            fetch=None if codec.finer is None else lambda found: owner._finer(codec, row_ids[found]),
        )
        return MemoryVectors(row_ids, positions, np.empty((0, self.info.dim), dtype=np.float32), search)

    def _finer(self, codec: Codec, row_ids: np.ndarray) -> np.ndarray:
        """The finer codes of a shortlist, read from the disk."""
        return codec.best.codes(self.rows(row_ids, [codec.best.column])[codec.best.column])


def vector_matrix(column: Any, dim: int) -> np.ndarray:
    """A column of fixed-size lists as a float32 matrix `(n, dim)`."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # an empty chunked array stays one
        return np.empty((0, dim), dtype=np.float32)
    return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), dim)


def normalize_rows(matrix: np.ndarray) -> None:
    """Scale the rows of a float32 matrix to unit length, in place and in blocks; rows of zeros stay."""
    for start in range(0, len(matrix), 65_536):
        block = matrix[start : start + 65_536]
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        block /= np.where(lengths > 0, lengths, 1)
