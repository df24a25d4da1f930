"""What a store is and what it answers: the half of `Store` that changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from polyvec.core.errors import InvalidTypeError, InvalidValueError, StoreError
from polyvec.data.documents import Document
from polyvec.search.store.encoding import encode_texts, encoder_from, encoder_of
from polyvec.search.store.fingerprint import check_encoder, encoder_fingerprint
from polyvec.search.store.hits import Hit, StoreStats
from polyvec.search.store.layout import StoreInfo
from polyvec.search.store.opening import Place
from polyvec.search.store.problems import store_problems
from polyvec.search.store.reading import Question, Reader
from polyvec.search.store.snapshot import Snapshot

if TYPE_CHECKING:
    from polyvec.core.vectors import Vectors

Mode = Literal["dense", "keyword", "hybrid"]


class ReadableStore:
    """Searching and reading; `Store` adds making and changing."""

    def __init__(self, place: Place, info: StoreInfo, encoder: Any, memory_limit: int) -> None:
        self._place = place
        self._info = info
        self._encoder = encoder
        self.memory_limit = memory_limit
        self._refresh_lock = threading.Lock()
        self._probe: Any = None
        self._snapshot: Snapshot | None = None
        self._listed: frozenset[str] | None = None

    # -- what it is -----------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The folder or address, as given."""
        return self._place.address

    @property
    def dim(self) -> int:
        """Dimensions of the vectors."""
        return self._info.dim

    @property
    def metric(self) -> str:
        """`cosine`, `dot` or `l2`."""
        return self._info.metric

    @property
    def encoder_fingerprint(self) -> dict[str, Any] | None:
        """The encoder that the store was made with, or `None` when vectors are given."""
        return self._info.encoder

    @property
    def encoder(self) -> Any:
        """The encoder itself; loaded by its name when none was given.

        Raises:
            StoreError: There is none, or it cannot be loaded by name.
            EncoderMismatchError: That name stands for another model today.
        """
        if self._encoder is None:
            self._encoder = encoder_from(self.path, self._info.encoder)
        return self._encoder

    @property
    def given_encoder(self) -> Any:
        """The encoder that was given or has been loaded, else `None`; loads nothing."""
        return self._encoder

    def bind(self, encoder: Any) -> None:
        """Use this encoder from now on.

        Raises:
            EncoderMismatchError: It is not the one that the store was made with.
        """
        encoder = encoder_of(encoder)
        check_encoder(self.path, self._info.encoder, encoder_fingerprint(encoder))
        if not isinstance(encoder, Mapping):
            self._encoder = encoder

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors (float32) or of their codes."""
        return self.snapshot().kept_bytes

    @property
    def compression(self) -> dict[str, Any] | None:
        """What the vectors were shrunk to (see `Store.shrink`), or `None` when they are whole."""
        return self.snapshot().info.compression

    @property
    def columns(self) -> dict[str, str]:
        """Names that filters can use, with their types (`text`, `int`, `float`, `bool`)."""
        return {name: kind for name, (_, kind) in self.snapshot().visible.items()}

    def __repr__(self) -> str:
        return f"Store({self.path!r}, dim={self.dim}, metric={self.metric!r})"

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(key) and self.reader().row_of(key) is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of memory and handles; the store may be used again, and opens them anew."""
        with self._refresh_lock:
            self._snapshot = self._probe = self._listed = None

    def snapshot(self) -> Snapshot:
        """The newest finished version. Checked at each call, which takes a fraction of a millisecond."""
        with self._refresh_lock, store_problems(self.path, "read"):
            listed = self._place.listed_versions()
            if self._snapshot is not None and listed is not None and listed == self._listed:
                return self._snapshot
            if self._probe is None:
                self._probe = self._place.open_table()
            else:
                self._probe.checkout_latest()
            if self._snapshot is None or self._snapshot.version != int(self._probe.version):
                self._snapshot = Snapshot(self._place.open_table(), self.path, self._place.parameters)
                if not self._snapshot.info.same_store(self._info):
                    raise StoreError(f"{self.path}: was replaced by another index meanwhile; open it again")
            self._listed = listed  # as it was before the newest version was looked up, so that no commit is missed
            return self._snapshot

    def reader(self) -> Reader:
        """Reads of one version; what the methods below use."""
        return Reader(self.snapshot(), self.memory_limit)

    # -- searching ------------------------------------------------------------------------------------------------

    def search(
        self,
        query: Any,
        k: int = 10,
        *,
        mode: Mode = "dense",
        where: str | None = None,
        offset: int = 0,
        vector: Any = None,
        candidates: int = 1000,
        exact: bool = False,
    ) -> list[Hit]:
        """Find documents.

        Args:
            query: A text; with `mode="dense"` also a vector `(dim,)`.
            k: Number of hits at most.
            mode: `dense` compares vectors (meaning), `keyword` ranks by BM25 over title and text (words, stemmed,
                without stop words), `hybrid` fuses both rankings by reciprocal rank: the sum of `1 / (60 + rank)`.
            where: Filter on metadata and on `id`, `title`, `text`, `source`, for example `section = 'utils' AND year >
                2019`. It is applied before ranking, so that `k` hits come whenever so many documents fulfil it.
            offset: Hits to leave out before the first: `offset=10, k=10` is the second page. Pages fit together exactly
                while the store does not change (and no approximate vector index is in use).
            vector: Vector of the query text, when it is at hand, for `dense` and `hybrid`.
            candidates: Length of each of the two rankings that `hybrid` fuses; pages end there.
            exact: Compare with all vectors even when there is a vector index.

        Returns:
            Hits, best first; equal scores in the order in which the documents came into the store.

        Raises:
            InvalidValueError: An empty query, `k` below 1, a vector of other dimensions, of zeros or with NaN, a filter
                that cannot be read or names an unknown column.
            StoreError: A text to encode and no encoder.
        """
        if mode not in ("dense", "keyword", "hybrid"):
            raise InvalidValueError(f"mode: got {mode!r}, needs dense, keyword or hybrid")
        positive_number(k, "k")
        whole_number(offset, "offset", 0)
        positive_number(candidates, "candidates")
        question = Question.of(
            query, vector, mode=mode, dim=self.dim, metric=self.metric,
            encode=lambda text: encode_texts(self.encoder, [text], self.dim, query=True)[0],
        )  # fmt: skip
        with store_problems(self.path, "search", where):
            return self.reader().search(
                question, k, mode=mode, where=where, offset=offset, candidates=candidates, exact=exact
            )

    def similar(self, key: str, k: int = 10, *, where: str | None = None, offset: int = 0) -> list[Hit]:
        """The documents nearest to one in the store, without itself.

        Raises:
            NotFoundError: There is no document with this id.
        """
        positive_number(k, "k")
        whole_number(offset, "offset", 0)
        with store_problems(self.path, "search", where):
            return self.reader().similar(key, k, where=where, offset=offset)

    # -- reading --------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Document:
        """The document with this id; `NotFoundError` when there is none."""
        with store_problems(self.path, "read"):
            return self.reader().get(key)

    def count(self, where: str | None = None) -> int:
        """Number of documents, of all or of those that fulfil a filter."""
        with store_problems(self.path, "read", where):
            return self.reader().count(where)

    def ids(self, where: str | None = None) -> list[str]:
        """Ids in the order in which the documents came."""
        with store_problems(self.path, "read", where):
            return self.reader().ids(where)

    def documents(self, where: str | None = None, *, limit: int | None = None, offset: int = 0) -> Iterator[Document]:
        """Documents in the order in which they came, read as they are asked for.

        Args:
            where: A filter.
            limit: At most so many; `None` for all.
            offset: Leave out so many first.
        """
        whole_number(offset, "offset", 0)
        if limit is not None:
            whole_number(limit, "limit", 0)
        with store_problems(self.path, "read", where):
            return self.reader().documents(where, limit, offset)

    def vectors(self, where: str | None = None, *, metadata: bool = False) -> Vectors:
        """Ids and vectors as stored, in the order in which the documents came.

        Args:
            where: A filter.
            metadata: Whether title, source and the metadata that can be filtered by come along as an Arrow table.
        """
        with store_problems(self.path, "read", where):
            return self.reader().vectors(where, metadata)

    def stats(self) -> StoreStats:
        """What the store holds and takes."""
        with store_problems(self.path, "read"):
            return self.reader().stats(self._place)


def whole_number(value: Any, name: str, least: int) -> int:
    """A whole number of at least `least`, else an error that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"{name}: got {type(value).__name__}, needs a whole number of at least {least}")
    if value < least:
        raise InvalidValueError(f"{name}: got {value}, needs at least {least}")
    return int(value)


def positive_number(value: Any, name: str) -> int:
    """A whole number of at least 1."""
    return whole_number(value, name, 1)
