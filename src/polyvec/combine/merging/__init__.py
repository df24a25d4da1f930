"""Merging: averages, sums, arcs, TIES, DARE, Fisher, RegMean, and Self Positioning, which learns its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.combine.merging.combiners import Combiner as Combiner
    from polyvec.combine.merging.combiners import LinearCombiner as LinearCombiner
    from polyvec.combine.merging.combiners import PerBlockCombiner as PerBlockCombiner
    from polyvec.combine.merging.combiners import SlerpCombiner as SlerpCombiner
    from polyvec.combine.merging.fisher import diagonal_fisher as diagonal_fisher
    from polyvec.combine.merging.in_memory import merge as merge
    from polyvec.combine.merging.methods import METHODS as METHODS
    from polyvec.combine.merging.methods import MergeMethod as MergeMethod
    from polyvec.combine.merging.on_disk import MergeReport as MergeReport
    from polyvec.combine.merging.on_disk import merge_files as merge_files
    from polyvec.combine.merging.positioning import SelfPositioning as SelfPositioning
    from polyvec.combine.merging.probe import ContrastiveProbe as ContrastiveProbe
    from polyvec.combine.merging.probe import balanced_batches as balanced_batches
    from polyvec.combine.merging.regmean import linear_grams as linear_grams
    from polyvec.combine.merging.spherical import slerp as slerp
    from polyvec.combine.merging.spherical import slerp_coefficients as slerp_coefficients

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "METHODS": "polyvec.combine.merging.methods",
        "Combiner": "polyvec.combine.merging.combiners",
        "ContrastiveProbe": "polyvec.combine.merging.probe",
        "LinearCombiner": "polyvec.combine.merging.combiners",
        "MergeMethod": "polyvec.combine.merging.methods",
        "MergeReport": "polyvec.combine.merging.on_disk",
        "PerBlockCombiner": "polyvec.combine.merging.combiners",
        "SelfPositioning": "polyvec.combine.merging.positioning",
        "SlerpCombiner": "polyvec.combine.merging.combiners",
        "balanced_batches": "polyvec.combine.merging.probe",
        "diagonal_fisher": "polyvec.combine.merging.fisher",
        "linear_grams": "polyvec.combine.merging.regmean",
        "merge": "polyvec.combine.merging.in_memory",
        "merge_files": "polyvec.combine.merging.on_disk",
        "slerp": "polyvec.combine.merging.spherical",
        "slerp_coefficients": "polyvec.combine.merging.spherical",
    },
)
