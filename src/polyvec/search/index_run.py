"""One indexing run: compare with what the store has, encode what is new, commit batch by batch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyvec.core.errors import InvalidValueError
from polyvec.core.progress import ProgressHandle
from polyvec.data.documents import Document
from polyvec.data.source_sets import SourceSet
from polyvec.search.index_report import IndexReport
from polyvec.search.store import vector_index
from polyvec.search.store.encoding import encode_texts
from polyvec.search.store.snapshot import Snapshot
from polyvec.search.store.store import Store
from polyvec.search.store.writing import Writer, checked_documents, embedding_hash, named, sql_text

FIRST_SLICE = 256
SMALLEST_SLICE = 32


class KnownDocuments:
    """What the store holds: hashes and places of all documents, by id."""

    def __init__(self, snapshot: Snapshot) -> None:
        rows = snapshot.scan(["id", "position", "content_hash", "embedding_hash", "origin", "source"])
        columns = {name: rows[name].to_pylist() for name in rows.column_names}
        self.row = {key: number for number, key in enumerate(columns["id"])}
        self.position: list[int] = columns["position"]
        self.content_hash: list[str] = columns["content_hash"]
        self.embedding_hash: list[str] = columns["embedding_hash"]
        self.origin: list[str] = columns["origin"]
        self.source: list[str] = columns["source"]
        self.by_embedding = {key: name for name, key in zip(columns["id"], self.embedding_hash, strict=True) if key}


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run encodes and commits.

    Attributes:
        recipe: What, beside the encoder, decides about a text's vector (chunking); a change makes texts be encoded
            anew.
        options: Passed on to the encoder; `None` is left out.
        commit_documents: A batch is committed once it has so many documents.
        commit_seconds: A batch is committed after about this time.
        on_commit: Called with the ids of each batch that is safely stored.
        slice_documents: Gives the number of documents that go to the encoder at once, asked when there is something to
            encode; without, the encoder's speed decides.
    """

    recipe: str
    options: Mapping[str, Any]
    commit_documents: int
    commit_seconds: float
    on_commit: Callable[[list[str]], None] | None
    slice_documents: Callable[[], int] | None = None


