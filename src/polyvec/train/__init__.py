"""How encoders learn: objectives on embeddings, heads, negatives, batches beyond memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.train import negatives as negatives
    from polyvec.train import objectives as objectives
    from polyvec.train.gradient_cache import cached_backward as cached_backward
    from polyvec.train.heads import MatryoshkaLinear as MatryoshkaLinear
    from polyvec.train.negatives.guide_cache import GuideCache as GuideCache
    from polyvec.train.negatives.mining import mine_hard_negatives as mine_hard_negatives
    from polyvec.train.objectives.candidates import same_group as same_group
    from polyvec.train.objectives.contrastive import InfoNCE as InfoNCE
    from polyvec.train.objectives.guided import GuidedContrastiveLoss as GuidedContrastiveLoss
    from polyvec.train.objectives.guided import false_negatives as false_negatives
    from polyvec.train.objectives.layer_matryoshka import LayerMatryoshkaLoss as LayerMatryoshkaLoss
    from polyvec.train.objectives.matryoshka import MatryoshkaCrossEntropy as MatryoshkaCrossEntropy
    from polyvec.train.objectives.matryoshka import MatryoshkaLoss as MatryoshkaLoss
    from polyvec.train.objectives.normalized_temperature import NTXentLoss as NTXentLoss
    from polyvec.train.objectives.prefix import prefix as prefix
    from polyvec.train.objectives.triplet import TripletLoss as TripletLoss
    from polyvec.train.objectives.triplet import mine_triplets as mine_triplets
    from polyvec.train.objectives.variance_invariance import VICRegLoss as VICRegLoss
    from polyvec.train.sizes import halving_sizes as halving_sizes

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "GuideCache": "polyvec.train.negatives.guide_cache",
        "GuidedContrastiveLoss": "polyvec.train.objectives.guided",
        "InfoNCE": "polyvec.train.objectives.contrastive",
        "LayerMatryoshkaLoss": "polyvec.train.objectives.layer_matryoshka",
        "MatryoshkaCrossEntropy": "polyvec.train.objectives.matryoshka",
        "MatryoshkaLinear": "polyvec.train.heads",
        "MatryoshkaLoss": "polyvec.train.objectives.matryoshka",
        "NTXentLoss": "polyvec.train.objectives.normalized_temperature",
        "TripletLoss": "polyvec.train.objectives.triplet",
        "VICRegLoss": "polyvec.train.objectives.variance_invariance",
        "cached_backward": "polyvec.train.gradient_cache",
        "false_negatives": "polyvec.train.objectives.guided",
        "halving_sizes": "polyvec.train.sizes",
        "mine_hard_negatives": "polyvec.train.negatives.mining",
        "mine_triplets": "polyvec.train.objectives.triplet",
        "negatives": "polyvec.train.negatives",
        "objectives": "polyvec.train.objectives",
        "prefix": "polyvec.train.objectives.prefix",
        "same_group": "polyvec.train.objectives.candidates",
    },
)
