"""What the handlers share: the index, its encoder's vectors of recent queries, and what is derived from it."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polyvec.app.server.derived import Background, Derived, Stamp, derived_folder, json_file, stamp_of
from polyvec.app.server.highlights import Highlighter
from polyvec.app.server.limits import ServerLimits
from polyvec.app.server.models import Found, FoundDocument, FullDocument
from polyvec.app.server.prices import price_list
from polyvec.app.server.problems import ApiError
from polyvec.app.server.work import Workers
from polyvec.core.errors import PolyvecError
from polyvec.search.store.encoding import encode_texts
from polyvec.search.store.reading import Reader

if TYPE_CHECKING:
    from polyvec.assess.map import EmbeddingMap
    from polyvec.data.documents import Scalar
    from polyvec.search import Hit, Store
    from polyvec.search.prices import PriceList
    from polyvec.search.store.snapshot import Snapshot

Mode = Literal["dense", "keyword", "hybrid"]

OPTIMIZE_AFTER = 64
"""Commits of this server after which the table is tidied up: each leaves a small piece, and many make reading slow."""


class QueryVectors:
    """Vectors of the most recent queries; any number of threads may ask at once."""

    def __init__(self, store: Store, size: int) -> None:
        self._store, self._size = store, size
        self._known: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self._load_lock = threading.Lock()

    def encoder(self) -> Any:
        """The index's encoder, loaded once."""
        with self._load_lock:
            return self._store.encoder

    def __getitem__(self, text: str) -> np.ndarray:
        with self._lock:
            if (found := self._known.get(text)) is not None:
                self._known.move_to_end(text)
                return found
        vector: np.ndarray = encode_texts(self.encoder(), [text], self._store.dim, query=True)[0]
        with self._lock:
            self._known[text] = vector
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return vector


