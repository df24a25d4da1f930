"""Plain text: one document a file, a titled page split, a huge file streamed into parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from polyvec.data.documents import Document
from polyvec.data.readers import limits
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.encodings import clean_text, find_encoding, open_text
from polyvec.data.readers.lines import bounded_lines, require_words
from polyvec.data.readers.opening import open_binary
from polyvec.data.readers.source_file import SourceFile
from polyvec.data.readers.titled_pages import TitledPage, slug, split_titled_page


def read_plain_text(file: SourceFile, context: ReadContext) -> Iterator[Document]:
    """The documents of a text file; longer than `limits.SINGLE_TEXT_CHARACTERS` it is cut into parts."""
    with open_binary(file, context) as raw:
        stream = open_text(raw, find_encoding(raw, file, context))
        lines = bounded_lines(stream, file)
        buffer: list[str] = []
        length = 0
        for line in lines:
            buffer.append(line)
            length += len(line)
            if length > limits.SINGLE_TEXT_CHARACTERS:
                yield from _parts(chain(_drained(buffer), lines), file, context)
                return
        yield from _documents("".join(buffer), file, context)


def _documents(text: str, file: SourceFile, context: ReadContext) -> Iterator[Document]:
    text = require_words(clean_text(text), file)
    page = split_titled_page(text) if file.format == "text" else None
    if page is None:
        yield Document(file.id_prefix, text, None, file.source)
    else:
        yield from _titled_documents(page, file, context)


def _titled_documents(page: TitledPage, file: SourceFile, context: ReadContext) -> Iterator[Document]:
    context.report.note(
        f"{file.source}: a page of titled paragraphs, split into {len(page.entries):,} titled documents"
    )
    context.report.leave_out(file.source, "stray lines", len(page.strays), page.strays)
    used: set[str] = set()
    repeats: dict[str, int] = {}

    def part(name: str) -> str:
        candidate = name
        while candidate in used:
            repeats[name] = repeats.get(name, 1) + 1
            candidate = f"{name}-{repeats[name]}"
        used.add(candidate)
        return f"{file.id_prefix}#{candidate}"

    for paragraph in page.untitled:
        yield Document(part("untitled"), paragraph, None, file.source)
    for entry in page.entries:
        yield Document(part(slug(entry.title)), entry.text, entry.title, file.source)


def _drained(buffer: list[str]) -> Iterator[str]:
    """The lines of a buffer, which is emptied on the way so that they are not held twice."""
    buffer.reverse()
    while buffer:
        yield buffer.pop()


def _parts(lines: Iterable[str], file: SourceFile, context: ReadContext) -> Iterator[Document]:
    """Documents of about `limits.TEXT_PART_CHARACTERS`, cut between paragraphs, else lines, else words."""
    number = 0
    for text in _cut(lines):
        stripped = clean_text(text).strip()
        if not stripped:
            continue
        number += 1
        yield Document(f"{file.id_prefix}#part-{number}", stripped, None, file.source, {"part": number})
    if not number:
        require_words(" ", file)
    context.report.note(f"{file.source}: a huge text, cut into {number:,} parts")


def _cut(lines: Iterable[str]) -> Iterator[str]:
    size = limits.TEXT_PART_CHARACTERS
    part: list[str] = []
    length = 0
    for line in lines:
        for piece in _pieces(line, size):
            if length and length + len(piece) > 2 * size:
                yield "".join(part)
                part, length = [], 0
            part.append(piece)
            length += len(piece)
        if length >= size and not line.strip():
            yield "".join(part)
            part, length = [], 0
    if part:
        yield "".join(part)


def _pieces(line: str, size: int) -> Iterator[str]:
    start = 0
    while len(line) - start > size:
        end = line.rfind(" ", start + 1, start + size) + 1 or start + size
        yield line[start:end]
        start = end
    yield line[start:]
