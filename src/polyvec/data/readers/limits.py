"""Limits of the readers, in one place: what is refused, what is cut, how far is looked ahead.

They bound the memory that reading takes, whatever the size of the input. Characters are counted after decoding;
a character takes one to four bytes in memory.
"""

from __future__ import annotations

MAX_LINE_CHARACTERS = 64 * 2**20
"""A longer line (or CSV field, or JSON value) is refused: a text that long without a break is a data blob."""

MAX_DOCUMENT_CHARACTERS = 256 * 2**20
"""A longer Markdown or HTML file, which is always one document, is refused."""

SINGLE_TEXT_CHARACTERS = 64 * 2**20
"""A plain text up to this length is one document; a longer one is streamed into parts."""

TEXT_PART_CHARACTERS = 8 * 2**20
"""About the length of a part of a huge plain text; parts end between paragraphs where they can."""

SAMPLE_RECORDS = 1000
"""So many records are looked at, before the first document, to choose the fields and the column types."""

SAMPLE_CHARACTERS = 8 * 2**20
"""The look at the first records stops early when they are longer than this together."""

MAX_NESTED_CHARACTERS = 4096
"""A nested value (list, object) of a record is kept as JSON up to this length, and dropped with a count beyond."""

MAX_REPORT_ITEMS = 1000
"""So many files are named one by one in a report; further ones are only counted."""

BLOCK_BYTES = 1 << 20
"""Bytes that are read at a time."""
