"""Markdown: one document a file, its title from the front matter or the first heading."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from polyvec.data.documents import Document, Scalar
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.encodings import clean_text, find_encoding, open_text
from polyvec.data.readers.lines import read_whole, require_words
from polyvec.data.readers.opening import open_binary
from polyvec.data.readers.scalars import to_scalar
from polyvec.data.readers.source_file import SourceFile

MAX_FRONT_MATTER_CHARACTERS = 1 << 16
"""A longer block between `---` lines is text, not front matter."""

_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\n(.*?)(?:^|\n)(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*(?:\n|\Z)|([^\n]*\w[^\n]*)\n(?:=+|-{3,})[ \t]*(?:\n|\Z)")
_INLINE = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)|[*`]+|\{#[^}\n]*\}")


def read_markdown(file: SourceFile, context: ReadContext) -> Iterator[Document]:
    """The one document of a Markdown file; its text is the Markdown source below front matter and title.

    Front matter is YAML between `---` lines or TOML between `+++` lines; its plain values become metadata. One that
    does not parse stays in the text.
    """
    with open_binary(file, context) as raw:
        text = clean_text(read_whole(open_text(raw, find_encoding(raw, file, context)), file))
    text = require_words(text, file)
    values, body = _front_matter(text, file, context)
    body = body.strip()
    front_title = values.pop("title", None)
    title = " ".join(str(front_title).split()) if front_title is not None else ""
    heading = _HEADING.match(body)
    if heading:
        words = " ".join(_INLINE.sub(r"\1", heading[1] or heading[2]).split())
        if words and (not title or words.casefold() == title.casefold()):
            title, body = title or words, body[heading.end() :].strip()
    yield Document(file.id_prefix, body or title or text, title if body and title else None, file.source, values)


def _front_matter(text: str, file: SourceFile, context: ReadContext) -> tuple[dict[str, Scalar], str]:
    found = _FRONT_MATTER.match(text[: MAX_FRONT_MATTER_CHARACTERS + 8])
    if not found:
        return {}, text
    parsed: Mapping[Any, object] | None = (_parse_toml if found[1] == "+++" else _parse_yaml)(found[2])
    if parsed is None:
        return {}, text
    values: dict[str, Scalar] = {}
    for key, value in parsed.items():
        kept, scalar = to_scalar(value)
        if kept:
            values[clean_text(str(key))] = scalar
        else:
            context.report.leave_out(file.source, "front matter values too long")
    return values, text[found.end() :]


def _parse_toml(source: str) -> dict[str, object] | None:
    import tomllib

    try:
        return tomllib.loads(source)
    except (ValueError, RecursionError):
        return None


def _parse_yaml(source: str) -> dict[Any, object] | None:
    import yaml  # type: ignore[import-untyped]

    # Aliases could make a few lines expand to gigabytes; front matter has no use for them.
    if re.search(r"(?:^|[\s\[,:-])[&*]\w", source):
        return None
    try:
        parsed = yaml.safe_load(source)
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return {} if parsed is None else parsed if isinstance(parsed, dict) else None
