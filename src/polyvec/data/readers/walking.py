"""Walking through a folder: ignore files, hidden files, links, in a stable order."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polyvec.core.errors import FileProblemError, InvalidTypeError, InvalidValueError
from polyvec.core.files import file_problem
from polyvec.data.readers.report import ReadReport
from polyvec.data.readers.source_file import printable

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILES = (".gitignore", ".polyvecignore")
"""Read in this order in each folder, so that a later one overrides an earlier one."""

VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".bzr", ".jj"})
"""Never entered, not even with `hidden=True`: they hold packed copies, not the user's documents."""

MAX_IGNORE_FILE_BYTES = 1 << 20

BAD_PATTERN = (ValueError, OverflowError, RecursionError, re.error)
"""What the pattern library raises for a line that is no pattern."""

Problem = Callable[[Path, FileProblemError], None]
"""Told of each file or folder that cannot be read, and why."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file below the folder that was walked; `relative` is its path there, with `/` between names."""

    path: Path
    relative: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class WalkRules:
    """What a walk leaves out."""

    hidden: bool
    follow_links: bool
    exclude: GitIgnoreSpec | None
    enter: Callable[[str], bool] | None = None
    """Whether a subfolder (relative path) is worth entering; `None` enters all."""


def pattern_spec(patterns: str | Sequence[str] | None, argument: str) -> GitIgnoreSpec | None:
    """Patterns, written as in a `.gitignore`, ready for matching; `None` for none."""
    if patterns is None:
        return None
    if not isinstance(patterns, (str, Iterable)):
        raise InvalidTypeError(f"{argument} must be a pattern or a list of patterns, got {type(patterns).__name__}")
    lines = [patterns] if isinstance(patterns, str) else list(patterns)
    for line in lines:
        if not isinstance(line, str):
            raise InvalidTypeError(f"{argument} must be a pattern or a list of patterns, got {type(line).__name__}")
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except BAD_PATTERN as error:
        raise InvalidValueError(f"{argument} has a pattern that cannot be used: {error}") from error


def walk(base: Path, rules: WalkRules, report: ReadReport, problem: Problem) -> list[FoundFile]:
    """All regular files below `base`, sorted by relative path, folder by folder.

    Ignore files (`.gitignore`, `.polyvecignore`) count in `base` and below, not above it: who names a folder that
    the project around it ignores wants it read. With links followed, a folder that is reached twice (also through
    a loop) is entered once.

    Raises:
        FileProblemError: `base` itself cannot be listed. A subfolder that cannot goes to `problem`.
    """
    found: list[FoundFile] = []
    entered: set[tuple[int, int]] = set()
    pending: list[tuple[Path, str, tuple[tuple[str, GitIgnoreSpec], ...]]] = [(base, "", ())]
    while pending:
        folder, relative, specs = pending.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered:
                report.repeated += 1
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            failure = file_problem(error, printable(folder), "list")
            if folder is base:
                raise failure from error
            problem(folder, failure)
            continue
        spec = _ignore_spec(folder, {entry.name for entry in entries}, problem)
        if spec is not None:
            specs = (*specs, (relative, spec))
        for entry in entries:
            path = Path(entry.path)
            name = f"{relative}{entry.name}"
            try:
                kind = _kind(entry, rules.follow_links)
                if not _wanted(entry.name, name, kind, rules, specs, report):
                    continue
                if kind == "folder":
                    pending.append((path, f"{name}/", specs))
                    continue
                status = entry.stat(follow_symlinks=rules.follow_links)
            except OSError as error:
                problem(path, file_problem(error, printable(path), "read"))
                continue
            found.append(FoundFile(path, name, status.st_size, status.st_mtime))
    found.sort(key=lambda item: os.fsencode(item.relative).split(b"/"))
    return found


def _kind(entry: os.DirEntry[str], follow_links: bool) -> str:
    if entry.is_symlink() and not follow_links:
        return "link"
    mode = entry.stat(follow_symlinks=follow_links).st_mode
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "special"


def _wanted(
    name: str,
    relative: str,
    kind: str,
    rules: WalkRules,
    specs: tuple[tuple[str, GitIgnoreSpec], ...],
    report: ReadReport,
) -> bool:
    if name in VERSION_CONTROL or (name.startswith(".") and not rules.hidden):
        report.hidden += 1
        return False
    if name in IGNORE_FILES:
        return False
    matched = f"{relative}/" if kind == "folder" else relative
    if _ignored(matched, specs) or (rules.exclude is not None and rules.exclude.match_file(matched)):
        report.ignored += 1
        return False
    if kind == "link":
        report.links += 1
        return False
    if kind == "special":
        report.special += 1
        return False
    return kind == "file" or rules.enter is None or rules.enter(relative)


def _ignored(relative: str, specs: tuple[tuple[str, GitIgnoreSpec], ...]) -> bool:
    """Whether ignore files leave `relative` out: the innermost file that says something about it decides."""
    for base, spec in reversed(specs):
        verdict = spec.check_file(relative[len(base) :]).include
        if verdict is not None:
            return verdict
    return False


def _ignore_spec(folder: Path, names: set[str], problem: Problem) -> GitIgnoreSpec | None:
    lines: list[str] = []
    for name in IGNORE_FILES:
        if name not in names:
            continue
        path = folder / name
        try:
            if not path.is_file():
                continue
            with open(path, encoding="utf-8", errors="surrogateescape") as handle:
                lines += handle.read(MAX_IGNORE_FILE_BYTES).splitlines()
        except OSError as error:
            problem(path, file_problem(error, printable(path), "read"))
    if not lines:
        return None
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except BAD_PATTERN:
        return GitIgnoreSpec.from_lines([line for line in lines if _valid(line)])


def _valid(line: str) -> bool:
    """Whether an ignore file's line is a pattern; git, too, passes over a line that is not."""
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except BAD_PATTERN:
        return False
    return True
