"""shrink."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyvec.app.console import note, out, print_json, print_table
from polyvec.app.options import Json, Quiet

if TYPE_CHECKING:
    from polyvec.search import PriceList, Store

KEEP = 0.95


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(shrink)


def shrink(
    source: Annotated[
        str,
        typer.Argument(metavar="DIR|VECTORS", help="Folder of an index, or file of vectors (.npy .parquet ...)."),
    ],
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries", help="Real queries: texts, one a line, or a file of vectors. Default: held-out documents."
        ),
    ] = None,
    keep: Annotated[
        float | None, typer.Option("--keep", help="Name the smallest setting that holds this recall@10. Default: 0.95.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Name the best setting within so many bytes a document, as 64B.")
    ] = None,
    sample: Annotated[int, typer.Option("--sample", min=20, help="Measure on at most so many documents.")] = 20_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For what is drawn at random.")] = 0,
    png: Annotated[Path | None, typer.Option("--png", help="Also draw the list as a picture.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Print every setting, not only the best for their bytes.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Rewrite the index with the setting that was named.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Put the full vectors back.")] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Give up the full vectors and free the disk; --undo ends with this.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """What does every byte of the vectors buy? A price list, and the smallest setting that keeps what you need."""
    from polyvec.core.errors import InvalidValueError
    from polyvec.core.files import file_problem

    if sum((apply, undo, finish)) > 1:
        raise InvalidValueError("--apply, --undo, --finish: got more than one; give them one after the other")
    is_folder = "://" in source or Path(source).is_dir()
    if not is_folder and not Path(source).exists():
        raise file_problem(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), source, "read")
    if not is_folder and (apply or undo or finish):
        raise InvalidValueError(f"--apply, --undo, --finish: need an index, and {source} is a file of vectors")
    if undo or finish:
        _settle(source, undo, json)
        return
    _check(keep, budget, png)
    progress = False if quiet or json else None
    store = None
    if is_folder:
        from polyvec.search import Store
        from polyvec.search.prices import store_price_list

        store = Store.open(source, read_only=not apply)
        asked = None if queries is None else _queries(queries, texts=True)
        prices = store_price_list(store, asked, sample=sample, seed=seed, show_progress=progress)
    else:
        from polyvec.assess.health.reading import read_vectors
        from polyvec.search import price_list

        asked = None if queries is None else _queries(queries, texts=False)
        prices = price_list(read_vectors(source), asked, sample=sample, seed=seed, show_progress=progress)
    prices.choose(keep=KEEP if keep is None and budget is None else keep, budget=budget)
    _keep(prices, store, png, quiet)
    if json:
        print_json(prices.to_dict())
    else:
        _print(prices, every, quiet)
    if apply and store is not None:
        _apply(store, prices, quiet or json)


def _check(keep: float | None, budget: str | None, png: Path | None) -> None:
    """Refuse bad arguments before minutes of work."""
    from polyvec.core.errors import InvalidValueError
    from polyvec.search.prices.listing import checked_keep, parse_budget

    if keep is not None:
        checked_keep(keep)
    if budget is not None:
        parse_budget(budget)
    if png is not None and png.is_dir():
        raise InvalidValueError(f"--png {png}: this is a folder; name a file in it")


def _queries(path: Path, *, texts: bool) -> Any:
    """Texts, one a line, or the vectors of a file whose suffix says so."""
    from polyvec.assess.health.reading import read_vectors
    from polyvec.core.errors import InvalidValueError
    from polyvec.core.files import file_problem
    from polyvec.core.vector_files import format_of

    try:
        format_of(path)
    except InvalidValueError:
        if not texts:
            raise
    else:
        return read_vectors(path).matrix
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise file_problem(error, path, "read") from error
    except UnicodeDecodeError as error:
        raise InvalidValueError(
            f"--queries {path}: is no UTF-8 text; give one query a line, or a file of vectors"
        ) from error
    asked = [line.strip() for line in lines if line.strip()]
    if len(asked) < 2:
        raise InvalidValueError(f"--queries {path}: got {len(asked)} queries, needs at least 2, one a line")
    return asked


def _keep(prices: PriceList, store: Store | None, png: Path | None, quiet: bool) -> None:
    """Save the list beside the index, for `polyvec serve`, and the picture."""
    from polyvec.core.errors import FileProblemError
    from polyvec.search.prices import prices_path

    path = None if store is None else prices_path(store)
    if path is not None:
        try:
            prices.save(path)
        except FileProblemError as error:  # a folder that cannot be written is no reason to lose minutes of work
            note(f"the list was not kept: {error}")
    if png is not None:
        prices.plot(png)
        if not quiet:
            note(f"written to {png}")


def _shown(figures: list[float]) -> str:
    return f"{figures[0]:.3f} ({figures[1]:.3f}-{figures[2]:.3f})"


def _print(prices: PriceList, every: bool, quiet: bool) -> None:
    columns = ("bytes kept", "scanned", "recall@10", "recall@1", "nDCG@10", "queries/s", "build s", "setting")
    rows = prices.rows if every else prices.front()
    where = f"{prices.documents:,} documents" + (
        f" of {prices.of_documents:,}" if prices.of_documents > prices.documents and not prices.held_out else ""
    )
    asked = f"{prices.queries:,} {'held-out documents as queries' if prices.held_out else 'queries'}"
    print_table(
        columns,
        (
            (
                row.kept_bytes,
                row.bytes,
                _shown(row.recall_10),
                f"{row.recall_1[0]:.3f}",
                f"{row.ndcg_10[0]:.3f}",
                f"{row.queries_per_second:,.0f}",
                f"{row.build_seconds:.1f}",
                row.full_label,
            )
            for row in rows
        ),
        title=f"What every byte buys: {where}, {prices.dim} dimensions, {asked}; mean (95% interval)",
    )
    if not quiet:
        if not every:
            note(f"the best for their bytes, of {len(prices.rows)} settings; --all prints every one")
        for left in prices.left_out:
            note(f"left out: {left['label']}: {left['reason']}")
        for statement in prices.statements:
            note(statement)
    if (chosen := prices.chosen) is not None:
        share = prices.full_bytes / chosen["kept_bytes"]
        confirmed = chosen["confirmed"]
        out().print(
            f"take {chosen['full_label']}: {chosen['kept_bytes']} bytes a document instead of {prices.full_bytes} "
            f"(1/{share:.3g}), recall@10 {_shown(confirmed['recall_10'])} on {confirmed['queries']} queries that had "
            "no part in choosing it",
            markup=False,
        )


def _apply(store: Store, prices: PriceList, quiet: bool) -> None:
    from polyvec.core.errors import StoreError
    from polyvec.search.prices import take

    if prices.chosen is None:
        raise StoreError(f"{store.path}: nothing was changed, as no setting was confirmed; {prices.statements[-1]}")
    take(store, prices)
    if not quiet:
        note(
            f"{store.path} is shrunk. polyvec shrink {store.path} --undo puts the full vectors back, --finish gives "
            "them up and frees the disk"
        )


def _settle(source: str, undo: bool, json: bool) -> None:
    """--undo and --finish."""
    from polyvec.search import Store

    store = Store.open(source)
    before = store.stats().bytes_on_disk
    if undo:
        exact, decoded = store.undo_shrink()
        told: dict[str, Any] = {"exact": exact, "decoded": decoded}
        message = f"{exact} full vectors are back"
        if decoded:
            message += (
                f"; {decoded} documents that came or changed since keep the vectors of their codes, until polyvec "
                "index reads their sources again"
            )
    else:
        store.finish_shrink()
        after = store.stats().bytes_on_disk
        told = {"bytes_on_disk_before": before, "bytes_on_disk": after}
        message = "the full vectors are given up"
        if before is not None and after is not None:
            message += f"; {before:,} bytes on the disk before, {after:,} now"
    if json:
        print_json(told)
    else:
        out().print(message, markup=False)
