"""PDF: the text of all pages as one document."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from polyvec.core.errors import FormatError, PolyvecError
from polyvec.data.documents import Document, Scalar
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.encodings import clean_text
from polyvec.data.readers.opening import open_binary
from polyvec.data.readers.source_file import SourceFile, one_line, printable


def _parser_errors() -> tuple[type[BaseException], ...]:
    from pypdf.errors import PyPdfError

    # A damaged PDF can make the parser fail anywhere; these kinds were found by damaging files at random.
    return (
        PyPdfError, ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError,
        NotImplementedError, OSError, RecursionError, RuntimeError, StopIteration, TypeError, ValueError, struct.error,
        zlib.error,
    )  # fmt: skip


def read_pdf(file: SourceFile, context: ReadContext) -> Iterator[Document]:
    """The one document of a PDF; metadata has the number of `pages`, and the `author` where it is given.

    A page that cannot be read is left out and counted (or raised). A file that needs a password, is broken, or has
    no text at all (a scan) raises.
    """
    errors = _parser_errors()
    with open_binary(file, context) as raw, _silent():
        name = printable(file.path)
        start = raw.read(1024)
        if not start:
            raise FormatError(f"{name} is empty")
        if b"%PDF-" not in start:
            raise FormatError(f"{name} is not a PDF: it does not begin with %PDF-")
        raw.seek(0)
        try:
            reader = _open(raw, name)
            count = len(reader.pages)
        except errors as error:
            if isinstance(error, PolyvecError):
                raise
            raise FormatError(f"{name} is not a whole PDF: {_reason(error)}") from error
        pages = []
        for number in range(count):
            try:
                text = reader.pages[number].extract_text()
            except errors as error:
                context.bad_part(file, "unreadable pages", f"page {number + 1}", _reason(error))
                continue
            pages.append(clean_text(text).strip())
        text = "\n\n".join(page for page in pages if page)
        if not text:
            unreadable = (
                "can be read" if not pages and count else "has text (is it a scan?); run text recognition (OCR) first"
            )
            raise FormatError(f"{name}: none of its {count:,} pages {unreadable}")
        title, metadata = _information(reader, errors)
        document = Document(file.id_prefix, text, title, file.source, {"pages": count, **metadata})
    yield document


def _open(raw: Any, name: str) -> Any:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    reader = PdfReader(raw, strict=False)
    if reader.is_encrypted:
        try:
            opened = reader.decrypt("")
        except DependencyError as error:
            raise FormatError(
                f"{name} is encrypted in a way that needs the package 'cryptography'; install it, or save a copy "
                "without encryption"
            ) from error
        if not opened:
            raise FormatError(f"{name} needs a password; save a copy without one")
    return reader


def _information(reader: Any, errors: tuple[type[BaseException], ...]) -> tuple[str | None, dict[str, Scalar]]:
    """Title and author from the file's information, where they say something."""
    try:
        found = reader.metadata or {}
        title, author = str(found.get("/Title") or ""), str(found.get("/Author") or "")
    except errors:
        return None, {}
    title = " ".join(clean_text(title).split())
    if title.casefold() in ("untitled", "anonymous") or title.casefold().endswith(
        (".doc", ".docx", ".dvi", ".indd", ".tex")
    ):
        title = ""
    author = " ".join(clean_text(author).split())
    metadata: dict[str, Scalar] = {"author": author} if author and author.casefold() != "anonymous" else {}
    return title or None, metadata


def _reason(error: BaseException) -> str:
    text = one_line(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def _silent() -> Iterator[None]:
    """The parser warns about every oddity of a file; what matters to the user comes as an error."""
    logger = logging.getLogger("pypdf")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
