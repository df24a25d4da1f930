"""JSON: one object a line (JSON lines), or an array of objects, both streamed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TextIO

from polyvec.core.errors import FormatError
from polyvec.data.documents import Document
from polyvec.data.readers import limits
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.encodings import find_encoding, open_text
from polyvec.data.readers.fields import TEXT_NAMES
from polyvec.data.readers.lines import bounded_lines
from polyvec.data.readers.opening import open_binary
from polyvec.data.readers.records import Record, record_documents
from polyvec.data.readers.source_file import SourceFile, printable

CHUNK_CHARACTERS = 1 << 16
WRAPPER_NAMES = ("data", "items", "records", "results", "rows", "documents", "docs", "articles", "entries", "hits")
_SPACE = re.compile(r"[ \t\n\r]*")


def read_json_lines(file: SourceFile, context: ReadContext) -> Iterator[Document]:
    """A document for each line; a line that is a string is a text of its own. A record's number is its line.

    A file that begins with `[` is one array whatever its name, and read as such.
    """
    with open_binary(file, context) as raw:
        encoding = find_encoding(raw, file, context)
        stream = open_text(raw, encoding, newline="\n")
        start = stream.read(CHUNK_CHARACTERS)
        stream.detach()
        raw.seek(0)
        stream = open_text(raw, encoding, newline="\n")
        if start.lstrip().startswith("["):
            context.report.note(f"{file.source}: a JSON array rather than JSON lines")
            yield from record_documents(_objects(JsonStream(stream, file), file, context), file, context, "record")
            return
        yield from record_documents(_lines(stream, file, context), file, context, "line")


def _lines(stream: TextIO, file: SourceFile, context: ReadContext) -> Iterator[Record]:
    good = bad = 0
    first_problem = ""
    for number, line in enumerate(bounded_lines(stream, file), 1):
        if not line.strip():
            continue
        try:
            values = _as_record(json.loads(line.strip()))
        except RecursionError:
            values, problem = None, "the JSON is nested too deeply"
        except ValueError as error:
            values, problem = None, f"not JSON ({_reason(error)})"
        else:
            problem = "not a JSON object or string"
        if values is None:
            bad += 1
            first_problem = first_problem or f"line {number}: {problem}"
            context.bad_part(file, "malformed lines", f"line {number}", problem)
        else:
            good += 1
            yield Record(number, values, len(line))
    if bad and not good:
        raise FormatError(f"{printable(file.path)}: none of its {bad:,} lines is a JSON object; {first_problem}")


def read_json(file: SourceFile, context: ReadContext) -> Iterator[Document]:
    """A document for each object of an array, or of several objects one after the other; one for a single object.

    A single object that only wraps an array of objects (`{"data": [...]}`) is unwrapped. A record's
    number is its place.
    """
    with open_binary(file, context) as raw:
        stream = open_text(raw, find_encoding(raw, file, context), newline="\n")
        yield from record_documents(_objects(JsonStream(stream, file), file, context), file, context, "record")


def _objects(stream: JsonStream, file: SourceFile, context: ReadContext) -> Iterator[Record]:
    number = 0
    for value, characters, alone in stream.values():
        items = _unwrapped(value) if alone else [value]
        for item in items:
            number += 1
            record = _as_record(item)
            if record is None:
                context.bad_part(file, "malformed records", f"record {number}", "not a JSON object or string")
            else:
                yield Record(number, record, characters // len(items))


def _as_record(value: object) -> Mapping[str, object] | None:
    if isinstance(value, str):
        return {"text": value}
    return value if isinstance(value, dict) else None


def _unwrapped(value: object) -> list[object]:
    """The records inside a single top-level object that only wraps them, else the object itself."""
    if not isinstance(value, dict) or any(isinstance(value.get(name), str) for name in TEXT_NAMES):
        return [value]
    lists = {
        name: items
        for name, items in value.items()
        if isinstance(items, list) and items and all(isinstance(item, dict) for item in items)
    }
    if len(lists) == 1:
        return list(next(iter(lists.values())))
    return next((list(lists[name]) for name in WRAPPER_NAMES if name in lists), [value])


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "a number has too many digits"


class JsonStream:
    """The top-level values of a JSON text, or the items of its top-level array, with only one in memory at a time."""

    def __init__(self, stream: TextIO, file: SourceFile) -> None:
        self._stream = stream
        self._file = file
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._place = 0
        self._line = 1
        self._ended = False

    def values(self) -> Iterator[tuple[object, int, bool]]:
        """`(value, characters, alone)`; `alone` marks the one top-level value of a text that is no array.

        Raises:
            FormatError: The text is not JSON, or one value is too long; with the line.
        """
        first = self._peek()
        if first == "[":
            self._place += 1
            yield from self._items()
            if self._peek():
                raise self._error("there is more text behind the end of the array")
            return
        if not first:
            raise self._error("there is no JSON value")
        value, characters = self._value(limits.MAX_DOCUMENT_CHARACTERS)
        if not self._peek():
            yield value, characters, True
            return
        yield value, characters, False
        while self._peek():
            value, characters = self._value(limits.MAX_LINE_CHARACTERS)
            yield value, characters, False

    def _items(self) -> Iterator[tuple[object, int, bool]]:
        if self._peek() == "]":
            self._place += 1
            return
        while True:
            value, characters = self._value(limits.MAX_LINE_CHARACTERS)
            yield value, characters, False
            separator = self._peek()
            self._place += 1
            if separator == "]":
                return
            if separator != ",":
                raise self._error("the array ends too early" if not separator else "a comma is missing")

    def _fill(self, amount: int) -> None:
        self._line += self._buffer.count("\n", 0, self._place)
        block = self._stream.read(amount)
        self._ended = not block
        self._buffer = self._buffer[self._place :] + block
        self._place = 0

    def _peek(self) -> str:
        """The next character that is not white space, or an empty string at the end."""
        while True:
            found = _SPACE.match(self._buffer, self._place)
            self._place = found.end() if found else self._place
            if self._place < len(self._buffer):
                return self._buffer[self._place]
            if self._ended:
                return ""
            self._fill(CHUNK_CHARACTERS)

    def _value(self, limit: int) -> tuple[object, int]:
        if not self._peek():
            raise self._error("a value is missing at the end")
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._place)
            except json.JSONDecodeError as error:
                if self._ended:
                    raise self._error(f"not JSON ({error.msg})", error.pos) from error
                if len(self._buffer) - self._place > limit:
                    raise self._error(
                        f"not JSON ({error.msg}), or a value of more than {limit:,} characters", error.pos
                    ) from error
            except RecursionError as error:
                raise self._error("the JSON is nested too deeply") from error
            except ValueError as error:
                raise self._error("a number has too many digits") from error
            else:
                # A number may go on in the next block; everything else is known to be over.
                if end < len(self._buffer) or self._ended or isinstance(value, (dict, list, str)):
                    characters, self._place = end - self._place, end
                    if characters > limit:
                        raise self._error(f"a value has more than {limit:,} characters")
                    return value, characters
            self._fill(max(CHUNK_CHARACTERS, len(self._buffer) - self._place))

    def _error(self, reason: str, place: int | None = None) -> FormatError:
        line = self._line + self._buffer.count("\n", 0, self._place if place is None else place)
        return FormatError(f"{printable(self._file.path)}, line {line}: {reason}")
