"""`Store`: documents and their vectors in a folder; make, open, change, search."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

from polyvec.core.errors import InvalidValueError, NotFoundError, StoreError
from polyvec.data.documents import Document
from polyvec.search.store import compressing, vector_index
from polyvec.search.store.encoding import encode_texts, encoder_of
from polyvec.search.store.fingerprint import encoder_fingerprint
from polyvec.search.store.layout import METRICS, TABLE, StoreInfo, new_schema
from polyvec.search.store.lock import WriterLock
from polyvec.search.store.opening import Place
from polyvec.search.store.problems import store_problems
from polyvec.search.store.readable import ReadableStore, positive_number
from polyvec.search.store.searching import MEMORY_LIMIT
from polyvec.search.store.snapshot import Snapshot
from polyvec.search.store.writing import (
    Writer,
    checked_documents,
    checked_ids,
    checked_vectors,
    embedding_hash,
    named,
    writing,
)

OnConflict = Literal["error", "replace", "skip"]


class Store(ReadableStore):
    """An index of documents: a folder (or object storage) that holds texts, metadata and vectors.

    Make one with `create`, `open` or `open_or_create`. Reads always see the newest finished commit, and one consistent
    version each, while another process writes. One process writes at a time; a second waits `lock_timeout` seconds. A
    process that is killed loses at most the commit it was in.

    The store remembers the encoder it was made with (name, checksum, dimensions, normalisation) and refuses another.

    Example:
        >>> import tempfile
        >>> store = Store.create(tempfile.mkdtemp() + "/my-index", dim=2)
        >>> store.add([Document("a", "red apple"), Document("b", "blue sky")], [[1, 0], [0, 1]])
        2
        >>> [hit.id for hit in store.search([0.9, 0.1], k=1)], [hit.id for hit in store.search("sky", mode="keyword")]
        (['a'], ['b'])
    """

    def __init__(
        self, place: Place, info: StoreInfo, encoder: Any, memory_limit: int, read_only: bool, lock: WriterLock
    ) -> None:
        super().__init__(place, info, encoder, memory_limit)
        self._read_only = read_only
        self._lock = lock

    # -- making and opening ---------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: Any = None,
        dim: int | None = None,
        metric: Literal["cosine", "dot", "l2"] = "cosine",
        language: str = "English",
        overwrite: bool = False,
        lock_timeout: float = 10.0,
        memory_limit: int = MEMORY_LIMIT,
        storage_options: Mapping[str, str] | None = None,
    ) -> Store:
        """Make an empty store.

        Args:
            path: A folder that is new or empty, or an address that LanceDB understands (`s3://bucket/index`).
            encoder: What turns texts into vectors: any object with `encode(texts)`, the name of a text model, or the
                fingerprint (a dict with `name` and `dim`) of an encoder. With neither encoder nor `dim`, the default
                text model.
            dim: Dimensions, for a store whose vectors you always give yourself.
            metric: How vectors are compared. Cosine, as text encoders are trained for it.
            language: Whose stemming and stop words keyword search uses.
            overwrite: Whether a store that is there is replaced (in one commit).
            lock_timeout: Seconds to wait for another writer.
            memory_limit: Bytes of vectors that may be kept in memory for exact search.
            storage_options: For an address: endpoint, region, credentials and timeouts by LanceDB's names, beside what
                the environment says (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, ...).

        Raises:
            StoreError: There is a store already, the folder holds other things, another process is writing.
            FileProblemError: It cannot be written there.
        """
        if metric not in METRICS:
            raise InvalidValueError(f"metric: got {metric!r}, needs one of {', '.join(METRICS)}")
        if encoder is None and dim is None:
            from polyvec.encode.text import TextEncoder

            encoder = TextEncoder()
        encoder = encoder_of(encoder)
        fingerprint = None if encoder is None else encoder_fingerprint(encoder)
        if fingerprint is not None and dim is not None and dim != fingerprint["dim"]:
            raise InvalidValueError(
                f"dim: got {dim}, but the encoder gives {fingerprint['dim']} dimensions; leave dim out"
            )
        width = fingerprint["dim"] if fingerprint is not None else positive_number(dim, "dim")
        info = StoreInfo.new(width, metric, fingerprint, language)
        place = Place(path, storage_options)
        if place.has_table():
            cls._refuse_existing(place, overwrite)
        else:
            place.make_folder()
        lock = place.writer_lock(lock_timeout)
        with store_problems(place.address, "create"), lock.hold():
            if place.has_table():  # another process may have been quicker
                cls._refuse_existing(place, overwrite)
            mode = "overwrite" if place.has_table() else "create"
            table = place.connection().create_table(TABLE, schema=new_schema(info), mode=mode)
            Writer(place.address, table, language, "create", place.folder is not None).build_keyword_index()
        return cls(place, info, None if isinstance(encoder, Mapping) else encoder, memory_limit, False, lock)

    @staticmethod
    def _refuse_existing(place: Place, overwrite: bool) -> None:
        if not overwrite:
            raise StoreError(
                f"{place}: there is an index already; open it with Store.open, or replace it with overwrite=True"
            )

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: Any = None,
        read_only: bool = False,
        lock_timeout: float = 10.0,
        memory_limit: int = MEMORY_LIMIT,
        storage_options: Mapping[str, str] | None = None,
    ) -> Store:
        """Open a store that exists.

        Args:
            path: Its folder or address.
            encoder: The encoder, when it is at hand; it must be the one the store was made with. Without, the store
                loads it by name when a text is to be encoded.
            read_only: Refuse changes.
            lock_timeout: Seconds to wait for another writer.
            memory_limit: Bytes of vectors that may be kept in memory for exact search.
            storage_options: As for `create`.

        Raises:
            StoreError: There is no store, it is damaged, or of a newer format.
            EncoderMismatchError: Another encoder.
        """
        place = Place(path, storage_options)
        place.check_readable()
        with store_problems(place.address, "open"):
            snapshot = Snapshot(place.open_table(), place.address, place.parameters)
        lock = place.writer_lock(lock_timeout)
        store = cls(place, snapshot.info, None, memory_limit, read_only, lock)
        store._snapshot = snapshot
        if encoder is not None:
            store.bind(encoder)
        return store

    @classmethod
    def open_or_create(cls, path: str | os.PathLike[str], *, encoder: Any = None, **options: Any) -> Store:
        """`open` when there is a store, else `create`; `options` are those of `create`, which an open store ignores."""
        place = Place(path, options.get("storage_options"))
        if not place.has_table():
            try:
                return cls.create(path, encoder=encoder, **options)
            except StoreError:
                if options.get("overwrite") or not place.has_table():
                    raise
                # another process was quicker
        known = {"lock_timeout", "memory_limit", "storage_options"}
        return cls.open(path, encoder=encoder, **{key: value for key, value in options.items() if key in known})

    @property
    def read_only(self) -> bool:
        """Whether changes are refused."""
        return self._read_only

    # -- changing -------------------------------------------------------------------------------------------------

    @contextmanager
    def writer(self, action: str = "write to") -> Iterator[Writer]:
        """Alone for a series of commits; what the methods below and `index_sources` use."""
        with writing(
            self.path,
            self._lock,
            self._place.open_for_writing,
            self._info.language,
            read_only=self._read_only,
            action=action,
            parameters=self._place.parameters,
        ) as writer:
            yield writer

    def add(
        self,
        documents: Iterable[Document],
        vectors: Any = None,
        *,
        on_conflict: OnConflict = "error",
        batch_size: int | None = None,
        show_progress: bool | None = None,
    ) -> int:
        """Add documents in one commit; how many were written.

        For a large collection, `index_sources` commits batch by batch and resumes.

        Args:
            documents: Documents with ids that are not in the store yet.
            vectors: Their vectors `(n, dim)`, in the same order; encoded with the store's encoder when left out.
            on_conflict: When an id is there already: `error`, `replace` the document, or `skip` the new one.
            batch_size: Passed on to the encoder.
            show_progress: Passed on to the encoder.

        Raises:
            InvalidValueError: Ids that occur twice or (`on_conflict="error"`) exist; vectors that do not fit.
            StoreError: The store is read-only, another process is writing, there is no encoder.
        """
        if on_conflict not in ("error", "replace", "skip"):
            raise InvalidValueError(f"on_conflict: got {on_conflict!r}, needs error, replace or skip")
        checked = checked_documents(documents)
        matrix = None if vectors is None else checked_vectors(vectors, len(checked), self.dim)
        with self.writer() as writer:
            existing = writer.existing([document.id for document in checked])
            if existing and on_conflict == "error":
                raise InvalidValueError(
                    f"documents: already in {self.path}: {named(list(existing))}; use upsert to replace them, or "
                    "on_conflict='skip'"
                )
            if existing and on_conflict == "skip":
                kept = [row for row, document in enumerate(checked) if document.id not in existing]
                checked = [checked[row] for row in kept]
                matrix = None if matrix is None else matrix[kept]
                existing = {}
            hashes = [""] * len(checked)  # vectors that were given are not the encoder's: never reused for a text
            if matrix is None and checked:
                options = {"batch_size": batch_size, "show_progress_bar": show_progress}
                texts = [document.embedding_text for document in checked]
                matrix = encode_texts(self.encoder, texts, self.dim, options=options)
                hashes = [embedding_hash(document) for document in checked]
            if matrix is not None:
                writer.write(
                    checked,
                    matrix,
                    {key: position for key, (position, _) in existing.items()},
                    origins=[existing.get(document.id, (0, ""))[1] for document in checked],
                    embedding_hashes=hashes,
                    next_position=writer.next_position(),
                )
        return len(checked)

    def upsert(self, documents: Iterable[Document], vectors: Any = None, **options: Any) -> int:
        """Add documents, replacing those that are there, in one commit; `options` are those of `add`."""
        return self.add(documents, vectors, on_conflict="replace", **options)

    def update(self, documents: Iterable[Document], vectors: Any = None, **options: Any) -> int:
        """Replace documents that are all in the store, in one commit; `options` are those of `add`.

        Raises:
            NotFoundError: Some are not in the store; nothing is changed.
        """
        checked = checked_documents(documents)
        with self.writer() as writer:
            existing = writer.existing([document.id for document in checked])
            if missing := [document.id for document in checked if document.id not in existing]:
                raise NotFoundError(f"documents: not in {self.path}: {named(missing)}; use upsert to add them")
            return self.add(checked, vectors, on_conflict="replace", **options)

    def delete(self, ids: Iterable[str], *, missing: Literal["error", "ignore"] = "error") -> int:
        """Delete documents by id in one commit; how many there were.

        Raises:
            NotFoundError: Some are not in the store (unless `missing="ignore"`); nothing is deleted.
        """
        if missing not in ("error", "ignore"):
            raise InvalidValueError(f"missing: got {missing!r}, needs error or ignore")
        checked = checked_ids(ids)
        with self.writer("delete from") as writer:
            existing = writer.existing(checked)
            if missing == "error" and (unknown := [key for key in checked if key not in existing]):
                raise NotFoundError(f"ids: not in {self.path}: {named(unknown)}; missing='ignore' passes over them")
            return writer.delete(list(existing))

    def optimize(self, *, keep_versions: timedelta | None = None) -> None:
        """Tidy up after many changes: join small pieces, bring the indexes up to date, free the disk.

        Args:
            keep_versions: Versions younger than this stay, for readers in other processes that are at it. Without,
                that is none when no process of this machine has the folder open for reading, else ten minutes.
        """
        with self.writer("optimize") as writer:
            writer.optimize(keep_versions)

    def build_vector_index(self, *, force: bool = False, recall: float = 0.95) -> str | None:
        """Build an approximate index of the vectors when it pays; see `vector_index.build`.

        It pays from 64 MiB of vectors on (see `vector_index.PAYS_FROM`), or from `memory_limit` where that is less:
        below, exact search in memory is as quick.

        Args:
            force: Build it in any case, and anew when there is one.
            recall: Share of the true ten nearest that it must find, measured on vectors of the store; below it the
                index is not kept.

        Returns:
            The kind of index, or `None` when search stays exact.
        """
        if not 0 < recall <= 1:
            raise InvalidValueError(f"recall: got {recall}, needs a share between 0 and 1")
        with self.writer("index") as writer, writer.guard():
            return vector_index.build(writer, self.memory_limit, force=force, recall=recall)

    def shrink(self, compressor: Any, finer: Any = None) -> None:
        """Rewrite the vectors as codes, in one commit; `undo_shrink` puts them back.

        Search, paging, filters, adding and deleting work as before: new vectors are encoded on the way in, and what
        `vectors()` and `similar` read is decoded. The full vectors stay beside the store until `finish_shrink` frees
        the disk.

        Args:
            compressor: A registered compressor (`polyvec.compress`), which learns from the store's vectors here unless
                it is fitted already.
            finer: One whose codes rank the shortlist; `"full"` for the vectors themselves; `None` for no second code.

        Raises:
            StoreError: The store is compressed already, read-only, or another process is writing.
            InvalidTypeError: A compressor that is not registered.
            InvalidValueError: The compressor cannot learn from these vectors.
        """
        from polyvec.compress.packing import registered

        for given in (compressor, finer):
            if given is not None and given != "full":
                registered(given)
        with self.writer("shrink") as writer:
            if writer.snapshot().info.compression is None:
                matrix = self.vectors().matrix
                compressor, finer = (self._fitted(given, matrix) for given in (compressor, finer))
            compressing.compress(writer, self._place, compressor, finer)

    @staticmethod
    def _fitted(compressor: Any, matrix: Any) -> Any:
        if compressor is None or isinstance(compressor, str) or getattr(compressor, "n_features_in_", None) is not None:
            return compressor
        return compressor.fit(matrix)

    def undo_shrink(self) -> tuple[int, int]:
        """Put the full vectors back, in one commit.

        Returns:
            How many vectors came back exactly, and how many documents, added or changed since, keep the vectors that
            their codes decode to (the next `polyvec index` of their sources encodes them anew).

        Raises:
            StoreError: The store is not compressed, or `finish_shrink` gave the vectors up.
        """
        with self.writer("undo the shrinking of") as writer:
            return compressing.restore(writer, self._place)

    def finish_shrink(self) -> None:
        """Give up the full vectors and free the disk; there is no `undo_shrink` after that.

        Raises:
            StoreError: The store is not compressed.
        """
        with self.writer("finish the shrinking of") as writer:
            self.close()  # what this object has open is no reason to keep old versions
            compressing.finish(writer, self._place)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Copy the store to another folder, which must not exist, as one consistent version.

        Raises:
            StoreError: The folder exists, or the store is not in a folder.
        """
        self._place.copy_to(path, self._lock)
