"""Objectives: `nn.Module`s that take embeddings, never models, and return a scalar, so that they compose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.train.objectives.candidates import same_group as same_group
    from polyvec.train.objectives.contrastive import InfoNCE as InfoNCE
    from polyvec.train.objectives.guided import GuidedContrastiveLoss as GuidedContrastiveLoss
    from polyvec.train.objectives.guided import false_negatives as false_negatives
    from polyvec.train.objectives.layer_matryoshka import LayerMatryoshkaLoss as LayerMatryoshkaLoss
    from polyvec.train.objectives.matryoshka import MatryoshkaCrossEntropy as MatryoshkaCrossEntropy
    from polyvec.train.objectives.matryoshka import MatryoshkaLoss as MatryoshkaLoss
    from polyvec.train.objectives.normalized_temperature import NTXentLoss as NTXentLoss
    from polyvec.train.objectives.triplet import TripletLoss as TripletLoss
    from polyvec.train.objectives.triplet import mine_triplets as mine_triplets
    from polyvec.train.objectives.variance_invariance import VICRegLoss as VICRegLoss

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "GuidedContrastiveLoss": "polyvec.train.objectives.guided",
        "InfoNCE": "polyvec.train.objectives.contrastive",
        "LayerMatryoshkaLoss": "polyvec.train.objectives.layer_matryoshka",
        "MatryoshkaCrossEntropy": "polyvec.train.objectives.matryoshka",
        "MatryoshkaLoss": "polyvec.train.objectives.matryoshka",
        "NTXentLoss": "polyvec.train.objectives.normalized_temperature",
        "TripletLoss": "polyvec.train.objectives.triplet",
        "VICRegLoss": "polyvec.train.objectives.variance_invariance",
        "false_negatives": "polyvec.train.objectives.guided",
        "mine_triplets": "polyvec.train.objectives.triplet",
        "same_group": "polyvec.train.objectives.candidates",
    },
)
