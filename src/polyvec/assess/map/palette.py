"""Colours of a map: neighbours differ, also for readers with a colour deficiency, and names say the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyvec.assess.map.plane import NO_CLUSTER, Cluster, EmbeddingMap

MOST_CATEGORIES = 9
"""Categories with a colour of their own; the rarer ones share one."""
_NUMBERS_ARE_CATEGORIES = 10


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours by their role.

    Attributes:
        paper: Background.
        ink: Text.
        muted: Less important text.
        none: Points in no group, or without a value.
        hues: Colours of groups and categories.
        ramp: Part of the colour map for numbers that can be told from the background.
    """

    paper: str
    ink: str
    muted: str
    none: str
    hues: tuple[str, ...]
    ramp: tuple[float, float] = (0.0, 0.95)

    def shades(self, values: np.ndarray) -> np.ndarray:
        """Colours `(n, 4)` of numbers from 0 to 1, on a colour map that is even for all kinds of colour vision."""
        from matplotlib import colormaps

        low, high = self.ramp
        return colormaps["cividis"](low + (high - low) * values)


# Paul Tol's qualitative scheme "muted", which is made for colour deficiencies; for the dark theme lightened where a
# colour would sink into the background.
THEMES = {
    "light": Theme(
        paper="#ffffff",
        ink="#1b1f24",
        muted="#57606a",
        none="#c3c9d0",
        hues=("#332288", "#cc6677", "#117733", "#88ccee", "#aa4499", "#ddaa33", "#44aa99", "#882255", "#999933"),
    ),
    "dark": Theme(
        paper="#0f1318",
        ink="#e8ecf0",
        muted="#a3adb8",
        none="#4a535d",
        hues=("#8f86ff", "#f08a97", "#4fb874", "#9adcf5", "#d67fc9", "#ecc765", "#5fd0bd", "#d0648f", "#c4c463"),
        ramp=(0.25, 1.0),
    ),
}


@dataclass(frozen=True, slots=True)
class Coloring:
    """How the points of a map are coloured.

    Attributes:
        kind: `clusters`, `categories` or `numbers`.
        of: Number of the hue of each row, -1 for none `(n,)`; with `numbers`, a value from 0 to 1, NaN for none.
        legend: `(label, hue, count)` of each category; hue -1 is the colour for none.
        low: Smallest number.
        high: Largest number.
        name: What the values are.
    """

    kind: str
    of: np.ndarray
    legend: tuple[tuple[str, int, int], ...] = ()
    low: float = 0.0
    high: float = 0.0
    name: str = ""


def coloring(made: EmbeddingMap) -> Coloring:
    """By labels when the map has them, else by cluster."""
    if made.labels is None:
        hues = cluster_hues(made.names)
        of = np.full(len(made), -1, dtype=np.int64)
        members = made.clusters != NO_CLUSTER
        if len(hues):
            of[members] = hues[made.clusters[members]]
        return Coloring("clusters", of)
    values = made.labels
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    known = [value for value in values if value is not None]
    if len(numbers) == len(known) and len(set(numbers)) > _NUMBERS_ARE_CATEGORIES:
        return _numbers(values, made.label_name)
    return _categories(values, made.label_name)


def _categories(values: Sequence[Any], name: str) -> Coloring:
    shown = [None if value is None or value == "" else str(value) for value in values]
    counts = Counter(value for value in shown if value is not None)
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    chosen = ordered if len(ordered) <= MOST_CATEGORIES else ordered[: MOST_CATEGORIES - 1]
    hue = {value: number for number, value in enumerate(chosen)}
    of = np.array([hue.get(value, -1) if value is not None else -1 for value in shown], dtype=np.int64)
    legend = [(value, hue[value], counts[value]) for value in chosen]
    if others := len(ordered) - len(chosen):
        legend.append((f"{others} others", -1, sum(counts[value] for value in ordered[len(chosen) :])))
    if missing := len(shown) - sum(counts.values()):
        legend.append(("no value", -1, missing))
    return Coloring("categories", of, tuple(legend), name=name)


def _numbers(values: Sequence[Any], name: str) -> Coloring:
    """From the 2nd to the 98th percentile, so that one large value does not make all others look alike.

    Positive numbers that span more than a factor of 100 are coloured by their logarithm.
    """
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    numbers[~np.isfinite(numbers)] = np.nan
    if np.isnan(numbers).all():
        return Coloring("numbers", numbers, name=name)
    low, high = (float(edge) for edge in np.nanpercentile(numbers, (2, 98)))
    start, stop = low, high
    if low > 0 and high > 100 * low:
        name = f"{name} (log scale)"
        numbers, start, stop = np.log(np.maximum(numbers, low)), np.log(low), np.log(high)
    span = stop - start if stop > start else 1.0
    return Coloring("numbers", np.clip((numbers - start) / span, 0, 1), low=low, high=high, name=name)


def cluster_hues(names: Sequence[Cluster]) -> np.ndarray:
    """Number of each cluster's hue: the one least used among the clusters near it."""
    count, hues = len(names), len(THEMES["light"].hues)
    chosen = np.full(count, -1, dtype=np.int64)
    places = np.array([[cluster.x, cluster.y] for cluster in names], dtype=np.float64).reshape(count, 2)
    for number in range(count):
        cost = np.bincount(chosen[:number], minlength=hues) * 0.02
        if number:
            distance = np.linalg.norm(places[:number] - places[number], axis=1)
            np.add.at(cost, chosen[:number], np.exp(-((distance / 0.35) ** 2)))
        chosen[number] = int(np.argmin(np.round(cost, 9)))
    return chosen
