"""From records (rows, objects) to documents: fields chosen, ids kept apart, the rest as metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from polyvec.core.errors import FormatError
from polyvec.data.documents import Document, Scalar
from polyvec.data.readers import limits
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.encodings import clean_text
from polyvec.data.readers.fields import Fields, choose_fields, id_of, text_of
from polyvec.data.readers.scalars import to_scalar
from polyvec.data.readers.seen_ids import SeenIds
from polyvec.data.readers.source_file import SourceFile, printable


class DuplicateIdError(FormatError):
    """The id field that the user named has a value twice: raised whatever `on_error` says, as the choice is wrong."""


class Record(NamedTuple):
    """One record of a file: its number (from 1; the line, for JSON lines), its fields, and about how long it is."""

    number: int
    values: Mapping[str, object]
    characters: int


def record_documents(
    records: Iterable[Record], file: SourceFile, context: ReadContext, unit: str = "row"
) -> Iterator[Document]:
    """A document for each record that has text.

    The fields are chosen once, from the first `limits.SAMPLE_RECORDS`. The id of a document is the source with the
    value of the id field behind `#`, or the record's number where there is none. A record without text but with a
    title has the title as its text; one with neither is left out and counted.

    Raises:
        FormatError: No record, or no text field, or a record has no value in the id field that the user named and
            malformed parts are raised.
        DuplicateIdError: The id field that the user named has a value twice.
    """
    records = iter(records)
    sample: list[Record] = []
    characters = 0
    for record in records:
        sample.append(record)
        characters += record.characters
        if len(sample) >= limits.SAMPLE_RECORDS or characters > limits.SAMPLE_CHARACTERS:
            break
    if not sample:
        raise FormatError(f"{printable(file.path)} {f'has no {unit}s' if file.size else 'is empty'}")
    fields = choose_fields(
        [record.values for record in sample],
        text_field=context.text_field,
        title_field=context.title_field,
        id_field=context.id_field,
        where=printable(file.path),
    )
    maker = _DocumentMaker(fields, file, context, unit)
    for record in chain(_drained(sample), records):
        document = maker.document(record)
        if document is not None:
            yield document
    if not maker.made:
        raise FormatError(f"{printable(file.path)}: no {unit} has text in its field {fields.text!r}")


def _drained(sample: list[Record]) -> Iterator[Record]:
    """The sampled records, let go one by one."""
    sample.reverse()
    while sample:
        yield sample.pop()


class _DocumentMaker:
    def __init__(self, fields: Fields, file: SourceFile, context: ReadContext, unit: str) -> None:
        self.made = 0
        self._fields = fields
        self._file = file
        self._context = context
        self._unit = unit
        self._seen = SeenIds() if fields.id is not None else None

    def document(self, record: Record) -> Document | None:
        fields, file, report = self._fields, self._file, self._context.report
        text = self._text(record.values.get(fields.text))
        title = self._text(record.values.get(fields.title)) if fields.title else ""
        title = " ".join(title.split())
        if not text and not title:
            report.leave_out(file.source, f"{self._unit}s without text")
            return None
        part = self._part(record)
        if part is None:
            return None
        metadata: dict[str, Scalar] = {}
        for name, value in record.values.items():
            if name in (fields.text, fields.title, fields.id):
                continue
            kept, scalar = to_scalar(value)
            if kept:
                metadata[clean_text(name)] = scalar
            else:
                report.leave_out(file.source, "values too long or binary", 1, [name])
        self.made += 1
        return Document(
            f"{file.id_prefix}#{part}", text or title, title if text and title else None, file.source, metadata
        )

    def _text(self, value: object) -> str:
        text = text_of(value)
        if text is None:
            kept, scalar = to_scalar(value)
            text = "" if not kept or scalar is None else str(scalar)
        return clean_text(text).strip()

    def _part(self, record: Record) -> str | None:
        """The part of the document's id behind the `#`; `None` for a record that has to be left out."""
        fields, number = self._fields, record.number
        if fields.id is None or self._seen is None:
            return str(number)
        name = clean_text(id_of(record.values.get(fields.id)) or "")
        before = self._seen.add(name, number) if name else None
        if name and before is None:
            return name
        if not fields.id_given:  # the field was only found, not named: keep the record under an id of its own
            part = f"{name}~{number}"
            while self._seen.add(part, number) is not None:
                part += "~"
            self._context.report.leave_out(self._file.source, f"ids missing or repeated in {fields.id!r}")
            return part
        place = f"{self._unit} {number}"
        if name:
            raise DuplicateIdError(
                f"{printable(self._file.path)}, {place}: id {name!r} of field {fields.id!r} was used in "
                f"{self._unit} {before} already; name a field whose values differ, or leave id_field out"
            )
        reason = f"the id field {fields.id!r} has no usable value; fill it in, or leave id_field out"
        self._context.bad_part(self._file, f"{self._unit}s without id", place, reason)
        return None
