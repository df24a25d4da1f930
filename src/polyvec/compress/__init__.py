"""Vectors to fewer bytes: truncation to a prefix, and a rule that chooses the prefix for each item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.compress.cascade import Cascade as Cascade
    from polyvec.compress.cascade import CascadeResult as CascadeResult
    from polyvec.compress.cascade import fit_cascade as fit_cascade
    from polyvec.compress.truncation import Truncate as Truncate
    from polyvec.compress.truncation import TruncatedEncoder as TruncatedEncoder
    from polyvec.compress.truncation import truncate as truncate

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Cascade": "polyvec.compress.cascade",
        "CascadeResult": "polyvec.compress.cascade",
        "Truncate": "polyvec.compress.truncation",
        "TruncatedEncoder": "polyvec.compress.truncation",
        "fit_cascade": "polyvec.compress.cascade",
        "truncate": "polyvec.compress.truncation",
    },
)
