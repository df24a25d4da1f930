"""What a check says: a value, what it means, how it was judged, and what to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warn", "bad", "not computed"]

STATUSES: tuple[Status, ...] = ("bad", "warn", "ok", "not computed")
"""From the one that matters most."""

CONVENTION = "convention of polyvec"


@dataclass(frozen=True, slots=True)
class Example:
    """Rows that show what a finding is about.

    Attributes:
        ids: Their ids (row numbers where the vectors have none).
        note: Why they are shown.
        texts: What they hold, when texts were given; else empty.
    """

    ids: tuple[int | str, ...]
    note: str
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        key: Short name for programs.
        name: What was measured.
        value: The number that was judged, or `None` when it could not be computed.
        shown: The value in words.
        status: "ok", "warn", "bad" or "not computed".
        meaning: What the value says about the vectors.
        threshold: Where "warn" and "bad" begin.
        source: Where measure and threshold come from.
        advice: What to do when it is not ok.
        details: Further numbers.
        examples: Rows that show it.
    """

    key: str
    name: str
    value: float | None
    shown: str
    status: Status
    meaning: str
    threshold: str
    source: str
    advice: str
    details: dict[str, Any] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain dictionaries, lists and numbers; infinity becomes `None`, which JSON has."""
        content = asdict(self)
        content["details"] = {name: _plain(value) for name, value in self.details.items()}
        content["examples"] = [
            {"ids": list(example.ids), "note": example.note, "texts": list(example.texts)} for example in self.examples
        ]
        return content


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True, slots=True)
class Check:
    """The fixed part of a finding: words, thresholds and their source.

    Attributes:
        key: Short name for programs.
        name: What is measured.
        meaning: What it says about the vectors.
        advice: What to do when it is not ok.
        source: Where measure and thresholds come from.
        warn: The value beyond which the status is "warn"; `None` for never.
        bad: The value beyond which it is "bad"; `None` for never.
        below: Whether low values are the bad ones.
        percent: Whether thresholds are shares, to be shown in percent.
        of: What the thresholds count, for the words of the threshold.
    """

    key: str
    name: str
    meaning: str
    advice: str
    source: str
    warn: float | None
    bad: float | None = None
    below: bool = False
    percent: bool = False
    of: str = ""

    @property
    def threshold(self) -> str:
        """The thresholds in words."""
        side = "below" if self.below else "above"
        parts = [
            f"{status} {side} {self._number(limit)}"
            for status, limit in (("warn", self.warn), ("bad", self.bad))
            if limit is not None and not (status == "warn" and limit == self.bad)
        ]
        return ", ".join(parts) + (f" ({self.of})" if self.of else "")

    def _number(self, limit: float) -> str:
        return f"{100 * limit:g}%" if self.percent else f"{limit:g}"

    def judge(self, value: int | float) -> Status:
        """The status of a value."""
        for status, limit in (("bad", self.bad), ("warn", self.warn)):
            if limit is not None and (value < limit if self.below else value > limit):
                return "bad" if status == "bad" else "warn"
        return "ok"

    def found(
        self, value: int | float, shown: str, *, examples: tuple[Example, ...] = (), meaning: str = "", **details: Any
    ) -> Finding:
        """The finding for a value; `meaning` is added to the fixed words."""
        return Finding(
            key=self.key,
            name=self.name,
            value=float(value),
            shown=shown,
            status=self.judge(float(value)),
            meaning=f"{self.meaning} {meaning}".strip(),
            threshold=self.threshold,
            source=self.source,
            advice=self.advice,
            details=details,
            examples=examples,
        )

    def missing(self, reason: str) -> Finding:
        """The finding where nothing could be computed, and why."""
        return Finding(
            key=self.key,
            name=self.name,
            value=None,
            shown=reason,
            status="not computed",
            meaning=self.meaning,
            threshold=self.threshold,
            source=self.source,
            advice=self.advice,
        )


def percent(share: int | float) -> str:
    """A share in percent, with as many digits as small shares need."""
    if share == 0:
        return "0%"
    return f"{100 * share:.1f}%" if share >= 0.0995 else f"{100 * share:.2g}%"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
