"""Which field of a record is its text, its title, its id: by the names that people use, else by the values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polyvec.core.errors import FormatError
from polyvec.data.readers.source_file import one_line

TEXT_NAMES = (
    "text", "content", "contents", "fulltext", "body", "pagecontent", "document", "passage", "article", "abstract",
    "description", "longdescription", "details", "summary", "chunk", "paragraph", "review", "reviewtext", "comment",
    "message", "post", "tweet", "transcript", "transcription", "sentence", "caption", "answer", "question", "query",
    "value", "name", "title",
)  # fmt: skip
TITLE_NAMES = ("title", "headline", "heading", "subject", "name", "synopsis")
ID_NAMES = ("id", "docid", "documentid", "uid", "uuid", "guid", "identifier", "key")
MAX_TITLE_CHARACTERS = 300
"""A field whose values are longer on average is no title, whatever its name."""

WEAK_TEXT_NAMES = frozenset({"value", "name", "title"})
"""Taken for the text only when no other field has longer text."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The chosen fields; `id_given` tells that the user named the id field, so that its values must be unique."""

    text: str
    title: str | None
    id: str | None
    id_given: bool


def text_of(value: object) -> str | None:
    """A field's value as text: a string, or a list of strings joined by line ends; else `None`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return None


def id_of(value: object) -> str | None:
    """A field's value as the part of an id; `None` when it cannot identify anything."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def choose_fields(
    samples: Sequence[Mapping[str, object]],
    *,
    text_field: str | None,
    title_field: str | None,
    id_field: str | None,
    where: str,
) -> Fields:
    """Choose the fields from the first records.

    A field that the user named must be there. Else the text is the field with the first of `TEXT_NAMES`, and without
    one the text field that is longest on average; title and id go by their names alone, and an id must be there, and
    different, in every sampled record.

    Raises:
        FormatError: A named field is not there, or no field holds text; the message names the fields that are there.
    """
    columns = list(dict.fromkeys(name for record in samples for name in record))
    listed = (
        ", ".join(one_line(name, 60) for name in columns[:30]) + (", …" if len(columns) > 30 else "")
        if columns
        else "none"
    )
    for argument, name in (("text_field", text_field), ("title_field", title_field), ("id_field", id_field)):
        if name is not None and name not in columns:
            raise FormatError(f"{where}: {argument} {name!r} is not there; the fields are: {listed}")
    lengths = {name: length for name in columns if (length := _mean_length(samples, name)) is not None}
    text = text_field or _choose_text(lengths, {title_field, id_field})
    if text is None:
        raise FormatError(f"{where}: no field holds text; the fields are: {listed}; name one as text_field")
    title = title_field or _named(
        TITLE_NAMES,
        [name for name, length in lengths.items() if name not in (text, id_field) and length <= MAX_TITLE_CHARACTERS],
    )
    candidates = [name for name in columns if name not in (text, title)]
    found_id = id_field or _named(ID_NAMES, [name for name in candidates if _identifies(samples, name)])
    return Fields(text, title, found_id, id_field is not None)


def _choose_text(lengths: Mapping[str, float], taken: set[str | None]) -> str | None:
    free = {name: length for name, length in lengths.items() if name not in taken and length > 0}
    if not free:
        return None
    named = _named(TEXT_NAMES, list(free))
    if named is not None and _normal(named) not in WEAK_TEXT_NAMES:
        return named
    return max(free, key=lambda name: free[name])


def _named(names: Sequence[str], columns: Sequence[str]) -> str | None:
    normal: dict[str, str] = {}
    for column in columns:
        normal.setdefault(_normal(column), column)
    return next((normal[name] for name in names if name in normal), None)


def _normal(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _mean_length(samples: Sequence[Mapping[str, object]], name: str) -> float | None:
    """Mean length of a field's texts; `None` when most of its values are not text."""
    values = [record[name] for record in samples if record.get(name) is not None]
    texts = [text for value in values if (text := text_of(value)) is not None]
    if not texts or 2 * len(texts) <= len(values):
        return None
    return sum(len(text.strip()) for text in texts) / len(texts)


def _identifies(samples: Sequence[Mapping[str, object]], name: str) -> bool:
    values = [id_of(record.get(name)) for record in samples]
    return None not in values and len(set(values)) == len(values)
