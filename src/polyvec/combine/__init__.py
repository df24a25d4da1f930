"""Many models to one: task vectors and merging."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.combine.merging import ContrastiveProbe as ContrastiveProbe
    from polyvec.combine.merging import MergeReport as MergeReport
    from polyvec.combine.merging import SelfPositioning as SelfPositioning
    from polyvec.combine.merging import SlerpCombiner as SlerpCombiner
    from polyvec.combine.merging import balanced_batches as balanced_batches
    from polyvec.combine.merging import diagonal_fisher as diagonal_fisher
    from polyvec.combine.merging import linear_grams as linear_grams
    from polyvec.combine.merging import merge as merge
    from polyvec.combine.merging import merge_files as merge_files
    from polyvec.combine.merging import slerp as slerp
    from polyvec.combine.task_vectors import TaskVector as TaskVector
    from polyvec.combine.task_vectors import gram_matrix as gram_matrix

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ContrastiveProbe": "polyvec.combine.merging",
        "MergeReport": "polyvec.combine.merging",
        "SelfPositioning": "polyvec.combine.merging",
        "SlerpCombiner": "polyvec.combine.merging",
        "TaskVector": "polyvec.combine.task_vectors",
        "balanced_batches": "polyvec.combine.merging",
        "diagonal_fisher": "polyvec.combine.merging",
        "gram_matrix": "polyvec.combine.task_vectors",
        "linear_grams": "polyvec.combine.merging",
        "merge": "polyvec.combine.merging",
        "merge_files": "polyvec.combine.merging",
        "slerp": "polyvec.combine.merging",
    },
)
