"""The report as a page: one file, nothing from outside, light and dark."""

from __future__ import annotations

import io
import re
import threading
from html import escape
from typing import TYPE_CHECKING

from polyvec.assess.health.charts import CHARTS, Chart, Palette
from polyvec.assess.health.finding import Example, Finding

if TYPE_CHECKING:
    from polyvec.assess.health.report import HealthReport

# Stand-ins that are replaced by the page's variables, so that one drawing serves the light and the dark scheme.
_STAND_INS = Palette(ink="#010203", muted="#010204", grid="#010205", first="#010206", second="#010207")
_VARIABLES = {
    _STAND_INS.ink: "var(--ink)",
    _STAND_INS.muted: "var(--muted)",
    _STAND_INS.grid: "var(--line)",
    _STAND_INS.first: "var(--first)",
    _STAND_INS.second: "var(--second)",
}
_DRAWING = threading.Lock()  # matplotlib reads the two settings below from global state

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --card: #f6f8fa; --ink: #1b1f24; --muted: #57606a; --line: #d8dee4;
  --first: #0b62c4; --second: #b35900; --ok: #1a7f37; --warn: #8a5a00; --bad: #c02026; }
@media (prefers-color-scheme: dark) { :root { --paper: #0f1318; --card: #171d24; --ink: #e8ecf0; --muted: #a3adb8;
  --line: #323b45; --first: #6cb0ff; --second: #f0a35c; --ok: #5fd07c; --warn: #e9b949; --bad: #ff8d85; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 3rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .75rem; }
p { margin: .35rem 0; }
.status { font-weight: 700; }
.ok { color: var(--ok); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.not-computed { color: var(--muted); }
.muted, .label { color: var(--muted); }
details { border-bottom: 1px solid var(--line); }
details:first-of-type { border-top: 1px solid var(--line); }
summary { display: grid; grid-template-columns: 7rem 17rem 1fr; gap: .75rem; padding: .5rem .25rem; cursor: pointer; }
summary:hover { background: var(--card); }
summary:focus-visible { outline: 2px solid var(--first); outline-offset: -2px; }
summary span { overflow-wrap: anywhere; }
.more { background: var(--card); padding: .6rem 1rem .8rem; font-size: .95rem; }
.more ul { margin: .25rem 0; padding-left: 1.2rem; }
.more li { overflow-wrap: anywhere; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, monospace; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; padding: .75rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
figcaption { font-size: .9rem; } figcaption strong { display: block; font-size: 1rem; }
svg { display: block; width: 100%; height: auto; margin-top: .25rem; }
footer { margin-top: 1.5rem; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif !important; }
summary .status::before { content: "▸ "; color: var(--muted); }
details[open] > summary .status::before { content: "▾ "; }
@media (max-width: 40rem) { summary { grid-template-columns: 1fr; gap: 0; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def report_html(report: HealthReport) -> str:
    """The page as text."""
    from polyvec import __version__

    title = f"Vector health: {report.name}" if report.name else "Vector health"
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        "</head>",
        "<body>",
        "<header>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="status {_class(report.status)}">{escape(report.headline)}</p>',
        *(f'<p class="muted">{escape(statement)}</p>' for statement in report.statements),
        "</header>",
        "<main>",
        "<h2>Findings</h2>",
        *(_finding(finding) for finding in report.findings),
        *_charts(report),
        "</main>",
        f'<footer><p class="muted">polyvec {escape(__version__)}, seed {report.seed}. Sound vectors are necessary for '
        "good search, not sufficient: judge ranking with queries that have known answers.</p></footer>",
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _class(status: str) -> str:
    return status.replace(" ", "-")


def _finding(finding: Finding) -> str:
    opened = " open" if finding.status in ("bad", "warn") else ""
    lines = [
        f"<details{opened}>",
        f'<summary><span class="status {_class(finding.status)}">{escape(finding.status)}</span>'
        f"<span>{escape(finding.name)}</span><span>{escape(finding.shown)}</span></summary>",
        '<div class="more">',
        f"<p>{escape(finding.meaning)}</p>",
        f'<p><span class="label">Threshold:</span> {escape(finding.threshold)}. '
        f'<span class="label">Source:</span> {escape(finding.source)}.</p>',
        f'<p><span class="label">What to do:</span> {escape(finding.advice)}</p>',
    ]
    if finding.examples:
        items = "".join(_example(example) for example in finding.examples)
        lines.append(f'<p class="label">Examples</p><ul>{items}</ul>')
    return "\n".join([*lines, "</div>", "</details>"])


def _example(example: Example) -> str:
    names = ", ".join(f"<code>{escape(str(name))}</code>" for name in example.ids)
    texts = "".join(f"<br>{escape(text)}" for text in dict.fromkeys(example.texts) if text)
    return f'<li>{names} <span class="muted">({escape(example.note)})</span>{texts}</li>'


def _charts(report: HealthReport) -> list[str]:
    shown = [chart for chart in CHARTS if chart.key in report.series]
    if not shown:
        return []
    figures = [
        f"<figure><figcaption><strong>{escape(chart.title)}</strong>{escape(chart.about)}</figcaption>\n"
        f"{chart_svg(chart, report)}</figure>"
        for chart in shown
    ]
    return ["<h2>Distributions</h2>", '<div class="charts">', *figures, "</div>"]


def chart_svg(chart: Chart, report: HealthReport) -> str:
    """One chart as an inline SVG element whose colours are the page's variables."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.3, 2.4), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    chart.draw(figure.add_subplot(), report.series[chart.key], _STAND_INS)
    buffer = io.StringIO()
    unnamed = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with _DRAWING, matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": chart.key}):
        figure.savefig(buffer, format="svg", metadata=unnamed)
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for color, variable in _VARIABLES.items():
        drawn = drawn.replace(color, variable)
    # names inside a drawing must not meet those of its neighbours on the page
    drawn = re.sub(r'(id="|href="#|url\(#)', rf"\1{chart.key}-", drawn)
    label = escape(f"{chart.title}. {chart.about}", quote=True)
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
