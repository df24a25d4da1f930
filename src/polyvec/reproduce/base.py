"""The frame that every `reproduce/<slug>.py` fills: a `Reproduction` named REPRODUCTION."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyvec.core.files import cache_directory
from polyvec.reproduce.report import Claim, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALES = ("smoke", "small", "full")


@dataclass
class Run:
    """What one seed's run gets: where to record, what to show.

    `record` adds a row for this seed; `uses` notes a data set and its version for the result; `note` adds a sentence
    that belongs beside the figures.
    """

    report: Report
    seed: int
    scale: str
    show_progress: bool | None = None

    def record(self, method: str, metric: str, value: float) -> None:
        """Add the number measured for `method` under this run's seed."""
        self.report.record(method, metric, value, self.seed)

    def uses(self, name: str, version: str) -> None:
        """Remember which version of a data set the figures rest on."""
        self.report.data[name] = version

    def note(self, text: str) -> None:
        """Add a remark to the result, once."""
        if text not in self.report.notes:
            self.report.notes.append(text)

    @property
    def scratch(self) -> Path:
        """A folder in the cache for intermediate files of this system."""
        folder = cache_directory("reproduce", self.report.slug)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True)
class Reproduction:
    """One system's re-runnable claim.

    Args:
        slug: The system's slug.
        claims: Claims with their criteria; fixed here, before any number is seen.
        settings: For each scale (smoke, small, full) the run's settings, plain values.
        run: `run(run, settings)` measures one seed and records rows through `run.record`.
        plot: `plot(report, figure)` draws the finished report on a matplotlib figure.
        seeds: For each scale the seeds that are reported. Pilots use 100 and up, reports 0, 1, 2.
        deviations: Where the run differs from the source, one sentence each.
    """

    slug: str
    claims: tuple[Claim, ...]
    settings: Mapping[str, Mapping[str, Any]]
    run: Callable[[Run, Mapping[str, Any]], None]
    plot: Callable[[Report, Figure], None]
    seeds: Mapping[str, tuple[int, ...]]
    deviations: tuple[str, ...] = ()


DEFAULT_SEEDS: Mapping[str, tuple[int, ...]] = {"smoke": (100,), "small": (0, 1, 2), "full": (0, 1, 2)}
