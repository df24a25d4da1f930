"""The store: documents with their vectors on LanceDB, for dense, keyword and hybrid search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.search.store.hits import Hit as Hit
    from polyvec.search.store.hits import StoreStats as StoreStats
    from polyvec.search.store.store import Store as Store

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Hit": "polyvec.search.store.hits",
        "Store": "polyvec.search.store.store",
        "StoreStats": "polyvec.search.store.hits",
    },
)
