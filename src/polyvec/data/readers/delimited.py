"""CSV and TSV: streamed, with the separator, the header and the types of the columns found from the first rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import Any, TextIO

from polyvec.data.documents import Document
from polyvec.data.readers import limits
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.encodings import find_encoding, open_text
from polyvec.data.readers.fields import ID_NAMES, TEXT_NAMES, TITLE_NAMES
from polyvec.data.readers.lines import bounded_lines
from polyvec.data.readers.opening import open_binary
from polyvec.data.readers.records import Record, record_documents
from polyvec.data.readers.source_file import SourceFile

SEPARATORS = ",;\t|"
SNIFFED_ROWS = 50
SNIFFED_CHARACTERS = 1 << 18
MAX_NAME_CHARACTERS = 200
"""A longer cell in the first row is a value, so the table has no header."""

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_LEADING_ZERO = re.compile(r"[+-]?0\d")


@dataclass(frozen=True, slots=True)
class _Dialect:
    separator: str
    quoted: bool


def read_delimited(file: SourceFile, context: ReadContext) -> Iterator[Document]:
    """A document for each row; its number is counted from 1 below the header."""
    csv.field_size_limit(max(csv.field_size_limit(), limits.MAX_LINE_CHARACTERS))
    with open_binary(file, context) as raw:
        stream = open_text(raw, find_encoding(raw, file, context), newline="")
        yield from record_documents(_records(stream, file, context), file, context, "row")


def _records(stream: TextIO, file: SourceFile, context: ReadContext) -> Iterator[Record]:
    lines = bounded_lines(stream, file)
    head: list[str] = []
    characters = 0
    for text in lines:
        head.append(text)
        characters += len(text)
        if len(head) >= SNIFFED_ROWS or characters > SNIFFED_CHARACTERS:
            break
    dialect = _find_dialect(head, file.format)
    comments = _comments(head, dialect)
    context.report.leave_out(file.source, "comment lines", len(comments), comments)
    head = head[len(comments) :]
    rows = _rows(chain(head, lines), dialect, file, context, len(comments))
    sample: list[tuple[int, list[str]]] = []
    characters = 0
    for row in rows:
        sample.append(row)
        characters += sum(map(len, row[1]))
        if len(sample) > limits.SAMPLE_RECORDS or characters > limits.SAMPLE_CHARACTERS:
            break
    if not sample:
        return
    if _has_header([cells for _, cells in sample], (context.text_field, context.title_field, context.id_field)):
        names = _unique([name.strip() for name in sample.pop(0)[1]])
    else:
        context.report.note(f"{file.source}: no header row; the columns are called column_1, column_2, …")
        names = [f"column_{index + 1}" for index in range(len(sample[0][1]))]
    readers = [
        _column_reader([cells[index] for _, cells in sample if index < len(cells)]) for index in range(len(names))
    ]
    table = _Table(names, readers, file, context)
    for number, (line, cells) in enumerate(chain(sample, rows), 1):
        values = table.values(cells, line)
        if values is not None:
            yield Record(number, values, sum(map(len, cells)))


class _Table:
    """Turns rows of cells into named, typed values."""

    def __init__(
        self, names: Sequence[str], readers: Sequence[Callable[[str], object]], file: SourceFile, context: ReadContext
    ) -> None:
        self._names = names
        self._readers = readers
        self._file = file
        self._context = context

    def values(self, cells: list[str], line: int) -> dict[str, object] | None:
        names, report, source = self._names, self._context.report, self._file.source
        if len(cells) > len(names):
            if any(cell.strip() for cell in cells[len(names) :]):
                reason = f"the row has {len(cells)} cells for {len(names)} columns; quote cells that hold a separator"
                self._context.bad_part(self._file, "malformed rows", f"line {line}", reason)
                return None
            cells = cells[: len(names)]
        if len(cells) < len(names):
            report.leave_out(source, "cells missing in short rows", len(names) - len(cells))
        values: dict[str, object] = {}
        for name, reader, cell in zip(names, self._readers, cells, strict=False):
            value = reader(cell)
            if value is None and cell.strip():
                report.leave_out(source, f"values of {name!r} unlike the numbers before", 1, [cell])
            values[name] = value
        return values


def _comments(head: list[str], dialect: _Dialect) -> list[str]:
    """Lines above the table that begin with `#` and do not have as many cells as most rows."""
    widths = [line.count(dialect.separator) for line in head if line.strip()]
    usual = max(set(widths), key=widths.count, default=0)
    return list(takewhile(lambda line: line.startswith("#") and line.count(dialect.separator) != usual, head))


def _rows(
    lines: Iterable[str], dialect: _Dialect, file: SourceFile, context: ReadContext, above: int
) -> Iterator[tuple[int, list[str]]]:
    """`(line, cells)` of each row that is not empty; the line is the row's last, `above` lines were taken before."""
    reader = _reader(lines, dialect)
    while True:
        before = above + reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error)
            if "unexpected end of data" in reason:
                lost = above + reader.line_num - before
                reason = f"the quote that opens here is never closed, {lost:,} lines are lost to it"
            context.bad_part(file, "malformed rows", f"line {before + 1}", f"not {file.format.upper()} ({reason})")
            continue
        if any(cell.strip() for cell in cells):
            yield above + reader.line_num, cells


