"""`HealthReport`: the findings, as an object, JSON, text, picture and page."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from polyvec.assess.health.finding import STATUSES, Finding, Status, count
from polyvec.core.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What `health_report` found.

    Attributes:
        name: What the vectors are called.
        rows: Number of rows.
        dim: Number of dimensions.
        examined: Rows without NaN and infinity; all other checks are about these.
        sample: Rows that were compared with each other.
        seed: Seed of the samples.
        findings: One for each check. `report["hubness"]` is the one with that key.
        statements: What was left out, and what was sampled.
        series: The numbers behind the charts.
    """

    name: str
    rows: int
    dim: int
    examined: int
    sample: int
    seed: int | None
    findings: tuple[Finding, ...]
    statements: tuple[str, ...] = ()
    series: dict[str, dict[str, list[Any]]] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """The worst status of all findings."""
        return next(status for status in STATUSES if any(finding.status == status for finding in self.findings))

    def of_status(self, status: Status) -> tuple[Finding, ...]:
        """The findings with this status."""
        return tuple(finding for finding in self.findings if finding.status == status)

    def __getitem__(self, key: str) -> Finding:
        for finding in self.findings:
            if finding.key == key:
                return finding
        known = ", ".join(finding.key for finding in self.findings)
        raise NotFoundError(f"no finding is called {key!r}; there are {known}")

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        counted = [(status, len(self.of_status(status))) for status in STATUSES]
        parts = [f"{number} {status}" for status, number in counted if number]
        size = f"{count(self.rows, 'vector')} of {count(self.dim, 'dimension')}"
        return f"{size}: {', '.join(parts)}"

    def to_dict(self) -> dict[str, Any]:
        """As plain dictionaries, lists and numbers, ready for JSON (no NaN, no infinity)."""
        return {
            "name": self.name,
            "rows": self.rows,
            "dim": self.dim,
            "examined": self.examined,
            "sample": self.sample,
            "seed": self.seed,
            "status": self.status,
            "findings": [finding.to_dict() for finding in self.findings],
            "statements": list(self.statements),
            "series": self.series,
        }

    def to_json(self) -> str:
        """`to_dict` as indented JSON."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        from polyvec.assess.health.text import report_text

        return report_text(self)

    def to_html(self) -> str:
        """A page that needs nothing from outside itself."""
        from polyvec.assess.health.page import report_html

        return report_html(self)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write `to_html` to `path`, atomically."""
        from polyvec.core.files import write_text

        write_text(path, self.to_html())

    def save_png(self, path: str | os.PathLike[str]) -> None:
        """Write a one-page picture to `path`, atomically."""
        from polyvec.assess.health.picture import save_png

        save_png(self, path)
