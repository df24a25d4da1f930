"""`index_sources`: documents from files into a store, batch by batch, encoding only what has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.progress import ProgressHandle, progress
from polyvec.data.documents import Document
from polyvec.data.readers import ReadReport
from polyvec.data.source_sets import SourceSet, source_set
from polyvec.search.index_report import IndexReport
from polyvec.search.index_run import IndexRun, RunSettings
from polyvec.search.store.store import Store

if TYPE_CHECKING:
    from polyvec.data.readers.scanning import OnError

AHEAD_DOCUMENTS = 50_000
AHEAD_CHARACTERS = 64_000_000
"""So much is read before encoding begins: reading is quick, and the progress bar then knows the total."""


def index_sources(
    sources: Any,
    to: str | os.PathLike[str] | Store,
    *,
    encoder: Any = None,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    text_field: str | None = None,
    title_field: str | None = None,
    id_field: str | None = None,
    encoding: str | None = None,
    hidden: bool = False,
    follow_links: bool = False,
    on_error: OnError = "warn",
    origin: str | None = None,
    prune: bool = True,
    limit: int | None = None,
    chunking: Any = None,
    batch_size: int | None = None,
    engine: Literal["local", "ray"] = "local",
    show_progress: bool | None = None,
    commit_documents: int = 2000,
    commit_seconds: float = 15.0,
    on_commit: Callable[[list[str]], None] | None = None,
    lock_timeout: float = 10.0,
    storage_options: Mapping[str, str] | None = None,
) -> IndexReport:
    """Index files, folders, a catalogue entry or documents; make the store, or bring an existing one up to date.

    Finished batches are kept when the run is interrupted or killed, and the next run goes on from there: what is
    unchanged (same title, text, metadata and source) is passed over, what has changed only in metadata is written but
    not encoded, and a text that the store has a vector for (a file that was renamed) is not encoded again either.

    Args:
        sources: Paths, patterns, `-`, names of catalogue entries, or an iterable of `Document`.
        to: The store, or its folder or address.
        encoder: See `Store.create`; without, the store's own, or the default text model for a new store.
        include: Patterns that files in folders must match.
        exclude: Patterns of files and folders to leave out.
        text_field: Field of records (CSV, JSON, Parquet, ...) that holds the text.
        title_field: Field of records that holds the title.
        id_field: Field of records that identifies them.
        encoding: Encoding of text files.
        hidden: Also take hidden files.
        follow_links: Follow symbolic links inside folders.
        on_error: `warn` leaves out files and records that cannot be read, and counts them; `raise` stops.
        origin: A name for where documents from memory come from, so that a later run with the same name can drop those
            it no longer has. Without, none are dropped.
        prune: Drop documents of the same sources that this run did not find: the store then holds of each folder
            that is named exactly what the run read from it. Documents of other folders, and of files that could not
            be read, stay.
        limit: Read at most so many documents. Nothing is dropped then, since not all was looked at.
        chunking: Passed on to the encoder: how long texts are cut and their vectors pooled.
        batch_size: Passed on to the encoder.
        engine: `ray` encodes with Ray Data, past one machine, where the encoder can (`TextEncoder`). Several windows
            for each core of the cluster go out at once, and are committed when all have come back.
        show_progress: A bar on the terminal; by default when there is a terminal.
        commit_documents: A batch is committed once it has so many documents. More are quicker, fewer lose less.
        commit_seconds: A batch is committed after about this time in any case.
        on_commit: Called with the ids of each batch after it is safely stored.
        lock_timeout: Seconds to wait for another writer.
        storage_options: See `Store.create`.

    Returns:
        Counts, times, and what was left out; `report.store` is the open store.

    Raises:
        InvalidValueError: No documents (an existing store is untouched); an id that two sources use.
        FileProblemError: A source is missing or unreadable; the store cannot be written.
        FormatError: No file holds documents.
        EncoderMismatchError: The store was made with another encoder.
        StoreError: Another process is writing to the store.
    """
    started = time.perf_counter()
    if engine not in ("local", "ray"):
        raise InvalidValueError(f"engine: got {engine!r}, needs local or ray")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidValueError(f"limit: got {limit!r}, needs a whole number of at least 1, or None for all")
    if commit_documents < 1 or commit_seconds <= 0:
        raise InvalidValueError(
            f"commit_documents, commit_seconds: got {commit_documents}, {commit_seconds}; both must be positive"
        )
    reading = ReadReport()
    found = source_set(
        sources,
        origin=origin,
        report=reading,
        scanning={
            "include": include, "exclude": exclude, "hidden": hidden, "follow_links": follow_links, "on_error":
            on_error,
        },
        reading={"text_field": text_field, "title_field": title_field, "id_field": id_field, "encoding": encoding},
    )  # fmt: skip
    with progress("reading", show=show_progress) as bar:
        documents, total = _read_ahead(found, bar, limit)
    store = _store(to, encoder, lock_timeout, storage_options)
    report = IndexReport(path=store.path, store=store)
    cutting = chunking if chunking is not None else getattr(store.given_encoder, "chunking", None)
    if getattr(cutting, "pooling", None) == "none":
        raise InvalidValueError(
            "chunking: got pooling='none', but a document has one vector here; choose pooling='mean'"
        )
    cluster = ExitStack()
    settings = RunSettings(
        recipe="" if cutting is None else repr(cutting),
        options={"batch_size": batch_size, "chunking": chunking, "engine": None if engine == "local" else engine},
        commit_documents=commit_documents,
        commit_seconds=commit_seconds,
        on_commit=on_commit,
        slice_documents=None if engine == "local" else lambda: _ray_slice(cluster),
    )
    with cluster, store.writer("index into") as writer, progress("indexing", total, show=show_progress) as bar:
        run = IndexRun(store, writer, settings, report, bar)
        run.take(documents)
        if prune and limit is None:
            run.drop_vanished(found)
        run.finish()
    report.skipped = reading.skipped_count
    report.reading = reading.to_dict()
    report.left_out = reading.lines()[1:] if reading.found else []
    report.seconds = time.perf_counter() - started
    return report


def index(sources: Any, to: str | os.PathLike[str] | Store, **options: Any) -> Store:
    """`index_sources`, when it is the store that you want and not the report.

    Args:
        sources: Paths, patterns, `-`, names of catalogue entries, or an iterable of `Document`.
        to: The store, or its folder or address; made when missing.
        options: Those of `index_sources`.

    Returns:
        The store, open.
    """
    store = index_sources(sources, to, **options).store
    assert store is not None
    return store


def _store(
    to: str | os.PathLike[str] | Store, encoder: Any, lock_timeout: float, storage_options: Mapping[str, str] | None
) -> Store:
    if not isinstance(to, Store):
        store = Store.open_or_create(to, encoder=encoder, lock_timeout=lock_timeout, storage_options=storage_options)
        store.close()  # holds no version that the run could not remove
        return store
    if encoder is not None:
        to.bind(encoder)
    return to


def _ray_slice(cluster: ExitStack) -> int:
    """Join or start a Ray cluster for the rest of the run; how many documents it takes at once."""
    from polyvec.encode.text.ray_engine import documents_at_once, ray_cluster

    return documents_at_once(cluster.enter_context(ray_cluster()))


def _read_ahead(
    found: SourceSet, bar: ProgressHandle, limit: int | None
) -> tuple[Iterator[tuple[Document, str]], int | None]:
    """The documents, and their number when it is known or all fit into the read-ahead.

    Raises:
        InvalidValueError: There are none.
    """
    ahead: list[tuple[Document, str]] = []
    characters = 0
    rest = iter(found) if limit is None else islice(found, limit)
    total = found.total if limit is None or found.total is None else min(found.total, limit)
    for pair in rest:
        if not isinstance(pair[0], Document):
            raise InvalidTypeError(f"sources: got {type(pair[0]).__name__} among the documents, needs Document")
        ahead.append(pair)
        bar.advance()
        characters += len(pair[0].text)
        if len(ahead) >= AHEAD_DOCUMENTS or characters >= AHEAD_CHARACTERS:
            break
    else:
        total = len(ahead)
    if not ahead:
        raise InvalidValueError("sources: no documents; give at least one")
    return chain(ahead, rest), total
