"""The price list of an index, where it is kept, and taking the setting that it chose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyvec.core.errors import InvalidValueError, StoreError
from polyvec.core.registry import component
from polyvec.search.prices.listing import PriceList
from polyvec.search.prices.measuring import SAMPLE, price_list
from polyvec.search.store.encoding import encode_texts
from polyvec.search.store.opening import DERIVED_FOLDER
from polyvec.search.store.store import Store


def prices_path(store: Store) -> Path | None:
    """Where the price list of an index is kept, or `None` on object storage."""
    return None if "://" in store.path else Path(store.path) / DERIVED_FOLDER / "prices.json"


def store_price_list(
    store: Store,
    queries: Sequence[str] | Any = None,
    *,
    sample: int = SAMPLE,
    seed: int | None = 0,
    show_progress: bool | None = None,
) -> PriceList:
    """`price_list` of an index.

    Args:
        store: The index; its vectors must be whole.
        queries: Texts, which are encoded with the index's encoder, or vectors `(q, dim)`; held-out documents without.
        sample: See `price_list`.
        seed: See `price_list`.
        show_progress: See `price_list`.

    Raises:
        StoreError: The index is compressed already, or has no encoder for texts.
        InvalidValueError: See `price_list`.
    """
    snapshot = store.snapshot()
    if snapshot.info.compression is not None:
        raise StoreError(
            f"{store.path}: is shrunk already, and prices are measured against the full vectors; "
            f"first run: polyvec shrink {store.path} --undo"
        )
    fingerprint = store.encoder_fingerprint or {}
    if queries is not None and len(queries) and isinstance(queries[0], str):
        queries = encode_texts(store.encoder, list(queries), store.dim, query=True)
    measured = price_list(
        store.vectors().matrix,
        queries,
        metric=store.metric,
        sample=sample,
        seed=seed,
        matryoshka_sizes=tuple(fingerprint.get("matryoshka_sizes") or ()),
        show_progress=show_progress,
    )
    measured.store_version = snapshot.version
    return measured


def take(store: Store, prices: PriceList) -> None:
    """Rewrite the index's vectors as the chosen setting's codes; the compressors learn from all of its vectors.

    Raises:
        InvalidValueError: Nothing was chosen.
        StoreError: See `Store.shrink`.
    """
    if prices.chosen is None:
        raise InvalidValueError("prices: no setting was chosen, so there is nothing to apply; see choose()")
    chosen = prices.chosen
    made = component("transform", chosen["name"]).load()(**chosen["setting"])
    finer: Any = None
    if chosen["rescoring_name"] == "full":
        finer = "full"
    elif chosen["rescoring_name"] is not None:
        finer = component("transform", chosen["rescoring_name"]).load()(**chosen["rescoring_setting"])
    store.shrink(made, finer)
