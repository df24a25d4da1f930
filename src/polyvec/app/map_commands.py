"""map."""

from __future__ import annotations

import errno
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyvec.app.console import note, print_json, print_table
from polyvec.app.options import Json, Quiet

if TYPE_CHECKING:
    from polyvec.assess.map import EmbeddingMap

_SUFFIXES = (".png", ".svg", ".html", ".arrow")


class LayoutMethod(StrEnum):
    """How to lay out."""

    auto = "auto"
    umap = "umap"
    pacmap = "pacmap"
    tsne = "tsne"
    pca = "pca"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("map")(draw_map)


def draw_map(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|VECTORS", help="Folder of an index, or file of vectors (.parquet .arrow .npy ...)."
        ),
    ],
    to: Annotated[
        list[Path] | None, typer.Option("--to", help="Picture .png or .svg, page .html, data .arrow. Repeatable.")
    ] = None,
    method: Annotated[
        LayoutMethod, typer.Option("--method", help="auto: UMAP when installed (polyvec\\[maps]).")
    ] = LayoutMethod.auto,
    color: Annotated[
        str | None, typer.Option("--color", metavar="COLUMN", help="Colour by a column instead of by group.")
    ] = None,
    clusters: Annotated[
        int | None, typer.Option("--clusters", min=1, max=1000, help="So many groups. Default: as many as there are.")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="Pictures on a dark ground; pages have both.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For what is drawn at random.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Lay out anew, even if the kept map is up to date.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Draw the vectors of an index or a file as a map with named groups.

    The map of an index is kept with it, and drawn anew when the index has changed.
    """
    outputs = [_check_output(path, source) for path in to or ()]
    if not source.exists():
        from polyvec.core.files import file_problem

        raise file_problem(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), source, "read")
    options: dict[str, Any] = {
        "method": method.value,
        "n_clusters": clusters,
        "seed": seed,
        "show_progress": False if quiet or json else None,
    }
    made = _of_index(source, color, fresh, options) if source.is_dir() else _of_file(source, color, options)
    for path in outputs:
        _write(made, path, "dark" if dark else "light")
    if json:
        print_json({**made.to_dict(), "written": [str(path) for path in outputs]})
    else:
        rows = [(cluster.number, cluster.label, cluster.count) for cluster in made.names]
        print_table(("group", "name", "documents"), rows, title=made.headline)
    if not quiet:
        for line in made.notes:
            note(line)
        if (left := made.to_dict()["unclustered"]) and not json:
            note(f"{left} of {len(made)} belong to no group")
        for path in outputs:
            note(f"written to {path}")


def _check_output(path: Path, source: Path) -> Path:
    """Refuse, before the work, an output that cannot be."""
    from polyvec.core.errors import InvalidValueError

    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidValueError(f"--to {path}: the suffix names no kind of map; use one of {', '.join(_SUFFIXES)}")
    if path.is_dir():
        raise InvalidValueError(f"--to {path}: this is a folder; name a file in it")
    if source.exists() and path.exists() and path.samefile(source):
        raise InvalidValueError(f"--to {path}: is the file of vectors itself; choose another name")
    return path


def _of_index(source: Path, color: str | None, fresh: bool, options: dict[str, Any]) -> EmbeddingMap:
    from polyvec.assess.map.stored import kept_map_path, store_map
    from polyvec.search import Store

    store = Store.open(source, read_only=True)
    if fresh and (kept := kept_map_path(store)) is not None:
        kept.unlink(missing_ok=True)
    return store_map(store, color=color, **options)


def _of_file(source: Path, color: str | None, options: dict[str, Any]) -> EmbeddingMap:
    """The columns `title` and `text` of the file, where it has them, give titles and names."""
    from polyvec.assess.map import embedding_map
    from polyvec.core.errors import InvalidValueError
    from polyvec.core.vectors import Vectors
    from polyvec.data.documents import Document

    vectors = Vectors.load(source)
    columns = (
        {} if vectors.metadata is None else {name: vectors.metadata[name] for name in vectors.metadata.column_names}
    )
    if color is not None and color not in columns:
        known = f"it has {', '.join(columns)}" if columns else "it has none beside its vectors"
        raise InvalidValueError(f"--color: {source} has no column {color!r}; {known}")
    texts = None
    if "text" in columns or "title" in columns:
        none = [None] * len(vectors)
        titles = columns["title"].to_pylist() if "title" in columns else none
        contents = columns["text"].to_pylist() if "text" in columns else none
        texts = [
            Document(str(row), str(text or ""), None if title is None else str(title))
            for row, (title, text) in enumerate(zip(titles, contents, strict=True))
        ]
    made = embedding_map(vectors, texts, name=source.name, **options)
    return made if color is None else made.with_labels(columns[color], color)


def _write(made: EmbeddingMap, path: Path, theme: Any) -> None:
    suffix = path.suffix.lower()
    if suffix == ".html":
        made.save_html(path)
    elif suffix == ".arrow":
        made.save(path)
    elif suffix == ".svg":
        made.save_svg(path, theme=theme)
    else:
        made.save_png(path, theme=theme)
