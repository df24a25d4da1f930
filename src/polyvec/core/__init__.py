"""Vectors, protocols, errors, randomness, progress, files: what every room stands on."""

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.core.errors import PolyvecError as PolyvecError
    from polyvec.core.registry import component as component
    from polyvec.core.registry import components as components
    from polyvec.core.registry import system as system
    from polyvec.core.registry import systems as systems
    from polyvec.core.vectors import Vectors as Vectors

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "PolyvecError": "polyvec.core.errors",
        "Vectors": "polyvec.core.vectors",
        "component": "polyvec.core.registry",
        "components": "polyvec.core.registry",
        "system": "polyvec.core.registry",
        "systems": "polyvec.core.registry",
    },
)
