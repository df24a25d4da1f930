"""The research systems, as the API shows them: from the registry and the committed results."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from polyvec.app.server.models import SystemDetails, SystemEntry
from polyvec.core.errors import NotFoundError
from polyvec.core.registry import System, systems

_ENTRY = ("slug", "title", "full_title", "year", "place", "status")


class SystemCatalogue:
    """The systems, found by slug or by what they are about.

    Args:
        encoder: Gives the default text model when a query comes.
    """

    def __init__(self, encoder: Callable[[], Any]) -> None:
        self._encoder = encoder
        self._by_slug = {entry.slug: entry for entry in systems()}
        self._matrix: np.ndarray | None = None
        self._lock = threading.Lock()

    def get(self, slug: str) -> System:
        """The system with exactly this slug.

        Raises:
            NotFoundError: There is none.
        """
        if slug not in self._by_slug:
            raise NotFoundError(f"no system is called {slug!r}; /api/systems lists all {len(self._by_slug)}")
        return self._by_slug[slug]

    def all(self) -> list[SystemEntry]:
        """All systems, by slug."""
        return [self._entry(entry, None) for entry in self._by_slug.values()]

    def search(self, query: str) -> list[SystemEntry]:
        """All systems, the most similar to the query first."""
        encoder = self._encoder()
        with self._lock:
            if self._matrix is None:
                texts = [f"{entry.title}: {entry.full_title}\n{entry.description}" for entry in self._by_slug.values()]
                self._matrix = np.asarray(encoder.encode(texts, show_progress_bar=False))
        scores = self._matrix @ np.asarray(encoder.encode_query([query]))[0]
        entries = list(self._by_slug.values())
        return [self._entry(entries[row], float(scores[row])) for row in np.argsort(-scores, kind="stable")]

    def _entry(self, entry: System, score: float | None) -> SystemEntry:
        told = {name: getattr(entry, name) for name in _ENTRY}
        return SystemEntry(**told, verdict=verdict(entry.slug), score=score)

    def details(self, slug: str) -> SystemDetails:
        """All that is known of one."""
        entry = self.get(slug)
        report = committed(entry.slug)
        told: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(entry).items()
        }
        return SystemDetails(
            **told,
            verdict=verdict(entry.slug),
            report=report,
            plot=f"/api/systems/{entry.slug}/plot.png" if plot(entry.slug) is not None else None,
            python=example_lines(entry) if entry.status == "working" else [],
            command=f"polyvec reproduce {entry.slug}",
        )


@cache
def committed(slug: str) -> dict[str, Any] | None:
    """The committed result of a registered system, as it is in its file."""
    from polyvec.reproduce.runner import committed_report

    report = committed_report(slug)
    return None if report is None else report.to_dict()


@cache
def verdict(slug: str) -> str | None:
    """The committed verdict on a registered system, in one line."""
    from polyvec.reproduce.runner import committed_report

    report = committed_report(slug)
    return None if report is None else report.verdict


@cache
def plot(slug: str) -> bytes | None:
    """The committed plot of a registered system, as PNG."""
    from polyvec.reproduce.runner import committed_results

    folder = committed_results()
    path = folder / slug / "small.png" if folder else None
    return path.read_bytes() if path is not None and path.exists() else None


@cache
def example_lines(entry: System) -> list[str]:
    """The example in the docstring of the first part that has one, else how to import the parts; imports no method."""
    for name in entry.api:
        if lines := _documented_example(name):
            return lines
    imports = [name.rpartition(".") for name in entry.api]
    return [f"from {module} import {part}" for module, _, part in imports if module]


def _documented_example(name: str) -> list[str]:
    package, _, part = name.rpartition(".")
    path = _source(package)
    if path is None:
        return []
    for _ in range(3):  # a room's __init__ says in which module a name lives
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == part:
                examples = doctest.DocTestParser().get_examples(ast.get_docstring(node) or "")
                lines = [line for example in examples for line in example.source.splitlines()]
                imported = any(part in line and "import" in line for line in lines)
                return lines if imported or not lines else [f"from {package} import {part}", *lines]
        origin = next(
            (
                node.module
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and any(alias.name == part for alias in node.names)
            ),
            None,
        )
        path = _source(origin) if origin else None
        if path is None:
            return []
    return []


def _source(module: str) -> Path | None:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(found.origin) if found is not None and found.origin else None
