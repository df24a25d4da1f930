"""What a reproduction measured and what follows from it.

A `Report` holds rows (method, metric, value, seed) and claims. A claim carries its criterion from before the run; its
verdict is computed from the rows, never set by hand.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, Self

from polyvec.core.errors import FormatError, InvalidValueError
from polyvec.core.files import file_problem, write_json
from polyvec.reproduce.criteria import Criterion

FORMAT = 1
HOLDS, FAILS, NOT_JUDGED = "holds", "does not hold", "not judged"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number."""

    method: str
    metric: str
    value: float
    seed: int


@dataclass(frozen=True)
class Claim:
    """A sentence that the run puts to the test.

    Args:
        id: Short name, unique in the system.
        statement: What is claimed, in plain words.
        criterion: What must hold; `None` for a claim that no small run can judge.
        scales: The scales at which the criterion makes sense.
        reason: Why it is not judged, where `criterion` is `None`.
    """

    id: str
    statement: str
    criterion: Criterion | None = None
    scales: tuple[str, ...] = ("small", "full")
    reason: str = ""

    def __post_init__(self) -> None:
        if self.criterion is None and not self.reason:
            raise InvalidValueError(f"claim {self.id!r}: has no criterion, so it needs a reason")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim after the run."""

    id: str
    statement: str
    criterion: str
    verdict: str
    measured: str


def judge(claim: Claim, report: Report) -> Verdict:
    """The verdict of `claim` on the report's rows."""
    if claim.criterion is None:
        return Verdict(claim.id, claim.statement, "", NOT_JUDGED, claim.reason)
    if report.scale not in claim.scales:
        reason = f"judged at scale {' and '.join(claim.scales)} only"
        return Verdict(claim.id, claim.statement, claim.criterion.text(), NOT_JUDGED, reason)
    outcome = claim.criterion.judge(report)
    return Verdict(claim.id, claim.statement, claim.criterion.text(), HOLDS if outcome.holds else FAILS, outcome.text)


@dataclass
class Report:
    """Rows, verdicts and the circumstances of one run of a reproduction."""

    slug: str
    scale: str
    seeds: list[int]
    rows: list[Row] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    date: str = ""
    wall_seconds: float = 0.0

    def record(self, method: str, metric: str, value: float, seed: int) -> None:
        """Add a row.

        Raises:
            InvalidValueError: The value is NaN or infinite, or the same (method, metric, seed) is there already.
        """
        number = float(value)
        if not math.isfinite(number):
            raise InvalidValueError(f"{metric} of {method} (seed {seed}): got {number}, needs a finite number")
        if seed in self.values(method, metric):
            raise InvalidValueError(f"{metric} of {method} (seed {seed}) was recorded already")
        self.rows.append(Row(method, metric, number, seed))

    def values(self, method: str, metric: str) -> Mapping[int, float]:
        """Value of the metric for each seed."""
        return {row.seed: row.value for row in self.rows if row.method == method and row.metric == metric}

    def mean(self, method: str, metric: str) -> float:
        """Mean over the seeds."""
        return fmean(self.values(method, metric).values())

    @property
    def methods(self) -> list[str]:
        """Methods in the order of their first row."""
        return list(dict.fromkeys(row.method for row in self.rows))

    @property
    def metrics(self) -> list[str]:
        """Metrics in the order of their first row."""
        return list(dict.fromkeys(row.metric for row in self.rows))

    @property
    def verdict(self) -> str:
        """One phrase for the table of systems: how many of the judged claims hold."""
        judged = [verdict for verdict in self.verdicts if verdict.verdict != NOT_JUDGED]
        held = sum(verdict.verdict == HOLDS for verdict in judged)
        if not judged:
            return NOT_JUDGED
        return f"{held} of {len(judged)} claims hold"

    @property
    def all_hold(self) -> bool:
        """Whether no judged claim failed."""
        return all(verdict.verdict != FAILS for verdict in self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        content = asdict(self)
        content["rows"] = [[row.method, row.metric, row.value, row.seed] for row in self.rows]
        return {"format": FORMAT, **content, "verdict": self.verdict}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON, atomically."""
        write_json(path, self.to_dict())

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The report that `to_dict` made."""
        values = {key: value for key, value in content.items() if key not in ("format", "verdict")}
        values["rows"] = [Row(*row) for row in values["rows"]]
        values["verdicts"] = [Verdict(**verdict) for verdict in values["verdicts"]]
        return cls(**values)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a report that `save` wrote.

        Raises:
            FileProblemError: The file cannot be read.
            FormatError: It is not a report.
        """
        try:
            with open(path, encoding="utf-8") as handle:
                content = json.load(handle)
        except OSError as error:
            raise file_problem(error, path, "read") from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise FormatError(
                f"{os.fspath(path)}: not JSON ({error}); needs a report of `polyvec reproduce`"
            ) from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise FormatError(f"{os.fspath(path)}: not a report of `polyvec reproduce` (format {FORMAT})")
        try:
            return cls.from_dict(content)
        except (KeyError, TypeError) as error:
            raise FormatError(f"{os.fspath(path)}: a report with missing or unknown fields ({error})") from error


@dataclass(frozen=True, slots=True)
class Change:
    """A figure or verdict in an old and a new report."""

    method: str
    metric: str
    old: float | str | None
    new: float | str | None


def compare(old: Report, new: Report) -> list[Change]:
    """Means by (method, metric) and verdicts by claim, of both reports; `None` where one lacks it."""
    if old.slug != new.slug:
        raise InvalidValueError(f"compare: got reports of {old.slug!r} and {new.slug!r}, needs the same system")
    changes = []
    for method, metric in dict.fromkeys((row.method, row.metric) for row in [*old.rows, *new.rows]):
        before, after = old.values(method, metric), new.values(method, metric)
        changes.append(
            Change(method, metric, fmean(before.values()) if before else None, fmean(after.values()) if after else None)
        )
    verdicts_old = {verdict.id: verdict.verdict for verdict in old.verdicts}
    verdicts_new = {verdict.id: verdict.verdict for verdict in new.verdicts}
    return changes + [
        Change(f"claim {claim}", "verdict", verdicts_old.get(claim), verdicts_new.get(claim))
        for claim in dict.fromkeys([*verdicts_old, *verdicts_new])
    ]
