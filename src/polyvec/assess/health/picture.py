"""The report as a one-page picture."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, Any

from polyvec.assess.health.charts import CHARTS, LIGHT
from polyvec.assess.health.finding import Status
from polyvec.core.files import atomic_path

if TYPE_CHECKING:
    from polyvec.assess.health.report import HealthReport

STATUS_COLORS: dict[Status, str] = {"ok": "#1a7f37", "warn": "#8a5a00", "bad": "#c02026", "not computed": "#57606a"}
_INCHES = (8.27, 11.69)  # A4, portrait
_DPI = 110
_LEFT, _RIGHT = 0.06, 0.96


def save_png(report: HealthReport, path: str | os.PathLike[str]) -> None:
    """Draw the report and write it to `path`, atomically."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    bottom_of_text = _words(report, figure)
    _charts(report, figure, top=bottom_of_text)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _words(report: HealthReport, figure: Any) -> float:
    """Title, statements and the list of findings; the height on the page where they end."""
    y = 0.965
    title = f"Vector health: {report.name}" if report.name else "Vector health"
    _text(figure, _LEFT, y, _cut(title, 70), size=15, weight="bold")
    y -= 0.024
    _text(figure, _LEFT, y, report.headline, size=10, color=STATUS_COLORS[report.status], weight="bold")
    for statement in report.statements:
        y -= 0.015
        _text(figure, _LEFT, y, _cut(statement, 150), size=7, color=LIGHT.muted)
    y -= 0.028
    columns = (_LEFT, 0.15, 0.395, 0.675)
    for x, heading in zip(columns, ("status", "check", "value", "threshold"), strict=True):
        _text(figure, x, y, heading, size=7.5, color=LIGHT.muted)
    for finding in report.findings:
        y -= 0.0172
        _text(figure, columns[0], y, finding.status, size=8, color=STATUS_COLORS[finding.status], weight="bold")
        _text(figure, columns[1], y, finding.name, size=8)
        _text(figure, columns[2], y, _cut(finding.shown, 48), size=7.2)
        _text(figure, columns[3], y, _cut(finding.threshold, 60), size=6.3, color=LIGHT.muted)
    return y


def _charts(report: HealthReport, figure: Any, *, top: float) -> None:
    shown = [chart for chart in CHARTS if chart.key in report.series]
    if not shown:
        return
    lines = (len(CHARTS) + 1) // 2
    grid = figure.add_gridspec(
        lines, 2, left=_LEFT + 0.05, right=_RIGHT, top=top - 0.055, bottom=0.05, hspace=0.78, wspace=0.28
    )
    for place, chart in enumerate(shown):
        axes = figure.add_subplot(grid[place // 2, place % 2])
        chart.draw(axes, report.series[chart.key], LIGHT)
        about = "\n".join(textwrap.wrap(chart.about, 68))
        axes.text(
            0, 1.03, about, transform=axes.transAxes, fontsize=6.3, color=LIGHT.muted, va="bottom", linespacing=1.15
        )
        pad = 4 + 8 * (1 + about.count("\n"))  # points, above the lines that say how to read it
        axes.set_title(chart.title, fontsize=9, loc="left", color=LIGHT.ink, weight="bold", pad=pad)


def _text(
    figure: Any, x: float, y: float, text: str, *, size: int | float, color: str = LIGHT.ink, weight: str = "normal"
) -> None:
    figure.text(x, y, _drawable(text), fontsize=size, color=color, weight=weight, va="baseline", parse_math=False)


def _drawable(text: str) -> str:
    """The text with `?` for characters that the built-in font lacks."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(letter if ord(letter) in known else "?" for letter in text)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
