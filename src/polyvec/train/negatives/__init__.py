"""Negatives: where they come from and which of them are none. Miners, filters, and the vectors of a guide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.train.negatives.guide_cache import GuideCache as GuideCache

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "GuideCache": "polyvec.train.negatives.guide_cache",
    },
)
