"""What a reading found, kept and left out: counted here, printed by whoever asked for the reading."""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from polyvec.data.readers.limits import MAX_REPORT_ITEMS
from polyvec.data.readers.source_file import one_line

logger = logging.getLogger("polyvec.data.readers")

_PLURAL = re.compile(r"\b(cell|character|column|id|line|page|record|row|value)s\b")

EXAMPLES_KEPT = 5
EXAMPLE_CHARACTERS = 80
SHOWN_CHARACTERS = 200


@dataclass(slots=True)
class SkippedFile:
    """A file that gave no documents, or not all of them, and why."""

    source: str
    reason: str


@dataclass(slots=True)
class LeftOut:
    """Pieces of one kind that were left out of one file: how many, and the first few."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, count: int, examples: list[str]) -> None:
        """Count `count` more pieces and keep the first few of `examples`."""
        self.count += count
        for example in examples[: max(0, EXAMPLES_KEPT - len(self.examples))]:
            self.examples.append(one_line(example, EXAMPLE_CHARACTERS))


@dataclass(slots=True)
class ReadReport:
    """Counts of one reading; give one to `read(..., report=...)` and look at it while and after reading.

    Attributes:
        found: Files that were chosen for reading.
        files: Files that gave at least one document.
        documents: Documents so far.
        bytes: Bytes read so far, of the files as they lie on the disk; comparable with the sizes that `scan` gives.
        skipped: Files that gave nothing, with the reason (the first `MAX_REPORT_ITEMS`; `skipped_count` counts all).
        incomplete: Files that broke after some documents, with the reason. Whoever mirrors a source should not take
            what is missing from these, or from the skipped ones, as deleted.
        left_out: For each source, pieces that were left out by kind (stray lines, malformed rows, ...).
        encodings: For each source that is neither UTF-8 nor marked, the encoding that was guessed.
        notes: What was decided about a file and might surprise (split into titled documents, no header row, ...).
        unsupported: Files in folders that no reader takes, counted by suffix.
        ignored: Files and folders left out by ignore files or `exclude`.
        hidden: Hidden files and folders left out.
        links: Symbolic links left out.
        special: Pipes, devices and sockets left out.
        repeated: Files that were reached a second time.
    """

    found: int = 0
    files: int = 0
    documents: int = 0
    bytes: int = 0
    skipped: list[SkippedFile] = field(default_factory=list)
    skipped_count: int = 0
    incomplete: list[SkippedFile] = field(default_factory=list)
    left_out: dict[str, dict[str, LeftOut]] = field(default_factory=dict)
    left_out_counts: Counter[str] = field(default_factory=Counter)
    encodings: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unsupported: Counter[str] = field(default_factory=Counter)
    ignored: int = 0
    hidden: int = 0
    links: int = 0
    special: int = 0
    repeated: int = 0

    def skip(self, source: str, reason: str) -> None:
        """Count a file that gives nothing, and log it."""
        self.skipped_count += 1
        if len(self.skipped) < MAX_REPORT_ITEMS:
            self.skipped.append(SkippedFile(source, reason))
        logger.warning("skipped %s", reason)

    def broke(self, source: str, reason: str) -> None:
        """Count a file that broke after it gave some documents, and log it."""
        self.incomplete.append(SkippedFile(source, reason))
        logger.warning("read only in part: %s", reason)

    def leave_out(self, source: str, kind: str, count: int = 1, examples: list[str] | None = None) -> None:
        """Count pieces of `source` that are left out; `kind` is a plural such as "stray lines"."""
        if count <= 0:
            return
        self.left_out_counts[kind] += count
        if source not in self.left_out and len(self.left_out) >= MAX_REPORT_ITEMS:
            return
        self.left_out.setdefault(source, {}).setdefault(kind, LeftOut()).add(count, examples or [])

    def note(self, text: str) -> None:
        """Remember a decision about a file that a reader of the report may want to know."""
        if len(self.notes) < MAX_REPORT_ITEMS:
            self.notes.append(text)
        logger.info("%s", text)

    def guessed(self, source: str, encoding: str) -> None:
        """Remember the encoding that was guessed for a file."""
        if len(self.encodings) < MAX_REPORT_ITEMS:
            self.encodings[source] = encoding
        logger.info("%s: read as %s (a guess; give encoding=... if letters come out wrong)", source, encoding)

    def lines(self, limit: int = 20) -> list[str]:
        """The report as lines for a terminal: a summary, then at most `limit` lines of each kind of detail."""
        summary = f"{_count(self.documents, 'document')} from {_count(self.files, 'file')}"
        if self.skipped_count:
            summary += f", {_count(self.skipped_count, 'file')} skipped"
        if self.incomplete:
            summary += f", {_count(len(self.incomplete), 'file')} read only in part"
        result = [summary]
        result += _limited(self.notes, limit, len(self.notes))
        details = [
            f"{source}: left out {', '.join(_describe(kind, left) for kind, left in kinds.items())}"
            for source, kinds in self.left_out.items()
        ]
        result += _limited(details, limit, len(details))
        guesses = [f"{source}: read as {name} (a guess)" for source, name in self.encodings.items()]
        result += _limited(guesses, limit, len(guesses))
        broken = [f"read only in part: {item.reason}" for item in self.incomplete]
        result += _limited(broken, limit, len(broken))
        result += _limited([f"skipped {item.reason}" for item in self.skipped], limit, self.skipped_count)
        passed = self._passed_over()
        if passed:
            result.append(f"passed over: {', '.join(passed)}")
        return result

    def _passed_over(self) -> list[str]:
        passed = []
        if self.unsupported:
            common = ", ".join(
                f"{count} {suffix or 'without suffix'}" for suffix, count in self.unsupported.most_common(5)
            )
            passed.append(f"{_count(self.unsupported.total(), 'file')} of other kinds ({common})")
        for count, name in (
            (self.ignored, "ignored by pattern"),
            (self.hidden, "hidden"),
            (self.links, "symbolic links"),
            (self.special, "pipes or devices"),
            (self.repeated, "reached twice"),
        ):
            if count:
                passed.append(f"{count:,} {name}")
        return passed

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            "found": self.found,
            "files": self.files,
            "documents": self.documents,
            "bytes": self.bytes,
            "skipped_count": self.skipped_count,
            "skipped": [{"source": item.source, "reason": item.reason} for item in self.skipped],
            "incomplete": [{"source": item.source, "reason": item.reason} for item in self.incomplete],
            "left_out": {
                source: {kind: {"count": left.count, "examples": list(left.examples)} for kind, left in kinds.items()}
                for source, kinds in self.left_out.items()
            },
            "left_out_counts": dict(self.left_out_counts),
            "encodings": dict(self.encodings),
            "notes": list(self.notes),
            "passed_over": {
                "unsupported": dict(self.unsupported),
                "ignored": self.ignored,
                "hidden": self.hidden,
                "links": self.links,
                "special": self.special,
                "repeated": self.repeated,
            },
        }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _describe(kind: str, left: LeftOut) -> str:
    if left.count == 1:
        kind = _PLURAL.sub(r"\1", kind, count=1)
    text = f"{left.count:,} {kind}"
    if left.examples:
        shown = [f'"{example}"' for example in left.examples]
        while len(shown) > 1 and sum(map(len, shown)) > SHOWN_CHARACTERS:
            shown.pop()
        text += f" ({', '.join(shown)}{', …' if left.count > len(shown) else ''})"
    return text


def _limited(lines: list[str], limit: int, total: int) -> list[str]:
    shown = lines[:limit]
    return [*shown, f"… and {total - len(shown):,} more"] if total > len(shown) else shown
