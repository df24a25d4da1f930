"""Task vectors: differences of weights, lazily read from files; add, scale, measure and keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.combine.task_vectors.checkpoint import Checkpoint as Checkpoint
    from polyvec.combine.task_vectors.checkpoint import open_checkpoint as open_checkpoint
    from polyvec.combine.task_vectors.vector import TaskVector as TaskVector
    from polyvec.combine.task_vectors.vector import gram_matrix as gram_matrix

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Checkpoint": "polyvec.combine.task_vectors.checkpoint",
        "TaskVector": "polyvec.combine.task_vectors.vector",
        "gram_matrix": "polyvec.combine.task_vectors.vector",
        "open_checkpoint": "polyvec.combine.task_vectors.checkpoint",
    },
)