class Service:
    """One index, as it is served.

    Args:
        store: The index.
        limits: Bounds.
        read_only: Refuse changes.
    """

    def __init__(self, store: Store, limits: ServerLimits, *, read_only: bool) -> None:
        self.store = store
        self.read_only = read_only
        self.workers = Workers(limits.threads, limits.requests)
        self.vectors = QueryVectors(store, limits.query_vectors)
        self.background = Background()
        self.folder = derived_folder(store.path)
        self.name = Path(store.path).name or store.path
        read, keep = json_file(self.folder / "health.json")
        self.health: Derived[dict[str, Any]] = Derived(
            "health report", compute=self._examine, read=read, keep=keep, background=self.background, steps=2
        )
        self.map: Derived[EmbeddingMap] = Derived(
            "map", compute=self._draw, read=self._read_map, keep=self._keep_map, background=self.background, steps=2
        )
        self.prices: Derived[PriceList] = price_list(self.folder, self.store, self.background)
        self._default: Any = None
        self._default_lock = threading.Lock()
        self._places: tuple[Any, dict[str, int]] = (None, {})
        self._modes: list[Mode] | None = None
        self._commits = 0
        self._commits_lock = threading.Lock()

    # -- what it can do -------------------------------------------------------------------------------------------

    def modes(self) -> list[Mode]:
        """How this index can be searched by text: without an encoder only by keywords."""
        if self._modes is None:
            try:
                self.vectors.encoder()
                self._modes = ["dense", "keyword", "hybrid"]
            except PolyvecError:
                self._modes = ["keyword"]
        return self._modes

    def default_encoder(self) -> Any:
        """The default text model, for what is not in the index: the index's own encoder where it is that."""
        from polyvec.encode.text import DEFAULT_MODEL, TextEncoder

        if "dense" in self.modes():
            own = self.vectors.encoder()
            if isinstance(own, TextEncoder) and own.name == DEFAULT_MODEL:
                return own
        with self._default_lock:
            if self._default is None:
                self._default = TextEncoder()
            return self._default

    def warm(self) -> None:
        """Load what the first search would have to wait for."""
        if "dense" in self.modes():
            self.vectors["warm"]
            snapshot = self.store.snapshot()
            if snapshot.vector_index is None and snapshot.vector_bytes <= self.store.memory_limit:
                snapshot.memory()

    def check_writable(self) -> None:
        """Raise 403 when changes are refused."""
        if self.read_only:
            raise ApiError(403, "read_only", "this index is served read-only; start polyvec serve without --read-only")

    def committed(self) -> None:
        """Count a commit; tidy up in the background after some."""
        with self._commits_lock:
            self._commits += 1
            due = self._commits >= OPTIMIZE_AFTER
            if due:
                self._commits = 0
        if due:
            self.background.start(self._optimize, "optimize")

    def _optimize(self) -> None:
        try:
            self.store.optimize()
        except PolyvecError:  # another process is writing: the next time will do
            return

    # -- searching ------------------------------------------------------------------------------------------------

    def search(self, query: str, mode: Mode, k: int, offset: int, where: str | None) -> Found:
        """Hits with snippets."""
        started = time.perf_counter()
        vector = None
        if mode != "keyword" and query.strip():
            vector = self.vectors[query]
            if self.store.metric == "cosine" and not vector.any():
                vector = None  # resembles nothing: the store finds so itself
        hits = self.store.search(query, k, mode=mode, where=where, offset=offset, vector=vector)
        return self._found(query, mode, hits, started)

    def similar(self, key: str, k: int, offset: int, where: str | None) -> Found:
        """Documents like one."""
        started = time.perf_counter()
        return self._found(None, "dense", self.store.similar(key, k, where=where, offset=offset), started)

    def _found(self, query: str | None, mode: Mode, hits: list[Hit], started: float) -> Found:
        snapshot = self.store.snapshot()
        places = self.places(snapshot)
        words = Highlighter(query or "", snapshot.info.language)
        shown = []
        for hit in hits:
            snippet, highlights = words.snippet(hit.text)
            shown.append(
                FoundDocument(
                    rank=hit.rank,
                    id=hit.id,
                    score=hit.score,
                    title=hit.title,
                    snippet=snippet,
                    highlights=highlights,
                    title_highlights=words.spans(hit.title or ""),
                    source=hit.source,
                    metadata=plain(hit.metadata),
                    point=places.get(hit.id),
                )
            )
        return Found(query=query, mode=mode, took_ms=round((time.perf_counter() - started) * 1e3, 2), hits=shown)

    def document(self, key: str) -> FullDocument:
        """A whole document."""
        found = self.store.get(key)
        return FullDocument(
            id=found.id,
            title=found.title,
            text=found.text,
            source=found.source,
            metadata=plain(found.metadata),
            point=self.places(self.store.snapshot()).get(found.id),
        )

    def places(self, snapshot: Snapshot) -> dict[str, int]:
        """The number in the map of each document, when there is a map of this version."""
        made = self.map.state(snapshot, start=False).value
        if made is None:
            return {}
        known, places = self._places
        if known is not made:
            places = {str(key): number for number, key in enumerate(made.ids)}
            self._places = (made, places)
        return places

    # -- what is derived ------------------------------------------------------------------------------------------

    def _examine(self, snapshot: Snapshot) -> dict[str, Any]:
        from polyvec.assess.health import health_report

        reader = Reader(snapshot, self.store.memory_limit)
        vectors = reader.vectors(None, False)
        report = health_report(
            vectors,
            texts=lambda ids: [reader.get(key).text for key in ids],
            name=self.name,
            show_progress=False,
        )
        return report.to_dict()

    def _draw(self, snapshot: Snapshot) -> EmbeddingMap:
        from polyvec.assess.map.stored import store_map

        return store_map(self.store, show_progress=False)

    @property
    def _map_file(self) -> Path:
        return self.folder / "map.arrow"

    def _read_map(self) -> tuple[Stamp, EmbeddingMap]:
        from polyvec.assess.map import EmbeddingMap

        made = EmbeddingMap.load(self._map_file)
        told = made.made_from
        return {"version": told["version"], "created": told["created"], "documents": len(made)}, made

    def _keep_map(self, made: EmbeddingMap, stamp: Stamp) -> None:
        from polyvec.assess.map.stored import kept_map_path

        if kept_map_path(self.store) != self._map_file:  # else it was kept where it was drawn
            made.save(self._map_file)

    def etag(self) -> str:
        """Changes with each version of the index."""
        stamp = stamp_of(self.store.snapshot())
        return f'"{stamp["version"]}-{stamp["created"]}"'.replace(" ", "")


def plain(metadata: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Metadata as JSON knows it: NaN and infinity become null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in metadata.items()
    }