class IndexRun:
    """One run: what the store has, what is waiting for a commit, and the counts."""

    def __init__(
        self, store: Store, writer: Writer, settings: RunSettings, report: IndexReport, bar: ProgressHandle
    ) -> None:
        self._store, self._writer, self._settings, self._report, self._bar = store, writer, settings, report, bar
        # this run draws a bar of its own, and a terminal shows one at a time
        self._options = {**settings.options, "show_progress_bar": False}
        with writer.guard():
            self._known = KnownDocuments(writer.snapshot())
        self._next_position = max(self._known.position, default=-1) + 1
        self._seen: dict[str, str] = {}
        self._ready: list[tuple[Document, str, str, np.ndarray]] = []
        self._last_commit = time.monotonic()
        self._changed = False

    # -- reading and encoding -------------------------------------------------------------------------------------

    def take(self, documents: Iterable[tuple[Document, str]]) -> None:
        """Compare, encode and commit all documents."""
        fixed = self._settings.slice_documents
        size = FIRST_SLICE if fixed is None else 0
        waiting: list[tuple[Document, str, str]] = []
        for document, origin in documents:
            checked_documents([document])
            self._report.seen += 1
            key = embedding_hash(document, self._settings.recipe)
            if self._is_unchanged(document, origin, key):
                self._report.unchanged += 1
                self._bar.advance()
                continue
            waiting.append((document, origin, key))
            if fixed is not None and size == 0:
                size = fixed()
            if len(waiting) >= size:
                next_size = self._encode(waiting)
                size = next_size if fixed is None else size
                waiting = []
        if waiting:
            self._encode(waiting)
        self._commit()

    def _is_unchanged(self, document: Document, origin: str, key: str) -> bool:
        """Whether the store has just this document; counts it as added or changed otherwise.

        Raises:
            InvalidValueError: The id was read before in this run, or belongs to another source.
        """
        if document.id in self._seen:
            raise InvalidValueError(
                f"sources: the id {named([document.id])} occurs twice: from {self._seen[document.id] or 'memory'} "
                f"and from {origin or 'memory'}; ids must be unique"
            )
        self._seen[document.id] = origin
        known = self._known
        row = known.row.get(document.id)
        if row is None:
            self._report.added += 1
            return False
        elsewhere = known.origin[row] != origin
        if elsewhere and self._still_there(known.origin[row]):
            raise InvalidValueError(
                f"sources: the id {named([document.id])} of {origin or 'a document from memory'} belongs to a "
                f"document from {known.origin[row] or 'memory'} already; index both in one run, which keeps them "
                "apart, or use two stores"
            )
        if known.embedding_hash[row] != key:
            self._report.updated += 1
            return False
        if elsewhere or known.content_hash[row] != document.content_hash or known.source[row] != document.source:
            self._report.metadata_updated += 1
            return False
        return True

    @staticmethod
    def _still_there(origin: str) -> bool:
        """Whether the place a document came from exists; a folder that was moved may be indexed from its new place."""
        return not Path(origin).is_absolute() or os.path.lexists(origin)

    def _encode(self, waiting: list[tuple[Document, str, str]]) -> int:
        """Give documents their vectors and commit when it is time; how many to take next, by the encoder's speed."""
        vectors = self._stored_vectors(waiting)
        texts = {key: document.embedding_text for document, _, key in waiting if key not in vectors}
        seconds = 0.0
        if texts:
            started = time.perf_counter()
            encoder = self._store.encoder
            matrix = encode_texts(encoder, list(texts.values()), self._store.dim, options=self._options)
            seconds = time.perf_counter() - started
            vectors |= dict(zip(texts, matrix, strict=True))
            self._report.encode_seconds += seconds
            self._report.encoded += len(texts)
        for document, origin, key in waiting:
            self._ready.append((document, origin, key, vectors[key]))
            if len(self._ready) >= self._settings.commit_documents:
                self._commit()
        if time.monotonic() - self._last_commit >= self._settings.commit_seconds:
            self._commit()
        self._bar.advance(len(waiting))
        if not texts or seconds <= 0:
            return FIRST_SLICE
        next_size = len(texts) / seconds * self._settings.commit_seconds / 2
        return int(np.clip(next_size, SMALLEST_SLICE, max(SMALLEST_SLICE, self._settings.commit_documents)))

    def _stored_vectors(self, waiting: list[tuple[Document, str, str]]) -> dict[str, np.ndarray]:
        """Vectors that the store has for some of these texts, by the hash of the text."""
        holders = {self._known.by_embedding[key] for _, _, key in waiting if key in self._known.by_embedding}
        if not holders:
            return {}
        condition = f"id IN ({', '.join(sql_text(holder) for holder in sorted(holders))})"
        snapshot = self._writer.snapshot()
        with self._writer.guard():
            rows = snapshot.scan(["embedding_hash", snapshot.vector_column], condition)
        matrix = snapshot.decoded(rows)
        wanted = {key for _, _, key in waiting}  # a holder's text may have changed in this very run
        return {key: row for key, row in zip(rows["embedding_hash"].to_pylist(), matrix, strict=True) if key in wanted}

    # -- writing --------------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        if not self._ready:
            return
        documents = [document for document, *_ in self._ready]
        existing = {
            document.id: self._known.position[self._known.row[document.id]]
            for document in documents
            if document.id in self._known.row
        }
        self._next_position = self._writer.write(
            documents,
            np.stack([vector for *_, vector in self._ready]),
            existing,
            origins=[origin for _, origin, _, _ in self._ready],
            embedding_hashes=[key for _, _, key, _ in self._ready],
            next_position=self._next_position,
        )
        for document, _, key, _ in self._ready:
            self._known.by_embedding[key] = document.id
        self._report.commits += 1
        self._changed = True
        self._ready = []
        self._last_commit = time.monotonic()
        if self._settings.on_commit is not None:
            self._settings.on_commit([document.id for document in documents])

    def drop_vanished(self, found: SourceSet) -> None:
        """Delete documents of the same sources that were not read this time."""
        lost: dict[str, bool] = {}
        vanished = []
        for key, row in self._known.row.items():
            if key in self._seen:
                continue
            origin = self._known.origin[row]
            if origin not in lost:
                lost[origin] = found.has_lost(origin)
            if lost[origin]:
                vanished.append(key)
        self._report.removed = self._writer.delete(vanished)
        self._changed = self._changed or bool(vanished)

    def finish(self) -> None:
        """Join the pieces and bring the indexes up to date, if there is something to do."""
        with self._writer.guard():
            index = self._writer.snapshot().keyword_index
            if self._changed or index is None or index.num_unindexed_rows:
                self._writer.optimize()
            self._report.vector_index = vector_index.build(self._writer, self._store.memory_limit)
