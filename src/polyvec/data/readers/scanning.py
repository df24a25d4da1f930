"""From what the user named (files, folders, patterns) to the list of files that will be read."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from polyvec.core.errors import FileProblemError, InvalidTypeError, InvalidValueError
from polyvec.core.files import file_problem
from polyvec.data.readers.formats import format_of, suffix_of
from polyvec.data.readers.report import ReadReport
from polyvec.data.readers.source_file import SourceFile, printable
from polyvec.data.readers.walking import FoundFile, WalkRules, pattern_spec, walk

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

OnError = Literal["warn", "raise"]
Source = str | os.PathLike[str] | SourceFile
STANDARD_INPUT = "-"
_MAGIC = re.compile(r"[*?\[]")


@dataclass(slots=True)
class _Root:
    """One source of the user: where it lies, and its files with paths relative to it."""

    base: Path
    files: list[SourceFile] = field(default_factory=list)
    depth: int = 0
    """So many names of folders, from the end of `base`, go before the sources of its files."""

    def labels(self) -> list[str]:
        if not self.depth:
            return [file.source for file in self.files]
        prefix = "/".join(printable(part) for part in self.base.parts[-self.depth :]).lstrip("/")
        return [f"{prefix}/{file.source}" for file in self.files]


def scan(
    sources: Source | Iterable[Source],
    *,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    hidden: bool = False,
    follow_links: bool = False,
    on_error: OnError = "warn",
    report: ReadReport | None = None,
) -> list[SourceFile]:
    """The files that `read` would read, with size and time of change, without opening them.

    Args:
        sources: A path, a pattern (`notes/**/*.md`) or `-` (standard input), or several of them. Folders are searched
            recursively, in a stable order, for files of `SUPPORTED_SUFFIXES`. A file that is named itself is taken
            whatever its suffix (an unknown one is read as plain text), hidden or ignored or not.
        include: Patterns, written as in a `.gitignore`, that files in folders must match (`*.md`, `docs/`). A pattern
            that means files of another kind (`*.py`, `README`) makes them be read as plain text.
        exclude: Patterns of files and folders to leave out.
        hidden: Also take files and folders whose name begins with a dot. Those of version control never are.
        follow_links: Follow symbolic links inside folders; loops are safe, what is reached twice is taken once.
        on_error: "warn" logs and counts a subfolder that cannot be listed, "raise" raises.
        report: Counts what is passed over.

    Raises:
        FileProblemError: A source does not exist, is not readable, or a pattern matches nothing.
        InvalidValueError: No sources, an empty one, or a pattern that cannot be used.
        InvalidTypeError: A source that is neither a path nor a `SourceFile`.
    """
    report = ReadReport() if report is None else report
    check_on_error(on_error)
    selection = _Selection(include, exclude, hidden, follow_links, on_error, report)
    roots = [selection.root(source) for source in source_list(sources)]
    seen: set[str] = set()
    for root in roots:
        root.files = [file for file in root.files if _first_time(file, seen, report)]
    _separate(roots)
    files = _distinct(
        [replace(file, source=label) for root in roots for file, label in zip(root.files, root.labels(), strict=True)]
    )
    report.found += len(files)
    return files


def check_on_error(on_error: str) -> None:
    """Raise unless `on_error` is one of the two policies."""
    if on_error not in ("warn", "raise"):
        raise InvalidValueError(f"on_error must be 'warn' or 'raise', got {on_error!r}")


def source_list(sources: Source | Iterable[Source]) -> list[Source]:
    """`sources` as a checked, non-empty list."""
    if isinstance(sources, (str, os.PathLike, SourceFile)):
        found: list[Source] = [sources]
    elif isinstance(sources, Iterable) and not isinstance(sources, (bytes, bytearray)):
        found = list(sources)
    else:
        raise InvalidTypeError(f"sources must be a path or several paths, got {type(sources).__name__}")
    if not found:
        raise InvalidValueError("sources is empty; name at least one file, folder or pattern")
    for source in found:
        if not isinstance(source, (str, os.PathLike, SourceFile)):
            raise InvalidTypeError(f"a source must be a path, got {type(source).__name__}")
        if isinstance(source, (str, os.PathLike)):
            name = os.fspath(source)
            if not isinstance(name, str):
                raise InvalidTypeError(f"a source must be a text path, got {type(name).__name__}")
            if not name.strip() or "\0" in name:
                raise InvalidValueError(f"a source must be a path, got {name!r}")
    return found


class _Selection:
    """The arguments of one `scan`, applied to one source after the other."""

    def __init__(
        self,
        include: str | Sequence[str] | None,
        exclude: str | Sequence[str] | None,
        hidden: bool,
        follow_links: bool,
        on_error: OnError,
        report: ReadReport,
    ) -> None:
        self._include = pattern_spec(include, "include")
        self._patterns = [include] if isinstance(include, str) else list(include or [])
        self._rules = WalkRules(hidden, follow_links, pattern_spec(exclude, "exclude"))
        self._on_error = on_error
        self._report = report

    def root(self, source: Source) -> _Root:
        if isinstance(source, SourceFile):
            return _Root(source.path.parent, [source])
        name = os.fspath(source)
        if name == STANDARD_INPUT:
            return _Root(Path(), [SourceFile(Path(STANDARD_INPUT), "stdin", 0, 0.0, "text", explicit=True)])
        path = _home(Path(name))
        try:
            status = path.stat()
        except FileNotFoundError as error:
            if _MAGIC.search(name):
                return self._matches(str(path))
            advice = "; download it first" if re.match(r"[a-z]+://", name) else ""
            raise FileProblemError(
                f"cannot read {printable(name)}: no such file or folder; check the path{advice}"
            ) from error
        except OSError as error:
            raise file_problem(error, printable(name), "read") from error
        if stat.S_ISDIR(status.st_mode):
            return _Root(_absolute(path), self._folder(path, self._include, self._patterns, None))
        if not stat.S_ISREG(status.st_mode):
            raise FileProblemError(
                f"cannot read {printable(name)}: no regular file or folder; pipe its content in and name the source -"
            )
        if not os.access(path, os.R_OK):  # said now rather than after the files before it were read
            raise file_problem(PermissionError(errno.EACCES, "no permission"), printable(name), "read")
        kind, compressed = format_of(path.name)
        file = SourceFile(
            path, printable(path.name), status.st_size, status.st_mtime, kind or "text", compressed, explicit=True
        )
        return _Root(_absolute(path).parent, [file])

    def _folder(
        self, base: Path, include: GitIgnoreSpec | None, patterns: list[str], enter: Callable[[str], bool] | None
    ) -> list[SourceFile]:
        files = []
        for found in walk(base, replace(self._rules, enter=enter), self._report, self._problem):
            if include is not None and not include.match_file(found.relative):
                continue
            file = self._supported(found, patterns)
            if file is not None:
                files.append(file)
        return files

    def _matches(self, pattern: str) -> _Root:
        """The files that a pattern with `*`, `?`, `[...]` or `**` matches, and all those in folders that it matches."""
        parts = Path(pattern).parts
        first = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
        base = Path(*parts[:first]) if first else Path()
        rest = parts[first:]
        if not base.is_dir():
            raise FileProblemError(
                f"cannot read {printable(pattern)}: there is no folder {printable(base)}; check the path"
            )
        fixed = rest[: rest.index("**")] if "**" in rest else rest

        def enter(relative: str) -> bool:
            return all(fnmatchcase(name, part) for name, part in zip(relative.split("/"), fixed, strict=False))

        spec = pattern_spec(["/" + "/".join(rest)], "sources")
        if self._include is not None:
            wanted = self._include
            files = [
                file
                for file in self._folder(base, spec, [pattern, *self._patterns], enter)
                if wanted.match_file(os.path.relpath(file.path, base))
            ]
        else:
            files = self._folder(base, spec, [pattern], enter)
        if not files:
            raise FileProblemError(
                f"cannot read {printable(pattern)}: no readable file matches; check the pattern, and that the files "
                "are not hidden or ignored"
            )
        return _Root(_absolute(base), files)

    def _supported(self, found: FoundFile, patterns: list[str]) -> SourceFile | None:
        kind, compressed = format_of(found.path.name)
        suffix = suffix_of(found.path.name)
        if kind is None and _asked_for(found.path.name, patterns):
            kind, compressed = "text", suffix.endswith(".gz")
        if kind is None:
            self._report.unsupported[suffix] += 1
            return None
        return SourceFile(found.path, printable(found.relative), found.size, found.modified, kind, compressed)

    def _problem(self, path: Path, error: FileProblemError) -> None:
        if self._on_error == "raise":
            raise error
        self._report.skip(printable(path), str(error))


def _asked_for(name: str, patterns: list[str]) -> bool:
    """Whether a pattern means files of this name or suffix, and not just everything."""
    lasts = [pattern.rpartition("/")[2].lower() for pattern in patterns]
    return any(last.strip("*?.") and fnmatchcase(name.lower(), last) for last in lasts)


def _home(path: Path) -> Path:
    """`path` with a leading `~` replaced by the home folder, unless it exists as it is or there is none."""
    try:
        return path if path.exists() else path.expanduser()
    except (OSError, RuntimeError):
        return path


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links and change the user's names


def _first_time(file: SourceFile, seen: set[str], report: ReadReport) -> bool:
    """Whether this file was not reached before, by another source or through a link."""
    real = STANDARD_INPUT if file.path == Path(STANDARD_INPUT) else os.path.realpath(file.path)
    if real in seen:
        report.repeated += 1
        return False
    seen.add(real)
    return True


def _separate(roots: list[_Root]) -> None:
    """Give roots whose files would share a source the names of their folders, until no two share one.

    Only as many names as are needed, so that ids depend as little as possible on where the folders lie.
    """
    while True:
        owner: dict[str, int] = {}
        clashing: set[int] = set()
        for index, root in enumerate(roots):
            for label in root.labels():
                if owner.setdefault(label, index) != index:
                    clashing |= {index, owner[label]}
        grown = False
        for index in clashing:
            if roots[index].depth < len(roots[index].base.parts):
                roots[index].depth += 1
                grown = True
        if not grown:
            return


def _distinct(files: list[SourceFile]) -> list[SourceFile]:
    """Number the sources that are still the same: names that differ only in bytes that are not text."""
    taken = {file.source for file in files}
    if len(taken) == len(files):
        return files
    used: set[str] = set()
    result = []
    for file in files:
        source, number = file.source, 1
        while source in used or (number > 1 and source in taken):
            number += 1
            source = f"{file.source}~{number}"
        used.add(source)
        result.append(file if number == 1 else replace(file, source=source))
    return result
