"""A picture of vectors: a layout in two dimensions, groups with names, as image, page or file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.assess.map.mapping import embedding_map as embedding_map
    from polyvec.assess.map.plane import NO_CLUSTER as NO_CLUSTER
    from polyvec.assess.map.plane import Cluster as Cluster
    from polyvec.assess.map.plane import EmbeddingMap as EmbeddingMap
    from polyvec.assess.map.stored import store_map as store_map

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "NO_CLUSTER": "polyvec.assess.map.plane",
        "Cluster": "polyvec.assess.map.plane",
        "EmbeddingMap": "polyvec.assess.map.plane",
        "embedding_map": "polyvec.assess.map.mapping",
        "store_map": "polyvec.assess.map.stored",
    },
)
