"""inspect."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyvec.app.console import note, out, print_json, print_table
from polyvec.app.options import Json, Quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyvec.assess.health import HealthReport
    from polyvec.core.vectors import Vectors

_STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red", "not computed": "dim"}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(inspect)


def inspect(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE|DIR", help="File of vectors (.npy .parquet .arrow ...), or folder of an index."),
    ],
    html: Annotated[Path | None, typer.Option("--html", help="Also write the report as a web page.")] = None,
    png: Annotated[Path | None, typer.Option("--png", help="Also write the report as a picture of one page.")] = None,
    sample: Annotated[
        int, typer.Option("--sample", min=100, help="Rows that are compared with each other, for hubness.")
    ] = 20_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For what is drawn at random.")] = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Are these vectors sound? A health report that needs no labels. Exit code 0, whatever it finds."""
    from polyvec.assess.health import health_report

    for option, path in (("--html", html), ("--png", png)):
        _check_output(option, path, source)
    vectors, texts = _read(source)
    report = health_report(
        vectors,
        texts=texts,
        sample=sample,
        seed=seed,
        name=source.name or str(source),
        show_progress=False if quiet or json else None,
    )
    written = []
    if html is not None:
        report.save_html(html)
        written.append(html)
    if png is not None:
        report.save_png(png)
        written.append(png)
    if json:
        print_json(report.to_dict())
    else:
        _print(report, quiet)
    if not quiet:
        for path in written:
            note(f"written to {path}")


def _check_output(option: str, path: Path | None, source: Path) -> None:
    """Refuse, before the work, an output that is a folder or the input itself."""
    from polyvec.core.errors import InvalidValueError

    if path is None:
        return
    if path.is_dir():
        raise InvalidValueError(f"{option} {path}: this is a folder; name a file in it")
    if source.exists() and path.exists() and path.samefile(source):
        raise InvalidValueError(f"{option} {path}: is the file of vectors itself; choose another name")


def _read(source: Path) -> tuple[Vectors, Callable[[Any], list[str]] | None]:
    """The vectors of a file or of an index, and how to get their texts."""
    from polyvec.core.files import file_problem

    if not source.exists():
        raise file_problem(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), source, "read")
    if source.is_dir():
        from polyvec.search import Store

        store = Store.open(source, read_only=True)
        return store.vectors(), lambda ids: [store.get(key).text for key in ids]
    from polyvec.assess.health.reading import read_vectors

    return read_vectors(source), None


def _print(report: HealthReport, quiet: bool) -> None:
    """A table and remarks for people; in a pipe, one line of tab-separated columns for each finding."""
    from rich.text import Text

    from polyvec.assess.health.text import remark_lines

    console = out()
    if not console.is_terminal:
        columns = ("key", "finding", "status", "value", "shown", "threshold", "source", "meaning", "advice")
        print_table(
            columns,
            (
                (
                    found.key,
                    found.name,
                    found.status,
                    "" if found.value is None else f"{found.value:.6g}",
                    found.shown,
                    found.threshold,
                    found.source,
                    found.meaning,
                    found.advice,
                )
                for found in report.findings
            ),
        )
        if not quiet:
            for statement in report.statements:
                note(statement)
        return
    rows = [(Text(found.status, style=_STYLES[found.status]), found.name, found.shown) for found in report.findings]
    print_table(("status", "finding", "value"), rows, title=f"{report.name}: {report.headline}")
    for statement in report.statements:
        console.print(statement, style="dim", markup=False)
    for found in (*report.of_status("bad"), *report.of_status("warn")):
        console.print()
        console.print(
            Text.assemble((found.status, _STYLES[found.status]), "  ", (found.name, "bold"), f": {found.shown}")
        )
        for line in remark_lines(found):
            console.print(f"  {line}", markup=False)
