"""Vectors to judgement: how many dimensions an encoder really uses, without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.assess.health import HealthReport as HealthReport
    from polyvec.assess.health import health_report as health_report
    from polyvec.assess.lidar import lidar as lidar
    from polyvec.assess.map import EmbeddingMap as EmbeddingMap
    from polyvec.assess.map import embedding_map as embedding_map
    from polyvec.assess.rank import rankme as rankme
    from polyvec.assess.rank import roy_vetterli_rank as roy_vetterli_rank
    from polyvec.assess.selection import RankedRun as RankedRun
    from polyvec.assess.selection import effective_rank_score as effective_rank_score
    from polyvec.assess.selection import select_by_rank as select_by_rank
    from polyvec.assess.spectrum import RankCappedWarning as RankCappedWarning
    from polyvec.assess.spectrum import singular_values as singular_values
    from polyvec.assess.spectrum import spectrum_report as spectrum_report
    from polyvec.assess.streaming import RankMe as RankMe

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "EmbeddingMap": "polyvec.assess.map",
        "HealthReport": "polyvec.assess.health",
        "RankCappedWarning": "polyvec.assess.spectrum",
        "RankMe": "polyvec.assess.streaming",
        "RankedRun": "polyvec.assess.selection",
        "effective_rank_score": "polyvec.assess.selection",
        "embedding_map": "polyvec.assess.map",
        "health_report": "polyvec.assess.health",
        "lidar": "polyvec.assess.lidar",
        "rankme": "polyvec.assess.rank",
        "roy_vetterli_rank": "polyvec.assess.rank",
        "select_by_rank": "polyvec.assess.selection",
        "singular_values": "polyvec.assess.spectrum",
        "spectrum_report": "polyvec.assess.spectrum",
    },
)
