"""MkDocs hook: writes the systems' pages from the registry and results, and the reference from the packages."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
from pathlib import Path
from typing import Any

import typer.main
from mkdocs.structure.files import File, Files

from polyvec.core.registry import System, components, systems
from polyvec.reproduce.report import Report
from polyvec.reproduce.runner import committed_report, committed_results

ROOMS = {
    "core": "Vectors, protocols, errors, randomness, progress, files",
    "data": "The catalogue of real data sets, and readers for your own files",
    "nn": "Network blocks that several rooms share",
    "encode": "Data to vectors",
    "train": "How encoders learn",
    "compress": "Vectors to fewer bytes",
    "search": "Vectors to neighbours",
    "assess": "Vectors to judgement",
    "combine": "Many models to one",
    "scale": "Past one device and one machine",
    "generate": "Vectors to data",
    "reproduce": "Claims, re-run beside their baselines",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages and the plots of the committed results."""
    pages = {"systems/index.md": _systems_index(), "reference/index.md": _reference_index(), "reference/cli.md": _cli()}
    pages["changelog.md"] = Path("CHANGELOG.md").read_text(encoding="utf-8")
    for entry in systems():
        pages[f"systems/{entry.slug}.md"] = _system_page(entry)
    for package in _packages():
        pages[f"reference/{package.removeprefix('polyvec.')}.md"] = _package_page(package)
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    folder = committed_results()
    for plot in sorted(folder.glob("*/small.png")) if folder else ():
        files.append(File.generated(config, f"systems/{plot.parent.name}.png", content=plot.read_bytes()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the committed figures in place of `<!-- benchmark: NAME -->`."""
    return re.sub(r"<!-- benchmark: (\w+) -->", lambda found: _benchmark(found[1]), markdown)


def _benchmark(name: str) -> str:
    result = json.loads(Path("results/benchmarks", f"{name}.json").read_text(encoding="utf-8"))
    machine = result["machine"]
    keys = ("texts per second", "ratio", "ratio of processor time", "mean cosine", "least cosine", "start_seconds")
    lines = [
        f"{result['texts']} texts, {result['date']}, {machine['cores']} cores ({machine['processor']}). Other programs "
        f"ran beside it (load {machine['load_before']}), so the ratio of processor time is the fairer one.",
        "",
        "| Method | Texts a second | Ratio | Ratio of processor time | Mean cosine | Least cosine | Start (s) |",
        "|---|---|---|---|---|---|---|",
    ]
    for method, row in result["methods"].items():
        lines.append(f"| {method}: {_escape(row['what'])} | {' | '.join(str(row[key]) for key in keys)} |")
    return "\n".join(lines)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _systems_index() -> str:
    lines = ["# Systems", "", f"{len(systems())} research systems, each with what was measured here.", ""]
    lines += ["| System | What | Place | Status | Measured |", "|---|---|---|---|---|"]
    for entry in systems():
        report = committed_report(entry.slug)
        link = f"[{_escape(entry.title)}]({entry.slug}.md)"
        verdict = report.verdict if report else ""
        lines.append(f"| {link} | {_escape(entry.full_title)} | {entry.place} | {entry.status} | {verdict} |")
    return "\n".join(lines)


def _system_page(entry: System) -> str:
    venue = ", ".join(part for part in (entry.venue, entry.source, str(entry.year)) if part)
    lines = [f"# {entry.title}", "", f"*{_escape(entry.full_title)}* ({_escape(venue)})", ""]
    lines += [f"`{entry.slug}` in `{entry.place}`, status: {entry.status}", "", _escape(entry.description), ""]
    lines += ["## Claims of the source", "", *(f"- {_escape(claim)}" for claim in entry.claims), ""]
    lines += ["## In polyvec", "", *(f"- {_reference_link(name, entry.status)}" for name in entry.api), ""]
    report = committed_report(entry.slug)
    if report:
        lines += _result(report)
    return "\n".join(lines)


def _reference_link(name: str, status: str) -> str:
    return f"[`{name}`][{_real_path(name)}]" if status == "working" else f"`{name}`"


def _real_path(name: str) -> str:
    """Where a lazily exported name is defined: that is how the reference knows it."""
    module, _, attribute = name.rpartition(".")
    value = getattr(importlib.import_module(module), attribute)
    return f"{value.__module__}.{attribute}"


def _result(report: Report) -> list[str]:
    seeds = ", ".join(map(str, report.seeds))
    lines = ["## Measured", "", f"{report.verdict}: scale {report.scale}, {report.date}, seeds {seeds}, "]
    lines[-1] += f"{report.wall_seconds:.0f} s on {report.machine['cores']} cores ({report.machine['processor']})."
    lines += ["", f"`polyvec reproduce {report.slug}` runs it again.", "", f"![result]({report.slug}.png)", ""]
    lines += ["| Verdict | Claim | Criterion, fixed before the run | Measured |", "|---|---|---|---|"]
    for verdict in report.verdicts:
        cells = (verdict.verdict, verdict.statement, verdict.criterion, verdict.measured)
        lines.append(f"| {' | '.join(map(_escape, cells))} |")
    lines += ["", "### All figures", "", "| Method | Metric | Mean | Min | Max |", "|---|---|---|---|---|"]
    for method in report.methods:
        for metric in report.metrics:
            if values := list(report.values(method, metric).values()):
                mean = f"{report.mean(method, metric):.4g}"
                lines.append(
                    f"| {_escape(method)} | {_escape(metric)} | {mean} | {min(values):.4g} | {max(values):.4g} |"
                )
    if report.notes:
        lines += ["", "### Notes", "", *(f"- {_escape(note)}" for note in report.notes)]
    if report.data:
        lines += ["", "Data: " + ", ".join(f"{name} {version}" for name, version in report.data.items())]
    return lines


def _packages() -> list[str]:
    """Packages and modules with public names, in the order of the rooms."""
    names = []
    for room in ROOMS:
        if importlib.util.find_spec(f"polyvec.{room}") is None:
            continue
        package = importlib.import_module(f"polyvec.{room}")
        names.append(package.__name__)
        modules = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        names.extend(module.name for module in modules if module.ispkg)
    return [name for name in names if getattr(importlib.import_module(name), "__all__", None)]


def _package_page(package: str) -> str:
    module = importlib.import_module(package)
    lines = [f"# {package}", "", inspect.getdoc(module) or "", ""]
    for name in module.__all__:
        value = getattr(module, name)
        origin = getattr(value, "__module__", None)
        if origin and origin.startswith("polyvec") and (inspect.isclass(value) or inspect.isfunction(value)):
            lines += [f"::: {origin}.{value.__name__}", ""]
    return "\n".join(lines)


def _reference_index() -> str:
    lines = ["# Reference", "", "Rooms are verbs, in the order of an embedding's life.", ""]
    for package in _packages():
        room = package.split(".")[1]
        text = ROOMS[room] if package.count(".") == 1 else (inspect.getdoc(importlib.import_module(package)) or "")
        lines.append(f"- [`{package}`]({package.removeprefix('polyvec.')}.md): {text.splitlines()[0] if text else ''}")
    lines += ["", "## Registered components", "", "The contract tests run over all of these.", ""]
    lines += ["| Kind | Name | Class | What |", "|---|---|---|---|"]
    for part in components():
        path = part.target.replace(":", ".")
        lines.append(f"| {part.kind} | {part.name} | `{path}` | {_escape(part.summary)} |")
    return "\n".join(lines)


def _cli() -> str:
    from polyvec.app.main import app

    lines = ["# Command line", "", "Every command takes `--help`; those that print results take `--json`.", ""]
    lines += ["Exit codes: 0 done, 1 interrupted or a claim that does not hold, 2 bad input.", ""]
    _command_pages(typer.main.get_command(app), "polyvec", lines)
    return "\n".join(lines)


def _command_pages(command: Any, path: str, lines: list[str]) -> None:
    commands = getattr(command, "commands", None)
    if commands:
        for name in commands:
            _command_pages(commands[name], f"{path} {name}", lines)
        return
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    usage = " ".join([path, *((argument.metavar or argument.name or "").upper() for argument in arguments)])
    lines += [f"## {path}", "", inspect.cleandoc(command.help or ""), "", f"    {usage} [options]", ""]
    rows = [
        f"| `{', '.join(parameter.opts + parameter.secondary_opts)}` | {_escape(parameter.help or '')} |"
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name != "help"
    ]
    if rows:
        lines += ["| Option | What |", "|---|---|", *rows, ""]
