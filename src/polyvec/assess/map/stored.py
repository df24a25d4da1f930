"""The map of an index: made once for each version of it, and kept beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyvec.assess.map.groups import checked_count
from polyvec.assess.map.layout import Method, choose
from polyvec.assess.map.mapping import TEXT_CHARACTERS, embedding_map
from polyvec.assess.map.plane import EmbeddingMap
from polyvec.core.errors import FileProblemError, InvalidValueError, PolyvecError
from polyvec.core.progress import progress
from polyvec.core.randomness import check_seed
from polyvec.data.documents import Document

if TYPE_CHECKING:
    from polyvec.search import Store
    from polyvec.search.store.reading import Reader

MAP_FILE = Path(".polyvec", "map.arrow")
"""Where the map of an index is kept, inside its folder."""

logger = logging.getLogger("polyvec.assess")


def store_map(
    store: Store,
    *,
    method: Method = "auto",
    n_clusters: int | None = None,
    color: str | None = None,
    seed: int | None = 0,
    keep: bool = True,
    show_progress: bool | None = None,
) -> EmbeddingMap:
    """The map of all documents of an index; rows in the order of `store.ids()`.

    It is kept in the folder of the index with the version that it was made from, and read from there as long as nothing
    was written to the index since. An index that lies elsewhere than in a folder that can be written to is drawn anew
    each time.

    Args:
        store: The index.
        method: As for `embedding_map`; a kept map that was made by this method or with this argument is used.
        n_clusters: As for `embedding_map`.
        color: Column of the index (see `Store.columns`) whose values become the map's labels.
        seed: As for `embedding_map`. With `None` the map is neither read nor kept.
        keep: Whether a kept map may be used, and a new one is kept.
        show_progress: As for `polyvec.core.progress.progress`.

    Raises:
        InvalidValueError: The index is empty; an unknown column or method.
    """
    seed, n_clusters = check_seed(seed), checked_count(n_clusters)
    choose(method, 0)
    reader = store.reader()  # one version of the index, whatever is written meanwhile
    if color is not None:
        _column(reader, color)
    if not reader.snapshot.count:
        raise InvalidValueError(
            f"{store.path}: holds no documents, so there is nothing to draw; add some with polyvec index"
        )
    made_from = {
        "version": reader.snapshot.version,
        "created": reader.snapshot.info.created,
        "asked": method,
        "n_clusters": n_clusters,
        "seed": seed,
    }
    place = kept_map_path(store) if keep and seed is not None else None
    made = None if place is None else _kept(place, made_from, method)
    if made is None:
        made = _drawn(store, reader, made_from, show_progress)
        if place is not None:
            try:
                made.save(place)
            except FileProblemError as error:
                logger.info("the map is not kept: %s", error)
    if color is None:
        return made
    return made.with_labels(reader.in_order([_column(reader, color)], None)[_column(reader, color)], color)


def kept_map_path(store: Store) -> Path | None:
    """Where the map of an index is kept, or `None` when the index is not in a folder."""
    return None if "://" in store.path else Path(store.path).expanduser().absolute() / MAP_FILE


def _kept(place: Path, made_from: dict[str, Any], method: str) -> EmbeddingMap | None:
    """The kept map when it was made from the same, else `None`."""
    if not place.exists():
        return None
    try:
        found = EmbeddingMap.load(place)
    except PolyvecError as error:
        logger.info("the map is drawn anew: %s", error)
        return None
    same = all(found.made_from.get(key) == value for key, value in made_from.items() if key != "asked")
    return found if same and method in (found.method, found.made_from.get("asked")) else None


def _drawn(store: Store, reader: Reader, made_from: dict[str, Any], show_progress: bool | None) -> EmbeddingMap:
    from dataclasses import replace

    vectors = reader.vectors(None, False)
    fingerprint = store.encoder_fingerprint
    with progress("reading documents", len(vectors), show=show_progress) as handle:
        documents = []
        for document in _beginnings(reader):
            documents.append(document)
            handle.advance()
    made = embedding_map(
        vectors,
        documents,
        method=made_from["asked"],
        n_clusters=made_from["n_clusters"],
        metric="l2" if store.metric == "l2" else "cosine",
        seed=made_from["seed"],
        name=Path(store.path).name or store.path,
        encoder="" if fingerprint is None else str(fingerprint.get("name", "")).rstrip("/").rpartition("/")[2],
        show_progress=show_progress,
    )
    return replace(made, made_from=made_from)


def _beginnings(reader: Reader) -> Iterator[Document]:
    """Documents in the order of their vectors, without what the map does not read."""
    for document in reader.documents(None, None, 0):
        yield Document(document.id, document.text[:TEXT_CHARACTERS], document.title)


def _column(reader: Reader, name: str) -> str:
    """The stored column of a name that the user sees."""
    visible = {key: column for key, (column, _) in reader.snapshot.visible.items() if key not in ("id", "text")}
    if name not in visible:
        raise InvalidValueError(f"color: {reader.snapshot.path} has no column {name!r}; it has {', '.join(visible)}")
    return visible[name]
