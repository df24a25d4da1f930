"""The numbers behind the charts."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyvec.assess.health.effective_rank import RankCurve
from polyvec.assess.health.hubness import FEWEST_ROWS_FOR_HUBS, occurrences
from polyvec.assess.health.neighbours import Neighbours
from polyvec.assess.health.scan import Scan

_BINS = 40


def chart_series(
    scanned: Scan,
    curve: RankCurve | None,
    neighbours: Neighbours | None,
    unit: np.ndarray,
    generator: np.random.Generator,
) -> dict[str, dict[str, list[Any]]]:
    """What the charts show, as lists; a chart without data is left out.

    Returns:
        - `rank_curve`: `rows`, `rank`.
        - `spectrum`: `singular_value`, largest first, as shares of their sum.
        - `norms`: `edges`, `rows` (outermost values counted in the outermost bins).
        - `deviations`: `standard_deviation` of each dimension, largest first.
        - `occurrences`: `times`, `rows`: how many rows occur so many times among the neighbours of others.
        - `cosines`: `edges`, `random_pairs`, `nearest` (shares).
    """
    series: dict[str, dict[str, list[Any]]] = {}
    if curve is not None:
        series["rank_curve"] = {"rows": list(curve.sizes), "rank": list(curve.ranks)}
        total = float(curve.spectrum.sum())
        if total > 0:
            series["spectrum"] = {"singular_value": (curve.spectrum / total).tolist()}
    if scanned.examined > 1:
        series["norms"] = _norms(scanned.lengths)
        if scanned.moments is not None:
            variance = np.asarray(scanned.moments.scatter).diagonal() / scanned.examined
            series["deviations"] = {"standard_deviation": np.sort(np.sqrt(variance))[::-1].tolist()}
    if neighbours is not None:
        if len(neighbours.rows) >= FEWEST_ROWS_FOR_HUBS:
            rows = np.bincount(occurrences(neighbours.nearest))
            times = np.flatnonzero(rows)
            series["occurrences"] = {"times": times.tolist(), "rows": rows[times].tolist()}
        series["cosines"] = _cosines(neighbours, unit, generator)
    return series


def _norms(lengths: np.ndarray) -> dict[str, list[Any]]:
    low, high = np.quantile(lengths, (0.001, 0.999))
    if high - low < 1e-3 * high:  # all alike: a bar, not the magnified noise of rounding
        low, high = 0.9 * low, 1.1 * high
    if high <= low:
        low, high = 0.0, 1.0
    rows, edges = np.histogram(np.clip(lengths, low, high), bins=_BINS, range=(float(low), float(high)))
    return {"edges": edges.tolist(), "rows": rows.tolist()}


def _cosines(neighbours: Neighbours, unit: np.ndarray, generator: np.random.Generator) -> dict[str, list[Any]]:
    places = generator.permutation(len(unit))
    pairs = np.einsum("ij,ij->i", unit[places], unit[np.roll(places, 1)])  # a cycle pairs no row with itself
    nearest = neighbours.cosines[:, 0]
    low = min(0.0, float(pairs.min()), float(nearest.min()))
    edges = np.linspace(low, 1.0, _BINS + 1)
    return {
        "edges": edges.tolist(),
        "random_pairs": _shares(pairs, edges),
        "nearest": _shares(nearest, edges),
    }


def _shares(values: np.ndarray, edges: np.ndarray) -> list[float]:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]
    return (counts / len(values)).tolist()
