"""Rewriting a store's vectors as codes and back: one commit each, so that a crash leaves the old store or the new."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from polyvec.core.errors import StoreError
from polyvec.search.store.codec import Codec, describe
from polyvec.search.store.layout import COMPRESSED_FORMAT, FORMAT, SCHEMA_KEY, TABLE, StoreInfo, info_json
from polyvec.search.store.opening import Place
from polyvec.search.store.snapshot import BATCH_ROWS, Snapshot, vector_matrix
from polyvec.search.store.writing import Writer

SAVED = "before_shrink"
"""A second table beside the documents: ids and vectors as they were, for `undo`."""


def compress(writer: Writer, place: Place, compressor: Any, finer: Any) -> None:
    """Replace the vectors by codes.

    First the vectors are copied to the table `before_shrink` and the compressors' parameters are kept; then one commit
    replaces the documents' table. A process that is killed before it leaves the store as it was.

    Args:
        writer: Holds the store's lock.
        place: Where the store lies.
        compressor: Fitted; makes the codes that are scanned.
        finer: Fitted compressor of the codes that shortlists are ranked by, the text `full`, or `None`.

    Raises:
        StoreError: The store is compressed already.
    """
    snapshot = writer.snapshot()
    if snapshot.info.compression is not None:
        raise StoreError(f"{place}: is compressed already; run polyvec shrink {place} --undo first")
    codec, told, parameters = describe(compressor, finer, snapshot.info.dim)
    with writer.guard():
        saved = pa.schema([snapshot.schema.field(name) for name in ("id", "vector")])
        mode = "overwrite" if SAVED in place.tables() else "create"  # left by a process that was killed
        place.connection().create_table(SAVED, _copied(snapshot, saved), mode=mode)
        for checksum, content in parameters.items():
            place.keep_parameters(checksum, content)
        info = dataclasses.replace(snapshot.info, compression=told, format=COMPRESSED_FORMAT)
        fields = [field for field in snapshot.schema if field.name != "vector"]
        _replace(place, writer, _schema([*fields, *codec.fields()], info), _encoded(snapshot, codec))


def restore(writer: Writer, place: Place) -> tuple[int, int]:
    """Put the vectors back, in one commit; how many came back exactly, and how many were decoded from their codes.

    Documents that were added or changed since have no vector from before: theirs is decoded, and marked so that the
    next `polyvec index` of their sources encodes them anew.

    Raises:
        StoreError: The store is not compressed, or its vectors were given up by `finish`.
    """
    snapshot = writer.snapshot()
    if snapshot.codec is None:
        raise StoreError(f"{place}: is not compressed, so there is nothing to undo")
    if SAVED not in place.tables():
        raise StoreError(
            f"{place}: its full vectors were given up by --finish; index the documents anew into another folder"
        )
    counts = [0, 0]
    with writer.guard():
        info = dataclasses.replace(snapshot.info, compression=None, format=FORMAT)
        fields = [
            field for field in snapshot.schema if field.name not in {part.column for part in snapshot.codec.parts}
        ]
        vector = pa.field("vector", pa.list_(pa.float32(), info.dim))
        decoded = _decoded(snapshot, place, counts)
        _replace(place, writer, _schema([*fields, vector], info), decoded)
        place.connection().drop_table(SAVED)
    return counts[0], counts[1]


def finish(writer: Writer, place: Place) -> None:
    """Give up the full vectors and free the disk; `undo` is not possible after that.

    Raises:
        StoreError: The store is not compressed.
    """
    if writer.snapshot().info.compression is None:
        raise StoreError(f"{place}: is not compressed, so there is nothing to finish")
    with writer.guard():
        if SAVED in place.tables():
            place.connection().drop_table(SAVED)
    writer.optimize()


def can_undo(place: Place) -> bool:
    """Whether the vectors from before are still there."""
    return SAVED in place.tables()


def _schema(fields: list[pa.Field], info: StoreInfo) -> pa.Schema:
    return pa.schema(fields, metadata={SCHEMA_KEY: json.dumps(info_json(info)).encode()})


def _replace(place: Place, writer: Writer, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    bare = schema.remove_metadata()
    arranged = (
        pa.RecordBatch.from_arrays([batch.column(field.name) for field in bare], schema=schema) for batch in batches
    )
    reader = pa.RecordBatchReader.from_batches(schema, arranged)
    writer.table = place.connection().create_table(TABLE, reader, mode="overwrite")
    writer.build_keyword_index()


def _batches(snapshot: Snapshot, columns: list[str]) -> Iterator[pa.RecordBatch]:
    yield from snapshot.table.search().select(columns).limit(None).to_batches(BATCH_ROWS)


def _copied(snapshot: Snapshot, schema: pa.Schema) -> pa.RecordBatchReader:
    names = schema.names
    copied = (
        pa.RecordBatch.from_arrays([batch.column(name) for name in names], schema=schema)
        for batch in _batches(snapshot, names)
    )
    return pa.RecordBatchReader.from_batches(schema, copied)


def _encoded(snapshot: Snapshot, codec: Codec) -> Iterator[pa.RecordBatch]:
    names = list(snapshot.schema.names)
    for batch in _batches(snapshot, names):
        columns = {name: batch.column(name) for name in names if name != "vector"}
        columns |= codec.encode(vector_matrix(batch.column("vector"), snapshot.info.dim))
        yield pa.RecordBatch.from_pydict(columns)


def _decoded(snapshot: Snapshot, place: Place, counts: list[int]) -> Iterator[pa.RecordBatch]:
    codec = snapshot.codec
    assert codec is not None
    saved = place.connection().open_table(SAVED).to_arrow()
    known = {key: row for row, key in enumerate(saved["id"].to_pylist())}
    vectors = vector_matrix(saved["vector"], snapshot.info.dim)
    names = list(snapshot.schema.names)
    for batch in _batches(snapshot, names):
        codes = codec.scan.codes(batch.column(codec.scan.column))
        matrix = codec.decode(batch).astype(np.float32)
        rows = np.array([known.get(key, -1) for key in batch.column("id").to_pylist()])
        there = np.flatnonzero(rows >= 0)
        if len(there):  # the vector from before is the document's own when it has the document's code
            before = vectors[rows[there]]
            fresh = np.asarray(codec.scan.compressor.transform(before))
            same = there[(fresh == codes[there]).all(axis=1)]
            matrix[same] = vectors[rows[same]]
        else:
            same = there
        hashes = np.array(batch.column("embedding_hash").to_pylist(), dtype=object)
        lost = np.ones(len(matrix), dtype=bool)
        lost[same] = False
        hashes[lost] = ""
        counts[0] += len(same)
        counts[1] += int(lost.sum())
        columns = {name: batch.column(name) for name in names}
        columns["embedding_hash"] = pa.array(hashes.tolist(), pa.string())
        flat = pa.array(np.ascontiguousarray(matrix).reshape(-1))
        columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, snapshot.info.dim)
        yield pa.RecordBatch.from_pydict(columns)
