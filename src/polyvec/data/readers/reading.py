"""`read`: documents from files, folders and patterns, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError, PolyvecError
from polyvec.data.documents import Document
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.delimited import read_delimited
from polyvec.data.readers.encodings import check_encoding
from polyvec.data.readers.formats import FORMATS
from polyvec.data.readers.json_records import read_json, read_json_lines
from polyvec.data.readers.markdown import read_markdown
from polyvec.data.readers.pdf import read_pdf
from polyvec.data.readers.plain_text import read_plain_text
from polyvec.data.readers.records import DuplicateIdError
from polyvec.data.readers.report import ReadReport
from polyvec.data.readers.scanning import OnError, Source, scan, source_list
from polyvec.data.readers.source_file import SourceFile
from polyvec.data.readers.web_page import read_web_page

Reader = Callable[[SourceFile, ReadContext], Iterator[Document]]


def _read_columnar(file: SourceFile, context: ReadContext) -> Iterator[Document]:
    from polyvec.data.readers.columnar import read_columnar  # loads pyarrow, which other kinds do not need

    return read_columnar(file, context)


READERS: dict[str, Reader] = {
    "text": read_plain_text,
    "log": read_plain_text,
    "markdown": read_markdown,
    "html": read_web_page,
    "jsonl": read_json_lines,
    "json": read_json,
    "csv": read_delimited,
    "tsv": read_delimited,
    "parquet": _read_columnar,
    "arrow": _read_columnar,
    "pdf": read_pdf,
}


def read(
    sources: Source | Iterable[Source],
    *,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    text_field: str | None = None,
    title_field: str | None = None,
    id_field: str | None = None,
    encoding: str | None = None,
    hidden: bool = False,
    follow_links: bool = False,
    on_error: OnError = "warn",
    report: ReadReport | None = None,
) -> Iterator[Document]:
    """Documents from the user's own files, one at a time.

    Text, Markdown, HTML and PDF files give one document each, named by their path. A plain text page of titled
    paragraphs gives one a title (see `titled_pages`), a huge plain text several parts. Tables and JSON give one a row
    or object. Ids are stable: the path below the folder that was given, with `#` and the row's id or number, or the
    title, behind it where a file gives several. Arguments and the sources are checked at the call, before the
    first document.

    Memory stays bounded: records are streamed, a text is held once, and the limits are in `limits`.

    Args:
        sources: A path, a pattern, `-` (standard input), or several; or what `scan` returned, which is not searched
            again. See `scan`.
        include: Patterns that files in folders must match; see `scan`.
        exclude: Patterns of files and folders to leave out.
        text_field: Field of records that holds the text. Default: found by its usual names (text, content, body,
            abstract, description, ...), else the field with the longest text on average.
        title_field: Field of records that holds the title. Default: found by its usual names.
        id_field: Field of records that identifies them; its values must differ. Default: a field with a usual name
            whose values differ, else the row number.
        encoding: Encoding of text files. Default: by mark, UTF-8, or a guess that the report names.
        hidden: Also take files and folders whose name begins with a dot.
        follow_links: Follow symbolic links inside folders.
        on_error: "warn" skips what cannot be read, logs and counts it; "raise" raises. A source that the user named
            and that is missing or unreadable is raised in both.
        report: Filled while reading.

    Raises:
        FileProblemError: A named source is missing or unreadable.
        FormatError: There are no documents at all; with "raise", also the first file or part that is malformed.
        InvalidValueError: An argument cannot be used.
        InvalidTypeError: An argument has the wrong type.
    """
    report = ReadReport() if report is None else report
    check_encoding(encoding)
    for argument, name in (("text_field", text_field), ("title_field", title_field), ("id_field", id_field)):
        if name is not None and not isinstance(name, str):
            raise InvalidTypeError(f"{argument} must be the name of a field, got {type(name).__name__}")
    if text_field is not None and text_field == title_field:
        raise InvalidValueError(f"text_field and title_field are both {text_field!r}; leave title_field out")
    given = source_list(sources)
    files = scan(
        given,
        include=include,
        exclude=exclude,
        hidden=hidden,
        follow_links=follow_links,
        on_error=on_error,
        report=report,
    )
    context = ReadContext(on_error, encoding, text_field, title_field, id_field, report)
    if not files:
        raise _nothing(report)
    return _documents(files, context)


def _documents(files: list[SourceFile], context: ReadContext) -> Iterator[Document]:
    report = context.report
    before = report.documents
    for file in files:
        made, done = 0, report.bytes
        try:
            for document in READERS[file.format](file, context):
                made += 1
                report.documents += 1
                report.files += made == 1
                if context.position is not None:
                    report.bytes = done + min(file.size, context.position())
                yield document
        except DuplicateIdError:
            raise
        except PolyvecError as error:
            if context.on_error == "raise" or (file.explicit and isinstance(error, FileProblemError)):
                raise
            if made:
                report.broke(file.source, str(error))
            else:
                report.skip(file.source, str(error))
        report.bytes = done + file.size
    if report.documents == before:
        raise _nothing(report)


def _nothing(report: ReadReport) -> FormatError:
    """Why there is no document, in one line."""
    if report.found:
        reasons = "; ".join(item.reason for item in report.skipped[:3])
        more = f"; and {report.skipped_count - 3:,} more" if report.skipped_count > 3 else ""
        return FormatError(f"no documents: {reasons}{more}")
    passed = [line for line in report.lines() if line.startswith("passed over")]
    return FormatError(
        f"no documents: no files of a kind that is read ({' '.join(FORMATS)}){', ' + passed[0] if passed else ''}; "
        "check the folder, or name files or patterns"
    )
