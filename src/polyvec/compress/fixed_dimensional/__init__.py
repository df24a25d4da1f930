"""Sets of vectors to one vector each, whose inner product estimates the Chamfer (MaxSim) score of two sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.compress.fixed_dimensional.encoding import FixedDimensionalEncoding as FixedDimensionalEncoding
    from polyvec.compress.fixed_dimensional.sets import VectorSets as VectorSets

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "FixedDimensionalEncoding": "polyvec.compress.fixed_dimensional.encoding",
        "VectorSets": "polyvec.compress.fixed_dimensional.sets",
    },
)
