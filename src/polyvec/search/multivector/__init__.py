"""Search among sets of vectors: exact Chamfer (MaxSim) scores, and an index that finds candidates by single vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.search.multivector.carving import ball_carve as ball_carve
    from polyvec.search.multivector.chamfer import chamfer as chamfer
    from polyvec.search.multivector.chamfer import chamfer_matrix as chamfer_matrix
    from polyvec.search.multivector.heuristic import single_vector_candidates as single_vector_candidates
    from polyvec.search.multivector.index import MultiVectorIndex as MultiVectorIndex

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "MultiVectorIndex": "polyvec.search.multivector.index",
        "ball_carve": "polyvec.search.multivector.carving",
        "chamfer": "polyvec.search.multivector.chamfer",
        "chamfer_matrix": "polyvec.search.multivector.chamfer",
        "single_vector_candidates": "polyvec.search.multivector.heuristic",
    },
)
