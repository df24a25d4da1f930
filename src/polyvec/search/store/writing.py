"""Writing to a store: checks on documents, schema changes, commits, upkeep."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyvec.core.arrays import as_matrix
from polyvec.core.errors import InvalidTypeError, InvalidValueError, StoreError
from polyvec.data.documents import Document
from polyvec.search.store.codec import LoadParameters
from polyvec.search.store.columns import clean_metadata, filter_arrays, needed_columns, schema_changes
from polyvec.search.store.layout import to_table
from polyvec.search.store.lock import WriterLock
from polyvec.search.store.presence import nobody_reads
from polyvec.search.store.problems import store_problems
from polyvec.search.store.snapshot import Snapshot

FEW_IDS = 200
"""Up to this many ids are looked up by a condition; for more, reading the whole id column is quicker."""

KEEP_VERSIONS = timedelta(minutes=10)
"""Older versions stay this long after `optimize`, so that a reader in another process can finish what it reads."""

KEYWORD_REBUILD_ROWS = 100_000
"""Up to here `optimize` builds the keyword index anew (1 s for 20,000 texts of 60 words on 2 cores), which keeps BM25's
counts exact after deletions; beyond it only adds what is new."""


def sql_text(value: str) -> str:
    """A text as a literal of a condition."""
    return "'" + value.replace("'", "''") + "'"


def named(ids: Sequence[str], most: int = 5) -> str:
    """Some ids for a message, short."""
    shown = ", ".join(repr(key if len(key) <= 60 else key[:57] + "...") for key in ids[:most])
    return f"{shown} and {len(ids) - most:,} more" if len(ids) > most else shown


def embedding_hash(document: Document, recipe: str = "") -> str:
    """SHA-256 of what is embedded; `recipe` says how, where that is not up to the encoder alone (chunking)."""
    return hashlib.sha256(f"{document.embedding_text}\0{recipe}".encode("utf-8", "surrogatepass")).hexdigest()


def checked_ids(ids: Iterable[str], name: str = "ids") -> list[str]:
    """Ids as a list of texts without duplicates.

    Raises:
        InvalidTypeError: One id instead of a list, or an id that is not text.
        InvalidValueError: An empty id, one that is no valid Unicode, one that occurs twice.
    """
    if isinstance(ids, (str, bytes)):
        raise InvalidTypeError(f"{name}: got one {type(ids).__name__}, needs a list; write [{ids!r}]")
    result = list(ids)
    seen: set[str] = set()
    repeated = []
    for key in result:
        if not isinstance(key, str):
            raise InvalidTypeError(f"{name}: got {key!r} of type {type(key).__name__}, needs text")
        if not key:
            raise InvalidValueError(f"{name}: an id is empty, needs at least one character")
        _check_unicode(key, f"{name}: {key!r}")
        if key in seen:
            repeated.append(key)
        seen.add(key)
    if repeated:
        raise InvalidValueError(
            f"{name}: occur more than once: {named(list(dict.fromkeys(repeated)))}; ids must be unique"
        )
    return result


def _check_unicode(text: str, place: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidValueError(
            f"{place}: character {error.start + 1} is half of a surrogate pair, which is no text; read the file with "
            "errors='replace'"
        ) from error


def checked_documents(documents: Iterable[Document]) -> list[Document]:
    """Documents as a list, with texts that can be stored and ids that are unique.

    Raises:
        InvalidTypeError: Not documents, or parts that are not text.
        InvalidValueError: An id that is empty or occurs twice, text that is no valid Unicode.
    """
    if isinstance(documents, (Document, str, bytes)):
        raise InvalidTypeError(f"documents: got one {type(documents).__name__}, needs a list of Document")
    result = list(documents)
    for document in result:
        if not isinstance(document, Document):
            raise InvalidTypeError(
                f"documents: got {type(document).__name__}, needs polyvec.data.Document, as in Document(id='1', "
                "text='...')"
            )
        for part in ("text", "title", "source"):
            value = getattr(document, part)
            if value is None and part == "title":
                continue
            if not isinstance(value, str):
                raise InvalidTypeError(f"document {document.id!r}: {part} is {type(value).__name__}, needs text")
            _check_unicode(value, f"document {document.id!r}, {part}")
    checked_ids([document.id for document in result], "documents: ids")
    return result


def checked_vectors(vectors: Any, count: int, dim: int) -> np.ndarray:
    """Vectors `(count, dim)` float32 without NaN or infinity."""
    matrix = as_matrix(vectors, "vectors", dim=dim, min_rows=0)
    if len(matrix) != count:
        raise InvalidValueError(f"vectors: got {len(matrix)} for {count} documents, needs one each")
    return matrix


@dataclass(slots=True)
class Writer:
    """Commits to one table, under the lock; the caller holds no other handle that is written through.

    Attributes:
        path: The store's folder or address, for messages.
        table: LanceDB's table, at its newest version.
        language: Language of the keyword index's stemmer and stop words.
        action: What is being done, for messages.
        locked: Whether the lock keeps out all other writers (a folder), so that files which no version mentions are
            leftovers of killed writers and can go.
        lock: The lock itself, asked before each commit whether it still holds.
        parameters: Reads the parameters of a compressed store's codes.
    """

    path: str
    table: Any
    language: str
    action: str
    locked: bool
    lock: WriterLock | None = None
    parameters: LoadParameters | None = None

    def guard(self) -> AbstractContextManager[None]:
        """Problems of LanceDB and the disk inside the block name the store and the action.

        Raises:
            StoreError: On object storage, the right to write was lost.
        """
        if self.lock is not None:
            self.lock.check()
        return store_problems(self.path, self.action)

    def snapshot(self) -> Snapshot:
        """The newest version, through this handle; valid until the next commit."""
        return Snapshot(self.table, self.path, self.parameters)

    def prepare(self) -> None:
        """Finish what an earlier writer that was killed has left undone: the keyword index, replaced columns."""
        snapshot = self.snapshot()
        if snapshot.keyword_index is None:
            self.build_keyword_index()
        if snapshot.replaced_columns:
            self.table.drop_columns(snapshot.replaced_columns)

    def build_keyword_index(self) -> None:
        """Build the keyword index from all rows."""
        from lancedb.index import FTS

        self.table.create_index("content", config=FTS(language=self.language), replace=True)

    def existing(self, ids: Sequence[str]) -> dict[str, tuple[int, str]]:
        """Position and origin of those ids that the store holds."""
        with self.guard():
            if not ids:
                return {}
            snapshot = self.snapshot()
            columns = ["id", "position", "origin"]
            if len(ids) <= FEW_IDS:
                rows = snapshot.scan(columns, f"id IN ({', '.join(map(sql_text, ids))})")
            else:
                rows = snapshot.scan(columns)
                rows = rows.filter(pc.is_in(rows["id"], pa.array(ids, pa.string())))
            places = zip(rows["position"].to_pylist(), rows["origin"].to_pylist(), strict=True)
            return dict(zip(rows["id"].to_pylist(), places, strict=True))

    def next_position(self) -> int:
        """One more than the highest position that was ever given to a document that is still there."""
        with self.guard():
            highest = pc.max(self.snapshot().scan(["position"])["position"]).as_py()
            return 0 if highest is None else highest + 1

    def write(
        self,
        documents: Sequence[Document],
        vectors: np.ndarray,
        existing: Mapping[str, int],
        *,
        origins: Sequence[str],
        embedding_hashes: Sequence[str],
        next_position: int,
    ) -> int:
        """Add documents in one commit (after commits for new columns, if need be); the next free position.

        Those whose ids `existing` maps to a position replace the ones that are there.
        """
        with self.guard():
            if not documents:
                return next_position
            metadata = [clean_metadata(document) for document in documents]
            kinds = self._widen(metadata)
            positions = np.empty(len(documents), dtype=np.int64)
            for row, document in enumerate(documents):
                place = existing.get(document.id)
                if place is None:
                    place = next_position
                    next_position += 1
                positions[row] = place
            rows = to_table(
                self.table.schema, documents, self.snapshot().vector_arrays(vectors), positions, metadata,
                filter_arrays(kinds, metadata),
                origins=origins, embedding_hashes=embedding_hashes,
            )  # fmt: skip
            if existing:
                self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
            else:
                self.table.add(rows)
            return next_position

    def _widen(self, metadata: Sequence[Any]) -> dict[str, str]:
        kinds = self.snapshot().kinds
        needed = needed_columns(kinds, metadata)
        added, computed = schema_changes(kinds, needed)
        if added:
            self.table.add_columns(added)
        if computed:
            self.table.add_columns(computed)
            self.table.drop_columns(self.snapshot().replaced_columns)
        return needed

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents by id in one commit; how many were there."""
        with self.guard():
            if not ids:
                return 0
            return int(self.table.delete(f"id IN ({', '.join(map(sql_text, ids))})").num_deleted_rows)

    def optimize(self, keep_versions: timedelta | None = None) -> None:
        """Join fragments, bring the indexes up to date, delete versions older than `keep_versions`.

        With `None` old versions go at once when nobody reads the folder, else once they are older than `KEEP_VERSIONS`.
        """
        with self.guard():
            keep = KEEP_VERSIONS if keep_versions is None else keep_versions
            self.table.optimize(cleanup_older_than=keep, delete_unverified=self.locked)
            snapshot = self.snapshot()
            if snapshot.keyword_index is None or 0 < snapshot.count <= KEYWORD_REBUILD_ROWS:
                self.build_keyword_index()
            if keep_versions is None and self.lock is not None and self.lock.path is not None:
                with nobody_reads(self.lock.path.parent) as alone:
                    if alone:
                        self.table.optimize(cleanup_older_than=timedelta(milliseconds=1), delete_unverified=True)


@contextmanager
def writing(
    path: str,
    lock: WriterLock,
    open_table: Callable[[], Any],
    language: str,
    *,
    read_only: bool,
    action: str,
    parameters: LoadParameters | None = None,
) -> Iterator[Writer]:
    """A writer at the newest version, alone; what the caller does beside writing raises its own errors."""
    if read_only:
        raise StoreError(f"{path}: was opened with read_only=True; open it without to change it")
    with lock.hold():
        with store_problems(path, action):
            writer = Writer(path, open_table(), language, action, lock.path is not None, lock, parameters)
            writer.prepare()
        yield writer
