"""Parquet and Arrow files (also Feather), streamed in batches of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polyvec.core.errors import FormatError
from polyvec.core.files import file_problem
from polyvec.data.documents import Document
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.records import Record, record_documents
from polyvec.data.readers.source_file import SourceFile, one_line, printable

BATCH_ROWS = 256
"""Few, as a row may hold a whole book."""

PARSER_ERRORS = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError)
"""What the parsers raise on damaged files; of these, `OSError` is mostly about the content, too."""


def read_columnar(file: SourceFile, context: ReadContext) -> Iterator[Document]:
    """A document for each row of a Parquet or Arrow file; its number is counted from 1."""
    try:
        with open(file.path, "rb") as handle:
            empty = not handle.read(1)
    except OSError as error:
        raise file_problem(error, printable(file.path), "read") from error
    if empty:
        raise FormatError(f"{printable(file.path)} is empty")
    yield from record_documents(_records(file, context), file, context, "row")


def _records(file: SourceFile, context: ReadContext) -> Iterator[Record]:
    number = 0
    batches = _parquet_batches(file, context) if file.format == "parquet" else _arrow_batches(file, context)
    while True:
        try:
            batch = next(batches, None)
            if batch is None:
                return
            batch.validate(full=True)
            names, columns, characters = _values(batch, file, context)
        except PARSER_ERRORS as error:
            if isinstance(error, FormatError):
                raise
            kind = "Parquet" if file.format == "parquet" else "Arrow"
            first_line = one_line((str(error).strip() or type(error).__name__).splitlines()[0])
            where = f" behind row {number:,}" if number else ""
            raise FormatError(f"{printable(file.path)} is not a whole {kind} file{where}: {first_line}") from error
        for row in zip(*columns, strict=True):
            number += 1
            yield Record(number, dict(zip(names, row, strict=True)), characters)


def _opened(file: SourceFile) -> Any:
    """The file as Arrow opens it; through Python where the name is not UTF-8, which Arrow does not take."""
    name = str(file.path)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return pa.PythonFile(open(file.path, "rb"), mode="r")
    return pa.OSFile(name)


def _parquet_batches(file: SourceFile, context: ReadContext) -> Iterator[Any]:
    with _opened(file) as handle, pq.ParquetFile(handle, page_checksum_verification=True) as table:
        columns = _kept_columns(table.schema_arrow, file, context)
        _require_rows(table.metadata.num_rows, columns, file)
        yield from table.iter_batches(batch_size=BATCH_ROWS, columns=columns)


def _arrow_batches(file: SourceFile, context: ReadContext) -> Iterator[Any]:
    with _opened(file) as handle:
        is_file = handle.read(6) == b"ARROW1"
        handle.seek(0)
        if is_file:
            reader = pa.ipc.open_file(handle)
            columns = _kept_columns(reader.schema, file, context)
            _require_rows(1, columns, file)
            for index in range(reader.num_record_batches):
                yield from _small(reader.get_batch(index), columns)
        else:
            stream = pa.ipc.open_stream(handle)
            columns = _kept_columns(stream.schema, file, context)
            _require_rows(1, columns, file)
            for batch in stream:
                yield from _small(batch, columns)


def _small(batch: Any, columns: list[str]) -> Iterator[Any]:
    batch.validate(full=True)
    chosen = batch.select(columns)
    for start in range(0, chosen.num_rows, BATCH_ROWS):
        yield chosen.slice(start, BATCH_ROWS)


def _require_rows(rows: int, columns: list[str], file: SourceFile) -> None:
    if not rows:
        raise FormatError(f"{printable(file.path)} has no rows")
    if not columns:
        raise FormatError(f"{printable(file.path)} has no column that can be read as text")


def _kept_columns(schema: Any, file: SourceFile, context: ReadContext) -> list[str]:
    """Names of the columns worth reading: not lists of numbers (vectors), not raw bytes, not names that come twice."""
    names = []
    for field in schema:
        kind = field.type
        inner = kind.value_type if _is_list(kind) else kind
        numbers = _is_list(kind) and (pa.types.is_primitive(inner) or _is_list(inner))
        if numbers or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
            context.report.leave_out(file.source, "columns of vectors or bytes", 1, [field.name])
        elif len(schema.get_all_field_indices(field.name)) > 1:
            context.report.leave_out(file.source, "columns with a repeated name", 1, [field.name])
        else:
            names.append(field.name)
    return names


def _is_list(kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _values(batch: Any, file: SourceFile, context: ReadContext) -> tuple[list[str], list[list[Any]], int]:
    """Names, values by column, and the mean number of characters (bytes, nearly) of a row."""
    names, columns = [], []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            values = _column_values(column)
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid, ValueError, OverflowError) as error:
            if isinstance(error, UnicodeDecodeError):
                raise
            context.report.leave_out(file.source, "values of unreadable types", len(column), [name])
            continue
        names.append(name)
        columns.append(values)
    if not columns:
        raise FormatError(f"{printable(file.path)} has no column that can be read as text")
    return names, columns, batch.nbytes // max(1, batch.num_rows)


def _column_values(column: Any) -> list[Any]:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column, kind = column.storage, kind.storage_type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        # As text by Arrow itself: Python's types have no nanoseconds and end with the year 9999.
        return pc.cast(column, pa.string()).to_pylist()
    if pa.types.is_duration(kind):
        unit = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[kind.unit]
        return [None if value is None else value * unit for value in pc.cast(column, pa.int64()).to_pylist()]
    values = column.to_pylist()
    if pa.types.is_floating(kind):
        return [None if value is None or not math.isfinite(value) else value for value in values]
    return values
