"""Vectors to fewer bytes: truncation to a prefix, rotation, scalar, binary and product codes; cascades."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.compress.cascade import Cascade as Cascade
    from polyvec.compress.cascade import CascadeResult as CascadeResult
    from polyvec.compress.cascade import fit_cascade as fit_cascade
    from polyvec.compress.codes import Compressor as Compressor
    from polyvec.compress.fixed_dimensional.encoding import FixedDimensionalEncoding as FixedDimensionalEncoding
    from polyvec.compress.fixed_dimensional.sets import VectorSets as VectorSets
    from polyvec.compress.principal import PCA as PCA
    from polyvec.compress.product import OptimizedProductQuantizer as OptimizedProductQuantizer
    from polyvec.compress.product import ProductQuantizer as ProductQuantizer
    from polyvec.compress.scalar import HalfPrecision as HalfPrecision
    from polyvec.compress.scalar import ScalarQuantizer as ScalarQuantizer
    from polyvec.compress.signs import SignBinarizer as SignBinarizer
    from polyvec.compress.truncation import Truncate as Truncate
    from polyvec.compress.truncation import TruncatedEncoder as TruncatedEncoder
    from polyvec.compress.truncation import truncate as truncate

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Cascade": "polyvec.compress.cascade",
        "CascadeResult": "polyvec.compress.cascade",
        "FixedDimensionalEncoding": "polyvec.compress.fixed_dimensional.encoding",
        "Compressor": "polyvec.compress.codes",
        "HalfPrecision": "polyvec.compress.scalar",
        "OptimizedProductQuantizer": "polyvec.compress.product",
        "PCA": "polyvec.compress.principal",
        "ProductQuantizer": "polyvec.compress.product",
        "ScalarQuantizer": "polyvec.compress.scalar",
        "SignBinarizer": "polyvec.compress.signs",
        "Truncate": "polyvec.compress.truncation",
        "TruncatedEncoder": "polyvec.compress.truncation",
        "VectorSets": "polyvec.compress.fixed_dimensional.sets",
        "fit_cascade": "polyvec.compress.cascade",
        "truncate": "polyvec.compress.truncation",
    },
)
