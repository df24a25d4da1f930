"""Negatives: where they come from and which of them are none. Miners, filters, and the vectors of a guide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.train.negatives.candidates import Candidates as Candidates
    from polyvec.train.negatives.candidates import dense_candidates as dense_candidates
    from polyvec.train.negatives.candidates import keyword_candidates as keyword_candidates
    from polyvec.train.negatives.guide_cache import GuideCache as GuideCache
    from polyvec.train.negatives.mining import MinedNegatives as MinedNegatives
    from polyvec.train.negatives.mining import mine_hard_negatives as mine_hard_negatives
    from polyvec.train.negatives.mining import rescored as rescored
    from polyvec.train.negatives.mining import score_limits as score_limits
    from polyvec.train.negatives.mining import select_negatives as select_negatives

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Candidates": "polyvec.train.negatives.candidates",
        "GuideCache": "polyvec.train.negatives.guide_cache",
        "MinedNegatives": "polyvec.train.negatives.mining",
        "dense_candidates": "polyvec.train.negatives.candidates",
        "keyword_candidates": "polyvec.train.negatives.candidates",
        "mine_hard_negatives": "polyvec.train.negatives.mining",
        "rescored": "polyvec.train.negatives.mining",
        "score_limits": "polyvec.train.negatives.mining",
        "select_negatives": "polyvec.train.negatives.mining",
    },
)
