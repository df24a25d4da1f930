"""What polyvec consists of: the research systems and the registered components.

Both lists are TOML files beside this module, so that they can be read without importing any method. The docs, the
command line, the contract tests and the sweeps are written from them.
"""

from __future__ import annotations

import difflib
import importlib
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from polyvec.core.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class System:
    """One research system: what it is, where its parts are, what it claims."""

    slug: str
    title: str
    full_title: str
    year: int
    venue: str
    source: str
    room: str
    place: str
    status: str
    keywords: tuple[str, ...]
    description: str
    claims: tuple[str, ...]
    api: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """One registered Transform, Encoder, GraphEncoder, Index or objective.

    `target` is `module:Name`; `example` are constructor arguments that make a small instance for tests and docs. `grid`
    lists settings to try, each a table of argument -> values; every combination within a table is one setting, and a
    text such as "1/2" is that share of the vectors' dimensions. A transform with a grid is in the price list.
    """

    kind: str
    name: str
    target: str
    summary: str = ""
    example: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    grid: tuple[dict[str, list[Any]], ...] = ()

    def load(self) -> Any:
        """The class or function itself."""
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)

    def build(self, **overrides: Any) -> Any:
        """An instance with the example's arguments, changed by `overrides`."""
        return self.load()(**{**self.example, **overrides})


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("polyvec.core").joinpath(name).read_text(encoding="utf-8"))


@cache
def systems() -> tuple[System, ...]:
    """All systems, sorted by slug."""
    entries = []
    for table in _read("systems.toml")["system"]:
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
        }
        values["description"] = " ".join(values["description"].split())
        entries.append(System(**values))
    return tuple(sorted(entries, key=lambda entry: entry.slug))


def system(slug: str) -> System:
    """The system with this slug (case and surrounding blanks do not matter).

    Raises:
        NotFoundError: No such slug; the message names the nearest ones.
    """
    wanted = slug.strip().lower()
    table = {entry.slug: entry for entry in systems()}
    if wanted in table:
        return table[wanted]
    near = difflib.get_close_matches(wanted, table, n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise NotFoundError(f"no system is called {slug!r}{hint} `polyvec systems` lists all {len(table)}")


@cache
def components(kind: str | None = None) -> tuple[Component, ...]:
    """All registered components, or those of one kind: transform, encoder, graph-encoder, index, objective."""
    entries = []
    for table in _read("components.toml").get("component", []):
        values: dict[str, Any] = {
            key: tuple(value) if key in ("tags", "grid") else value for key, value in table.items()
        }
        entries.append(Component(**values))
    return tuple(entry for entry in entries if kind is None or entry.kind == kind)


def component(kind: str, name: str) -> Component:
    """The component of this kind and name.

    Raises:
        NotFoundError: No such component; the message lists the names of the kind.
    """
    for entry in components(kind):
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in components(kind)) or "none"
    raise NotFoundError(f"no {kind} is called {name!r}; known: {known}")
