"""One file a system: the claim, the data, the baselines, the verdict; all in one run."""

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.reproduce.base import Reproduction as Reproduction
    from polyvec.reproduce.base import Run as Run
    from polyvec.reproduce.criteria import all_of as all_of
    from polyvec.reproduce.criteria import at_least as at_least
    from polyvec.reproduce.criteria import at_most as at_most
    from polyvec.reproduce.criteria import measured as measured
    from polyvec.reproduce.report import Claim as Claim
    from polyvec.reproduce.report import Report as Report
    from polyvec.reproduce.report import compare as compare
    from polyvec.reproduce.runner import committed_report as committed_report
    from polyvec.reproduce.runner import reproducible as reproducible
    from polyvec.reproduce.runner import run_reproduction as run_reproduction

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Claim": "polyvec.reproduce.report",
        "Report": "polyvec.reproduce.report",
        "Reproduction": "polyvec.reproduce.base",
        "Run": "polyvec.reproduce.base",
        "all_of": "polyvec.reproduce.criteria",
        "at_least": "polyvec.reproduce.criteria",
        "at_most": "polyvec.reproduce.criteria",
        "committed_report": "polyvec.reproduce.runner",
        "compare": "polyvec.reproduce.report",
        "measured": "polyvec.reproduce.criteria",
        "reproducible": "polyvec.reproduce.runner",
        "run_reproduction": "polyvec.reproduce.runner",
    },
)
