"""demo, index, search, similar, info, encode."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyvec.app.console import note, out, print_json, shorten
from polyvec.app.options import Encoding, Exclude, IdField, Include, Json, Model, Quiet, TextField, TitleField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyvec.search import Hit, IndexReport

DEMO_QUERIES = (
    "shrink the embedding table of a click-through model",
    "find the nearest vectors faster with fewer dimensions",
    "judge an encoder without any labels",
)


class Mode(StrEnum):
    """How to search."""

    dense = "dense"
    keyword = "keyword"
    hybrid = "hybrid"


class Engine(StrEnum):
    """Where to encode."""

    local = "local"
    ray = "ray"


class Precision(StrEnum):
    """How exactly to encode."""

    auto = "auto"
    exact = "exact"


class Output(StrEnum):
    """What to encode to."""

    sentence = "sentence"
    chunks = "chunks"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(demo)
    app.command()(index)
    app.command()(search)
    app.command()(similar)
    app.command()(info)
    app.command()(encode)


def _encoder(model: str | None, precision: Precision = Precision.auto) -> Any:
    from polyvec.encode.text import DEFAULT_MODEL, TextEncoder

    return TextEncoder(model or DEFAULT_MODEL, precision=precision.value)


def _report_dict(report: IndexReport) -> dict[str, Any]:
    return {"documents": report.store.count() if report.store else 0, **report.to_dict()}


def _print_report(report: IndexReport, quiet: bool) -> None:
    if quiet:
        return
    counts = _report_dict(report)
    names = ("added", "updated", "metadata_updated", "unchanged", "removed")
    parts = [f"{counts[name]} {name.replace('_', ' ')}" for name in names if counts[name]]
    out().print(
        f"{counts['documents']} documents in {report.path}: {', '.join(parts) or 'nothing changed'}", markup=False
    )
    for line in report.left_out:
        note(line)
    if report.encoded:
        note(f"{report.encoded} texts encoded in {report.encode_seconds:.1f} s, {report.seconds:.1f} s in all")


def _print_hits(hits: Sequence[Hit], *, width: int = 100) -> None:
    from rich.markup import escape

    console = out()
    if not hits:
        console.print("no document matches")
        return
    for hit in hits:
        title = shorten(hit.title or hit.id, 76)
        console.print(f"[bold]{hit.rank:>3}[/]  {hit.score:6.3f}  [bold]{escape(title)}[/]  [dim]{escape(hit.id)}[/]")
        console.print(f"             {escape(shorten(hit.text, width))}")


def demo(
    to: Annotated[Path, typer.Option("--to", help="Folder of the demo's index.")] = Path("polyvec-demo"),
    serve: Annotated[bool, typer.Option("--serve", help="Then serve it: a page to search and see it.")] = False,
    port: Annotated[int, typer.Option("--port", help="Port for --serve; 0 takes any free one.")] = 8000,
    open_page: Annotated[bool, typer.Option("--open", help="With --serve: open the page in the browser.")] = False,
    json: Json = False,
) -> None:
    """Index the bundled sample (the 65 research systems), run three searches, say where to go next."""
    if serve:
        _serve_demo(to, port, open_page)
        return
    from polyvec.encode.text import DEFAULT_MODEL
    from polyvec.search import index_sources

    report = index_sources("systems", to, encoder=_encoder(None), show_progress=False if json else None)
    store = report.store
    assert store is not None
    answers = {query: store.search(query, k=3) for query in DEMO_QUERIES}
    if json:
        hits = {query: [hit.to_dict() for hit in found] for query, found in answers.items()}
        print_json({"index": _report_dict(report), "searches": hits})
        return
    console = out()
    console.print(
        f"[bold]Indexed {store.count()} descriptions of research systems into {to}/[/] "
        f"({DEFAULT_MODEL}, {store.dim} dimensions)"
    )
    for query, found in answers.items():
        console.print(f'\n[bold cyan]polyvec search {to} "{query}"[/]')
        _print_hits(found, width=90)
    console.print("\n[bold]Next[/]")
    console.print("  polyvec demo --serve                          the same as a page: search, see, judge")
    console.print("  polyvec index my-documents/ --to my-index     your own .txt .md .html .pdf .csv .jsonl .parquet")
    console.print('  polyvec search my-index "a question"          --mode hybrid, --where "year > 2020", --json')
    console.print("  polyvec systems                               the 65 systems and what was measured")
    console.print("  polyvec reproduce mrl --scale smoke           re-run a claim beside its baselines")


def _serve_demo(to: Path, port: int, open_page: bool) -> None:
    from polyvec.app.serve_commands import run_server
    from polyvec.search import index_sources

    store = index_sources("systems", to, encoder=_encoder(None)).store
    assert store is not None
    run_server(store, port=port, open_page=open_page)


def index(
    sources: Annotated[
        list[str], typer.Argument(help="Files, folders, globs, or names of data sets of the catalogue.")
    ],
    to: Annotated[str, typer.Option("--to", help="Folder or address (s3://...) of the index; made when missing.")],
    model: Model = None,
    precision: Annotated[Precision, typer.Option(help="auto: fastest; exact: 32-bit.")] = Precision.auto,
    include: Include = None,
    exclude: Exclude = None,
    text_field: TextField = None,
    title_field: TitleField = None,
    id_field: IdField = None,
    encoding: Encoding = None,
    chunk: Annotated[
        bool, typer.Option("--chunk", help="Average over chunks of long texts instead of cutting them off.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Read at most this many documents.")] = None,
    engine: Annotated[Engine, typer.Option(help="ray: encode on a Ray cluster.")] = Engine.local,
    prune: Annotated[bool, typer.Option(help="Drop documents that vanished from these sources.")] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable file.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Read documents, encode them and keep them searchable. Run again, it encodes only what changed."""
    from polyvec.encode.text import Chunking
    from polyvec.search import index_sources

    report = index_sources(
        sources,
        to=to,
        encoder=_encoder(model, precision),
        chunking=Chunking() if chunk else None,
        include=include,
        exclude=exclude,
        text_field=text_field,
        title_field=title_field,
        id_field=id_field,
        encoding=encoding,
        limit=limit,
        engine=engine.value,
        prune=prune,
        on_error="raise" if strict else "warn",
        show_progress=False if quiet or json else None,
    )
    if json:
        print_json(_report_dict(report))
    else:
        _print_report(report, quiet)


