"""systems, reproduce."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyvec.app.console import note, out, print_json, print_table
from polyvec.app.options import Json, Quiet

if TYPE_CHECKING:
    from polyvec.core.registry import System
    from polyvec.reproduce.report import Report


class Scale(StrEnum):
    """Size of a reproduction."""

    smoke = "smoke"
    small = "small"
    full = "full"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(systems)
    app.command()(reproduce)


def _verdict(slug: str) -> str:
    from polyvec.reproduce.runner import committed_report

    report = committed_report(slug)
    return report.verdict if report else ""


def _system_dict(entry: System) -> dict[str, Any]:
    from polyvec.reproduce.runner import committed_report

    report = committed_report(entry.slug)
    return asdict(entry) | {"verdict": report.verdict if report else None}


def systems(
    name: Annotated[str | None, typer.Argument(help="Slug of one system, for all that is known of it.")] = None,
    room: Annotated[str | None, typer.Option("--room", help="Only the systems of one room.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="Only 'working' or only 'planned' systems.")] = None,
    json: Json = False,
) -> None:
    """The research systems that polyvec is built from, with the measured verdict on each."""
    from polyvec.core.errors import InvalidValueError
    from polyvec.core.registry import system
    from polyvec.core.registry import systems as all_systems

    if name is not None:
        entry = system(name)
        if json:
            print_json(_system_dict(entry))
        else:
            _print_system(entry)
        return
    chosen = all_systems()
    for option, wanted, field in (("--room", room, "room"), ("--status", status, "status")):
        known = sorted({getattr(entry, field) for entry in all_systems()})
        if wanted is not None and wanted not in known:
            raise InvalidValueError(f"{option}: got {wanted!r}, needs one of {', '.join(known)}")
        chosen = tuple(entry for entry in chosen if wanted is None or getattr(entry, field) == wanted)
    if json:
        print_json([_system_dict(entry) for entry in chosen])
        return
    rows = [(entry.slug, entry.title, entry.place, entry.status, _verdict(entry.slug)) for entry in chosen]
    print_table(("name", "system", "place", "status", "measured"), rows)
    if out().is_terminal:
        note("`polyvec systems NAME` tells more; `polyvec reproduce NAME` measures again")


def _print_system(entry: System) -> None:
    from polyvec.reproduce.runner import committed_report

    console = out()
    venue = ", ".join(part for part in (entry.venue, entry.source, str(entry.year)) if part)
    console.print(f"{entry.title}: {entry.full_title}", style="bold", markup=False)
    console.print(f"{entry.slug} | {entry.place} | {entry.status} | {venue}", style="dim", markup=False)
    console.print()
    console.print(entry.description, markup=False)
    console.print("\nclaims of the source", style="bold")
    for claim in entry.claims:
        console.print(f"  - {claim}", markup=False)
    console.print("\nin polyvec", style="bold")
    for api in entry.api:
        console.print(f"  {api}", markup=False)
    report = committed_report(entry.slug)
    if report is None:
        console.print("\nnot measured yet")
        return
    console.print(f"\nmeasured ({report.scale}, {report.date}, seeds {report.seeds}): {report.verdict}", style="bold")
    _print_verdicts(report)


def _print_verdicts(report: Report) -> None:
    console = out()
    styles = {"holds": "green", "does not hold": "red", "not judged": "dim"}
    for verdict in report.verdicts:
        console.print(f"  {verdict.verdict:<14}", style=styles[verdict.verdict], end="")
        console.print(f"{verdict.statement}", markup=False)
        console.print(f"                {verdict.measured}", style="dim", markup=False)


def _print_rows(report: Report) -> None:
    rows = []
    for method in report.methods:
        for metric in report.metrics:
            if values := report.values(method, metric):
                numbers = list(values.values())
                spread = f"{min(numbers):.4g} .. {max(numbers):.4g}" if len(numbers) > 1 else ""
                rows.append((method, metric, f"{report.mean(method, metric):.4g}", spread))
    print_table(("method", "metric", "mean", "min .. max"), rows, title=f"{report.slug} ({report.scale})")


def _print_changes(old: Report, new: Report) -> list[dict[str, Any]]:
    from polyvec.reproduce.report import compare

    changes = compare(old, new)
    rows: list[tuple[str, ...]] = []
    for change in changes:
        if isinstance(change.old, float) and isinstance(change.new, float):
            rows.append(
                (
                    change.method,
                    change.metric,
                    f"{change.old:.4g}",
                    f"{change.new:.4g}",
                    f"{change.new - change.old:+.3g}",
                )
            )
        else:
            mark = "" if change.old == change.new else "changed"
            rows.append((change.method, change.metric, _cell(change.old), _cell(change.new), mark))
    print_table(("method", "metric", "old", "new", "change"), rows, title=f"against the report of {old.date}")
    return [asdict(change) for change in changes]


def _cell(value: float | str | None) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def reproduce(
    name: Annotated[str | None, typer.Argument(help="Slug of the system.")] = None,
    all_systems: Annotated[bool, typer.Option("--all", help="Every system that can be reproduced.")] = False,
    scale: Annotated[
        Scale, typer.Option(help="smoke: seconds; small: minutes, three seeds; full: a GPU.")
    ] = Scale.small,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Other seeds than the official. Repeatable.")] = None,
    to: Annotated[Path, typer.Option("--to", help="Folder of the results.")] = Path("results"),
    compare: Annotated[Path | None, typer.Option("--compare", help="An older result to compare with.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Take nothing over from an interrupted run.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Re-run a system's claims beside its baselines. Exit code 1 when a judged claim does not hold."""
    from polyvec.core.errors import InvalidValueError
    from polyvec.reproduce.report import Report
    from polyvec.reproduce.report import compare as changes_between
    from polyvec.reproduce.runner import reproducible, run_reproduction

    if (name is None) != all_systems:
        raise InvalidValueError(f"needs either the name of one system or --all; ready: {', '.join(reproducible())}")
    if compare is not None and all_systems:
        raise InvalidValueError("--compare works with one system, not with --all")
    old = Report.load(compare) if compare is not None else None
    reports = []
    for slug in reproducible() if all_systems else [str(name)]:
        report = run_reproduction(
            slug,
            scale.value,
            seeds=seed,
            to=to,
            resume=not fresh,
            show_progress=False if quiet or json else None,
        )
        reports.append(report)
        if json:
            continue
        _print_rows(report)
        if old is not None:
            _print_changes(old, report)
        out().print(f"\n{report.slug}: {report.verdict} ({report.wall_seconds:.0f} s)", style="bold", markup=False)
        _print_verdicts(report)
        note(f"written to {to / report.slug}")
    if json:
        contents = [report.to_dict() for report in reports]
        if old is not None:
            contents[0]["changes"] = [asdict(change) for change in changes_between(old, reports[0])]
        print_json(contents if all_systems else contents[0])
    if not all(report.all_hold for report in reports):
        raise typer.Exit(1)
