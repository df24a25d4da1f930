"""Which compressors and settings are tried: every registered transform that has a grid."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from polyvec.core.registry import Component, components

_SHARE = re.compile(r"\d+/\d+")


@dataclass(frozen=True, slots=True)
class Setting:
    """One compressor with its arguments.

    Attributes:
        name: The component's name in the registry.
        arguments: The constructor's arguments of the setting.
        label: For people: name and arguments in a few words.
        rescores: Whether it is also tried as the finer code of a shortlist.
        component: The registry's entry.
    """

    name: str
    arguments: dict[str, Any]
    label: str
    rescores: bool
    component: Component

    def build(self) -> Any:
        """The compressor, not fitted."""
        return self.component.load()(**self.arguments)


def settings(dim: int, metric: str, seed: int | None, *, prefixes: tuple[int, ...] = ()) -> list[Setting]:
    """All settings for vectors of this width.

    A share of the dimensions becomes a whole number of eights (or a divisor of the width, for groups). `prefixes` are
    the sizes that the model was trained to be cut to; truncation to them is named so, any other is called plain.
    """
    found: dict[str, Setting] = {}
    for entry in components("transform"):
        for arguments in _grid(entry, dim, prefixes):
            accepted = inspect.signature(entry.load()).parameters
            if "seed" in accepted:
                arguments["seed"] = seed
            if metric != "cosine" and "normalize" in accepted:
                arguments["normalize"] = False
            label = _label(entry.name, arguments, prefixes)
            found.setdefault(label, Setting(entry.name, arguments, label, "rescore" in entry.tags, entry))
    return list(found.values())


def _grid(entry: Component, dim: int, prefixes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    for table in entry.grid:
        for values in itertools.product(*table.values()):
            chosen = dict(zip(table, values, strict=True))
            yield {name: _resolved(name, value, dim) for name, value in chosen.items()}
    if entry.name == "truncate":
        yield from ({"n_components": size} for size in prefixes if size < dim)


def _resolved(name: str, value: Any, dim: int) -> Any:
    if not isinstance(value, str) or not _SHARE.fullmatch(value):
        return value
    wanted = dim * Fraction(value)
    if name == "n_subvectors":  # groups of equal width
        return min((size for size in range(1, dim + 1) if dim % size == 0), key=lambda size: (abs(size - wanted), size))
    step = 8 if wanted >= 16 else 1
    return min(dim, max(1, round(wanted / step) * step))


def _label(name: str, arguments: dict[str, Any], prefixes: tuple[int, ...]) -> str:
    shown = []
    for key, value in arguments.items():
        if key in ("seed", "normalize"):
            continue
        shown.append(
            {
                "bits": f"{value} bits",
                "n_components": f"{value} dims",
                "n_subvectors": f"{value} groups",
                "rotation": f"{value} rotation",
            }.get(key, f"{key}={value}")
        )
    if name == "truncate":
        name = "matryoshka" if arguments["n_components"] in prefixes else "plain truncate"
    return " ".join([name, *([", ".join(shown)] if shown else [])])
