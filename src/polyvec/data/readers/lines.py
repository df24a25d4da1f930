"""Reading text of bounded size from a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from polyvec.core.errors import FormatError
from polyvec.data.readers import limits
from polyvec.data.readers.source_file import SourceFile, printable


def bounded_lines(stream: TextIO, file: SourceFile) -> Iterator[str]:
    """The lines of a stream with their ends.

    Raises:
        FormatError: A line is longer than `limits.MAX_LINE_CHARACTERS`.
    """
    limit = limits.MAX_LINE_CHARACTERS
    number = 0
    while line := stream.readline(limit + 1):
        number += 1
        if len(line) > limit:
            raise FormatError(
                f"{printable(file.path)}, line {number}: the line is longer than {limit:,} characters; "
                "is it text with line breaks?"
            )
        yield line


def read_whole(stream: TextIO, file: SourceFile) -> str:
    """All of a stream, for formats that make one document of a file.

    Raises:
        FormatError: The text is longer than `limits.MAX_DOCUMENT_CHARACTERS`.
    """
    limit = limits.MAX_DOCUMENT_CHARACTERS
    text = stream.read(limit + 1)
    if len(text) > limit:
        raise FormatError(
            f"{printable(file.path)} is longer than {limit:,} characters, too much for one document; split it"
        )
    return text


def require_words(text: str, file: SourceFile) -> str:
    """`text` without white space around it.

    Raises:
        FormatError: Nothing is left.
    """
    stripped = text.strip("\ufeff \t\n\r\f\v") if text else ""
    stripped = stripped.strip()
    if not stripped:
        what = "is empty" if not text else "has nothing but white space"
        raise FormatError(f"{printable(file.path)} {what}")
    return stripped
