"""A health report on vectors, without labels: are they sound enough to search?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.assess.health.examine import health_report as health_report
    from polyvec.assess.health.finding import Example as Example
    from polyvec.assess.health.finding import Finding as Finding
    from polyvec.assess.health.report import HealthReport as HealthReport

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Example": "polyvec.assess.health.finding",
        "Finding": "polyvec.assess.health.finding",
        "HealthReport": "polyvec.assess.health.report",
        "health_report": "polyvec.assess.health.examine",
    },
)
