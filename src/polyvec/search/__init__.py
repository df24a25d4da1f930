"""Search: vectors -> neighbours. The store of documents, indexing, and search in stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.search.funnel import FunnelSearch as FunnelSearch
    from polyvec.search.funnel import adaptive_search as adaptive_search
    from polyvec.search.index_report import IndexReport as IndexReport
    from polyvec.search.indexing import index as index
    from polyvec.search.indexing import index_sources as index_sources
    from polyvec.search.store.hits import Hit as Hit
    from polyvec.search.store.hits import StoreStats as StoreStats
    from polyvec.search.store.store import Store as Store

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "FunnelSearch": "polyvec.search.funnel",
        "Hit": "polyvec.search.store.hits",
        "IndexReport": "polyvec.search.index_report",
        "Store": "polyvec.search.store.store",
        "StoreStats": "polyvec.search.store.hits",
        "adaptive_search": "polyvec.search.funnel",
        "index": "polyvec.search.indexing",
        "index_sources": "polyvec.search.indexing",
    },
)
