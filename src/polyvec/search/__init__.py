"""Search: vectors -> neighbours. The store of documents, indexing, and search in stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.search.coded import CodedSearch as CodedSearch
    from polyvec.search.funnel import FunnelSearch as FunnelSearch
    from polyvec.search.funnel import adaptive_search as adaptive_search
    from polyvec.search.index_report import IndexReport as IndexReport
    from polyvec.search.indexing import index as index
    from polyvec.search.indexing import index_sources as index_sources
    from polyvec.search.multivector.carving import ball_carve as ball_carve
    from polyvec.search.multivector.chamfer import chamfer as chamfer
    from polyvec.search.multivector.chamfer import chamfer_matrix as chamfer_matrix
    from polyvec.search.multivector.heuristic import single_vector_candidates as single_vector_candidates
    from polyvec.search.multivector.index import MultiVectorIndex as MultiVectorIndex
    from polyvec.search.prices.listing import PriceList as PriceList
    from polyvec.search.prices.measuring import price_list as price_list
    from polyvec.search.store.hits import Hit as Hit
    from polyvec.search.store.hits import StoreStats as StoreStats
    from polyvec.search.store.store import Store as Store

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "CodedSearch": "polyvec.search.coded",
        "PriceList": "polyvec.search.prices.listing",
        "price_list": "polyvec.search.prices.measuring",
        "FunnelSearch": "polyvec.search.funnel",
        "Hit": "polyvec.search.store.hits",
        "IndexReport": "polyvec.search.index_report",
        "MultiVectorIndex": "polyvec.search.multivector.index",
        "Store": "polyvec.search.store.store",
        "StoreStats": "polyvec.search.store.hits",
        "adaptive_search": "polyvec.search.funnel",
        "ball_carve": "polyvec.search.multivector.carving",
        "chamfer": "polyvec.search.multivector.chamfer",
        "chamfer_matrix": "polyvec.search.multivector.chamfer",
        "index": "polyvec.search.indexing",
        "index_sources": "polyvec.search.indexing",
        "single_vector_candidates": "polyvec.search.multivector.heuristic",
    },
)
