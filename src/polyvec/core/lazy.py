"""Lazy module attributes (PEP 562), so that importing a package costs nothing until a name is used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from polyvec.core.errors import MissingDependencyError


def lazy_exports(
    module: str, exports: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`(__getattr__, __dir__, __all__)` for a package whose public names live in submodules.

    `exports` maps each public name to the full name of the module that defines it, or to `module:name` where it has
    another name there.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in exports:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        origin, _, attribute = exports[name].partition(":")
        value = getattr(importlib.import_module(origin), attribute or name)
        setattr(sys.modules[module], name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807
        return sorted(exports)

    return __getattr__, __dir__, sorted(exports)


def require(package: str, extra: str, purpose: str) -> Any:
    """Import an optional package, or raise `MissingDependencyError` that names the extra that brings it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if error.name and error.name.partition(".")[0] != package.partition(".")[0]:
            raise  # the package is there, something inside it is broken: show that instead
        raise MissingDependencyError(
            f"{purpose} needs the package '{package.partition('.')[0]}', which is not installed; "
            f"run: pip install 'polyvec[{extra}]'"
        ) from error