IndexFolder = Annotated[str, typer.Argument(metavar="DIR", help="Folder or address (s3://...) of the index.")]
Count = Annotated[int, typer.Option("-k", min=1, help="How many documents.")]
Where = Annotated[str | None, typer.Option("--where", help='Filter on metadata, SQL-like: "year > 2020".')]
Offset = Annotated[int, typer.Option("--offset", min=0, help="Skip this many of the best (paging).")]


def search(
    folder: IndexFolder,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Count = 10,
    mode: Annotated[Mode, typer.Option(help="dense: by meaning; keyword: by words; hybrid: both.")] = Mode.dense,
    where: Where = None,
    offset: Offset = 0,
    json: Json = False,
) -> None:
    """Search an index."""
    from polyvec.search import Store

    hits = Store.open(folder, read_only=True).search(query, k=k, mode=mode.value, where=where, offset=offset)
    if json:
        print_json([hit.to_dict() for hit in hits])
    else:
        _print_hits(hits)


def similar(
    folder: IndexFolder,
    document: Annotated[str, typer.Argument(metavar="ID", help="Id of a document in the index.")],
    k: Count = 10,
    where: Where = None,
    json: Json = False,
) -> None:
    """Documents like a given one."""
    from polyvec.search import Store

    hits = Store.open(folder, read_only=True).similar(document, k=k, where=where)
    if json:
        print_json([hit.to_dict() for hit in hits])
    else:
        _print_hits(hits)


def info(folder: IndexFolder, json: Json = False) -> None:
    """What an index holds: documents, bytes, encoder, columns."""
    from polyvec.search import Store

    stats = Store.open(folder, read_only=True).stats().to_dict()
    if json:
        print_json(stats)
        return
    console = out()
    for name, value in stats.items():
        shown = ", ".join(f"{key}={item}" for key, item in value.items()) if isinstance(value, dict) else value
        console.print(f"{name.replace('_', ' '):<16} {shown}", markup=False)


def encode(
    sources: Annotated[list[str], typer.Argument(help="Files, folders, globs, or names of data sets.")],
    to: Annotated[Path, typer.Option("--to", help="File of vectors: .parquet .arrow .npy .npz .safetensors .vec .bin")],
    model: Model = None,
    precision: Annotated[Precision, typer.Option(help="auto: fastest; exact: 32-bit.")] = Precision.auto,
    output: Annotated[Output, typer.Option(help="One vector a document, or one a chunk.")] = Output.sentence,
    include: Include = None,
    exclude: Exclude = None,
    text_field: TextField = None,
    title_field: TitleField = None,
    id_field: IdField = None,
    encoding: Encoding = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Read at most this many documents.")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Turn documents into a file of vectors, without an index."""
    from polyvec.core.vector_files import format_of
    from polyvec.encode.text import encode_sources

    kind = format_of(to)  # refuse a wrong suffix before the work, not after it
    vectors = encode_sources(
        sources,
        encoder=_encoder(model, precision),
        output=output.value,
        include=include,
        exclude=exclude,
        text_field=text_field,
        title_field=title_field,
        id_field=id_field,
        encoding=encoding,
        limit=limit,
        show_progress=False if quiet or json else None,
    )
    drop = [] if kind in ("parquet", "arrow", "npz", "safetensors") else ["metadata"]
    vectors.save(to, drop=[*drop, "ids"] if kind == "npy" else drop)
    result = {"path": str(to), "vectors": len(vectors), "dim": vectors.dim, "format": kind, "bytes": to.stat().st_size}
    if json:
        print_json(result)
    elif not quiet:
        out().print(f"{len(vectors)} vectors of {vectors.dim} dimensions in {to} ({kind})", markup=False)
        if kind == "npy":
            note("npy files have no room for ids; the rows follow the order of reading")
