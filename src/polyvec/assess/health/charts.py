"""The charts of a report, on axes of any figure and in any colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Series = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours by their role."""

    ink: str
    muted: str
    grid: str
    first: str
    second: str


LIGHT = Palette(ink="#1b1f24", muted="#57606a", grid="#d8dee4", first="#0b62c4", second="#b35900")


@dataclass(frozen=True, slots=True)
class Chart:
    """A kind of chart.

    Attributes:
        key: Name of its series in `HealthReport.series`.
        title: What it shows.
        about: How to read it, in a sentence.
        draw: `draw(axes, series, palette)`.
    """

    key: str
    title: str
    about: str
    draw: Callable[[Any, Series, Palette], None]


def style(axes: Any, palette: Palette, x: str, y: str) -> None:
    """Labels and colours that all charts share."""
    axes.set_xlabel(x, color=palette.muted, fontsize=8)
    axes.set_ylabel(y, color=palette.muted, fontsize=8)
    axes.tick_params(colors=palette.muted, labelsize=7.5, which="both", length=3)
    axes.patch.set_alpha(0)
    axes.grid(True, axis="y", color=palette.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(palette.grid)


def _plain_numbers(axis: Any) -> None:
    """Thousands with commas instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(NullFormatter())


def _rank_curve(axes: Any, series: Series, palette: Palette) -> None:
    from matplotlib.ticker import LogLocator

    axes.plot(series["rows"], series["rank"], marker="o", markersize=4, color=palette.first, linewidth=1.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.set_ylim(bottom=0)
    _plain_numbers(axes.xaxis)
    style(axes, palette, "rows (random subsets)", "effective rank")


def _spectrum(axes: Any, series: Series, palette: Palette) -> None:
    values = np.array(series["singular_value"])
    axes.plot(np.arange(1, len(values) + 1), np.maximum(values, 1e-12), color=palette.first, linewidth=1.6)
    axes.set_yscale("log")
    axes.set_xlim(0, len(values) + 1)
    low = max(1e-9, float(values[values > 0].min()) / 2)
    axes.set_ylim(low, 2 * float(values[0]))
    style(axes, palette, "singular value, largest first", "share of their sum")


def _bars(axes: Any, edges: list[Any], heights: list[Any], color: str, **options: Any) -> None:
    axes.stairs(heights, edges, fill=True, color=color, **options)


def _norms(axes: Any, series: Series, palette: Palette) -> None:
    _bars(axes, series["edges"], series["rows"], palette.first)
    axes.yaxis.set_major_locator(_whole_ticks())
    _plain_numbers(axes.yaxis)
    style(axes, palette, "Euclidean norm", "rows")


def _deviations(axes: Any, series: Series, palette: Palette) -> None:
    values = series["standard_deviation"]
    axes.plot(np.arange(1, len(values) + 1), values, color=palette.first, linewidth=1.6)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, len(values) + 1)
    style(axes, palette, "dimension, most variable first", "standard deviation")


def _occurrences(axes: Any, series: Series, palette: Palette) -> None:
    times, rows = np.array(series["times"]), np.array(series["rows"])
    axes.vlines(times, 0.5, rows, color=palette.first, linewidth=1.6 if len(times) < 80 else 0.9)
    axes.set_yscale("log")
    axes.set_ylim(0.5, 2 * float(rows.max()))
    _plain_numbers(axes.yaxis)
    style(axes, palette, "times among the nearest of others", "rows")


def _cosines(axes: Any, series: Series, palette: Palette) -> None:
    for key, label, color in (
        ("random_pairs", "random pairs", palette.second),
        ("nearest", "nearest neighbours", palette.first),
    ):
        _bars(axes, series["edges"], series[key], color, alpha=0.65, label=label)
    axes.set_ylim(0, 1.3 * max(*series["random_pairs"], *series["nearest"]))  # room for the legend
    axes.legend(fontsize=7.5, frameon=False, labelcolor=palette.ink, loc="upper center", ncols=2)
    style(axes, palette, "cosine", "share of pairs")


def _whole_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, integer=True)


CHARTS = (
    Chart(
        "rank_curve",
        "Effective rank against the number of rows",
        "Flat at the right: there are rows enough to know the rank.",
        _rank_curve,
    ),
    Chart(
        "spectrum",
        "Spectrum",
        "A cliff: the dimensions after it are unused. One tall start: a dominant direction or mean.",
        _spectrum,
    ),
    Chart(
        "cosines",
        "Cosines",
        "The further apart the two, the clearer search can tell related from unrelated.",
        _cosines,
    ),
    Chart(
        "occurrences",
        "Occurrence among the nearest neighbours",
        "A long tail to the right: hubs. A tall bar at 0: orphans.",
        _occurrences,
    ),
    Chart("norms", "Norms", "Values beyond 0.1% and 99.9% stand in the outermost bars.", _norms),
    Chart(
        "deviations",
        "Standard deviation of the dimensions",
        "Zero at the right: dead dimensions. A peak at the left: a dominant one.",
        _deviations,
    ),
)
