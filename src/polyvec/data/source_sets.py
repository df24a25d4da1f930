"""What is to be indexed, with the origin of each document, and which documents of a store have vanished from it.

The origin of a document is the absolute path of its file, `catalogue:NAME`, or a name that the caller gives. A later
run over the same folder finds by it which documents of the store the folder no longer has, and leaves those of other
folders alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.data.documents import Document
from polyvec.data.readers import ReadReport, SourceFile, read, scan
from polyvec.data.readers.source_file import printable

STANDARD_INPUT = "-"
_PATTERN = re.compile(r"[*?\[]")


class SourceSet(Protocol):
    """Documents with their origins, and what has become of those that are not among them."""

    total: int | None

    def __iter__(self) -> Iterator[tuple[Document, str]]: ...

    def has_lost(self, origin: str) -> bool:
        """Whether a document of this origin that was not read is gone (asked after reading)."""
        ...


class GivenDocuments:
    """Documents from memory, under the origin that the caller names (none: nothing ever vanishes)."""

    def __init__(self, documents: Iterable[Document], origin: str) -> None:
        self._documents = documents
        self.origin = origin
        self.total = len(documents) if isinstance(documents, Sequence) else None

    def __iter__(self) -> Iterator[tuple[Document, str]]:
        return ((document, self.origin) for document in self._documents)

    def has_lost(self, origin: str) -> bool:
        """All that are of the same named origin and were not given are gone."""
        return bool(self.origin) and origin == self.origin


class FileSources:
    """Documents from files, folders and patterns."""

    def __init__(
        self, sources: Sequence[Any], report: ReadReport, scanning: Mapping[str, Any], reading: Mapping[str, Any]
    ):
        self._report = report
        self._files = scan(list(sources), report=report, **scanning)
        if not self._files:
            read(list(sources), **scanning, **reading)  # says why there are none
        self._paths = {file.source: _origin(file.path) for file in self._files}
        self._reading = {**reading, "on_error": scanning["on_error"]}
        self._roots = [_root(source) for source in sources]
        self._chosen = set(self._paths.values())
        self._unread: set[str] | None = None
        self.total: int | None = None

    def __iter__(self) -> Iterator[tuple[Document, str]]:
        documents = read(self._files, report=self._report, **self._reading)
        return ((document, self._paths.get(document.source, document.source)) for document in documents)

    def has_lost(self, origin: str) -> bool:
        """Whether the file was read to its end, or is no longer there or no longer chosen.

        A file (or folder) that could not be read, or broke half-way, has lost nothing. With a pattern as source, files
        that are there and do not match were not asked for.
        """
        if self._report.skipped_count > len(self._report.skipped):  # too many to be listed
            return False
        if self._unread is None:
            trouble = [*self._report.skipped, *self._report.incomplete]
            self._unread = {self._paths.get(item.source) or _origin(Path(item.source)) for item in trouble}
        if any(_inside(origin, place) for place in self._unread):
            return False
        if origin in self._chosen:
            return True
        within = [pattern for place, pattern in self._roots if _inside(origin, place)]
        return bool(within) and (not all(within) or not Path(origin).exists())


class Several:
    """Several source sets after one another."""

    def __init__(self, parts: Sequence[SourceSet]) -> None:
        self._parts = parts
        totals = [part.total for part in parts]
        self.total = None if None in totals else sum(total for total in totals if total is not None)

    def __iter__(self) -> Iterator[tuple[Document, str]]:
        return chain.from_iterable(self._parts)

    def has_lost(self, origin: str) -> bool:
        """Whether any part has lost it."""
        return any(part.has_lost(origin) for part in self._parts)


def source_set(
    sources: Any, *, origin: str | None, report: ReadReport, scanning: Mapping[str, Any], reading: Mapping[str, Any]
) -> SourceSet:
    """What `sources` stands for: documents, paths and patterns, names of the catalogue, or several of the last three.

    Raises:
        InvalidTypeError: Something else.
        InvalidValueError: Nothing; a catalogue entry that holds no texts.
        FileProblemError: A source that is missing or unreadable.
    """
    if isinstance(sources, Document):
        raise InvalidTypeError("sources: got one Document, needs a list of them")
    if isinstance(sources, (str, os.PathLike, SourceFile)):
        sources = [sources]
    if not isinstance(sources, Iterable) or isinstance(sources, (bytes, bytearray, Mapping)):
        raise InvalidTypeError(
            f"sources: got {type(sources).__name__}, needs paths, names of the catalogue, or documents"
        )
    rest = iter(sources)
    try:
        first = next(rest)
    except StopIteration:
        raise InvalidValueError("sources: no documents; give at least one") from None
    if isinstance(first, Document):
        documents = sources if isinstance(sources, Sequence) else chain([first], rest)
        return GivenDocuments(documents, origin or "")
    if origin is not None:
        raise InvalidValueError("origin: is for documents; files and catalogue entries have their own")
    named = [first, *rest]
    entries = [source for source in named if _is_entry(source)]
    parts: list[SourceSet] = [_from_catalogue(str(name)) for name in entries]
    if paths := [source for source in named if source not in entries]:
        parts.insert(0, FileSources(paths, report, scanning, reading))
    return parts[0] if len(parts) == 1 else Several(parts)


def _is_entry(source: Any) -> bool:
    """Whether a source names an entry of the catalogue; a path of that name that exists wins."""
    if not isinstance(source, str) or source == STANDARD_INPUT or os.path.lexists(source):
        return False
    from polyvec.data.catalogue import catalogue

    return source in catalogue()


def _from_catalogue(name: str) -> GivenDocuments:
    from polyvec.data.catalogue import entry, load

    loaded = load(name)
    if not isinstance(loaded, list) or not loaded or not isinstance(loaded[0], Document):
        raise InvalidValueError(f"sources: the catalogue's {name!r} holds {entry(name).kind}, needs an entry of texts")
    return GivenDocuments(loaded, f"catalogue:{name}")


def _origin(path: Path) -> str:
    # a file name is bytes; those that are no text are escaped, as in the sources of documents
    return STANDARD_INPUT if str(path) == STANDARD_INPUT else printable(os.path.abspath(path.expanduser()))  # noqa: PTH100


def _root(source: Any) -> tuple[str, bool]:
    """The place that a source covers, and whether it is a pattern there."""
    path = source.path if isinstance(source, SourceFile) else Path(os.fspath(source)).expanduser()
    if path.exists() or not _PATTERN.search(str(path)):
        return _origin(path), False
    fixed = []
    for part in path.parts:
        if _PATTERN.search(part):
            break
        fixed.append(part)
    return _origin(Path(*fixed)), True


def _inside(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip(os.sep) + os.sep)