def _reader(lines: Iterable[str], dialect: _Dialect) -> Any:
    quoting: Any = csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=dialect.separator, quoting=quoting, strict=True)


def _find_dialect(head: list[str], table_format: str) -> _Dialect:
    """The separator that cuts the first rows into the same number of cells, and whether quotes mean anything."""
    if table_format == "tsv":
        # Tab-separated tables mostly have no quoting, and a lone quote sign would then swallow many rows.
        plain = [line.rstrip("\r\n").split("\t") for line in head if line.strip() and not line.startswith("#")]
        even = len({len(cells) for cells in plain}) == 1
        quotes = any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cells in plain for cell in cells)
        return _Dialect("\t", quoted=quotes or not even)
    best, best_score = ",", (0.0, 0)
    for separator in SEPARATORS:
        counts = _cell_counts(head, separator)
        if not counts:
            continue
        width = max(set(counts), key=counts.count)
        score = (counts.count(width) / len(counts), width)
        if width > 1 and score > best_score:
            best, best_score = separator, score
    return _Dialect(best, quoted=True)


def _cell_counts(head: list[str], separator: str) -> list[int]:
    counts: list[int] = []
    reader = _reader(head, _Dialect(separator, quoted=True))
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return counts
        except csv.Error:
            continue
        if any(cell.strip() for cell in cells):
            counts.append(len(cells))


def _has_header(rows: list[list[str]], wanted: Iterable[str | None]) -> bool:
    """Whether the first row names the columns: not when a cell is long, or a counter begins in it."""
    first = [cell.strip() for cell in rows[0]]
    if any(name in first for name in wanted if name is not None):
        return True
    if any(len(cell) > MAX_NAME_CHARACTERS for cell in first):
        return False
    known = {*TEXT_NAMES, *TITLE_NAMES, *ID_NAMES}
    if any(re.sub(r"[\W_]+", "", cell).casefold() in known for cell in first):
        return True
    return not (len(rows) > 1 and all(row and _NUMBER.fullmatch(row[0].strip()) for row in rows[:SNIFFED_ROWS]))


def _unique(names: list[str]) -> list[str]:
    """Column names that differ: empty ones are numbered, repeated ones get a number behind them."""
    result: list[str] = []
    taken = set(names)
    used: set[str] = set()
    for index, name in enumerate(names, 1):
        candidate, number = name or f"column_{index}", 1
        while candidate in used or (candidate != name and candidate in taken):
            number += 1
            candidate = f"{name or f'column_{index}'}_{number}"
        used.add(candidate)
        result.append(candidate)
    return result


def _column_reader(cells: list[str]) -> Callable[[str], object]:
    """How to read the cells of a column, from those of the first rows: all integers, all numbers, or text.

    One kind a column, so that a store can give it one type. Numbers with leading zeros are codes, so text.
    """
    filled = [cell.strip() for cell in cells if cell.strip()]
    if not filled or any(_LEADING_ZERO.match(cell) for cell in filled):
        return _text
    if all(_INTEGER.fullmatch(cell) for cell in filled):
        return _integer
    return _number if all(_NUMBER.fullmatch(cell) for cell in filled) else _text


def _text(cell: str) -> str | None:
    return cell or None


def _integer(cell: str) -> int | None:
    cell = cell.strip()
    return int(cell) if _INTEGER.fullmatch(cell) else None


def _number(cell: str) -> float | None:
    cell = cell.strip()
    return float(cell) if _NUMBER.fullmatch(cell) else None
