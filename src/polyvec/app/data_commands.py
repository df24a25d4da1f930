"""data list, data get, data path."""

from __future__ import annotations

from typing import Annotated

import typer

from polyvec.app.console import out, print_json, print_table
from polyvec.app.options import Json

app = typer.Typer(help="The catalogue of real data sets.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the data set; `polyvec data list` shows all.")]


def _size(count: int) -> str:
    if not count:
        return ""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return ""


@app.command("list")
def list_entries(
    kind: Annotated[str | None, typer.Option("--kind", help="Only one kind: texts, graph, tables, ...")] = None,
    json: Json = False,
) -> None:
    """All data sets: kind, size, licence, source, and whether they are here already."""
    from polyvec.core.errors import InvalidValueError
    from polyvec.data.catalogue import catalogue, is_cached

    entries = catalogue()
    kinds = sorted({entry.kind for entry in entries.values()})
    if kind is not None and kind not in kinds:
        raise InvalidValueError(f"--kind: got {kind!r}, needs one of {', '.join(kinds)}")
    chosen = [entry for entry in entries.values() if kind is None or entry.kind == kind]
    if json:
        shown = (
            "name",
            "kind",
            "title",
            "source",
            "package",
            "version",
            "views",
            "licence",
            "citation",
            "notes",
            "size",
        )
        print_json(
            [{key: getattr(entry, key) for key in shown} | {"cached": is_cached(entry.name)} for entry in chosen]
        )
        return
    rows = [
        (entry.name, entry.kind, _size(entry.size), entry.licence, "yes" if is_cached(entry.name) else "", entry.title)
        for entry in chosen
    ]
    print_table(("name", "kind", "size", "licence", "here", "what"), rows)


@app.command("get")
def get_entry(
    name: Name,
    refresh: Annotated[bool, typer.Option("--refresh", help="Fetch again.")] = False,
    json: Json = False,
) -> None:
    """Fetch a data set into the cache, verify its checksum, print where it is."""
    from polyvec.data.catalogue import get, version_used

    path = get(name, refresh=refresh)
    if json:
        print_json({"name": name, "path": str(path), "version": version_used(name)})
    else:
        out().print(str(path), markup=False)


@app.command("path")
def entry_path(name: Name, json: Json = False) -> None:
    """Print where a data set is, without fetching it."""
    from polyvec.data.catalogue import path as cached_path

    path = cached_path(name)
    if json:
        print_json({"name": name, "path": str(path)})
    else:
        out().print(str(path), markup=False)
