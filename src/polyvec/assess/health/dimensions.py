"""Dimensions that say nothing, or nothing new."""

from __future__ import annotations

import numpy as np

from polyvec.assess.health.effective_rank import FEWEST_ROWS
from polyvec.assess.health.finding import CONVENTION, Check, Finding
from polyvec.assess.health.scan import LARGEST_GRAM, Scan
from polyvec.assess.moments import Moments

_CONSTANT = 1e-5  # range over magnitude; some 80 steps of float32
_PERFECT = 1 - 1e-6
_COLUMNS = 1024

DEAD = Check(
    key="dead_dimensions",
    name="dead dimensions",
    meaning="Dimensions with the same value in every row: they take space and say nothing.",
    advice="Drop them. In a network of your own: dead units, or an output wider than what was trained.",
    source=f"constant up to the rounding of float32 (range below 1e-5 of the magnitude); thresholds: {CONVENTION}",
    warn=0.0,
    bad=0.1,
    percent=True,
    of="of dimensions",
)
DUPLICATE = Check(
    key="duplicate_dimensions",
    name="duplicate dimensions",
    meaning="Dimensions that repeat an earlier one, up to sign, scale and offset: they take space and say nothing new.",
    advice="Drop them, or reduce with PCA: nothing is lost. Look for vectors that were joined with themselves.",
    source=f"absolute correlation above 1 - 1e-6; thresholds: {CONVENTION}",
    warn=0.0,
    bad=0.1,
    percent=True,
    of="of dimensions",
)


def dead_dimensions(lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """Numbers of the dimensions whose range is rounding."""
    magnitude = np.maximum(np.abs(lowest), np.abs(highest))
    return np.flatnonzero(highest - lowest <= _CONSTANT * magnitude)


def duplicate_dimensions(moments: Moments, dead: np.ndarray) -> dict[int, int]:
    """For each dimension that repeats an earlier one, the first that it repeats."""
    alive = np.setdiff1d(np.arange(len(moments.mean)), dead)
    variance = np.asarray(moments.scatter).diagonal()
    alive = alive[variance[alive] > 0]
    scatter = np.asarray(moments.scatter)
    scale = 1 / np.sqrt(variance[alive])
    repeats: dict[int, int] = {}
    for start in range(0, len(alive), _COLUMNS):
        columns = alive[start : start + _COLUMNS]
        correlation = np.abs(scatter[np.ix_(alive, columns)])
        correlation *= scale[:, None]
        correlation *= scale[None, start : start + _COLUMNS]
        earlier = np.arange(len(alive))[:, None] < start + np.arange(len(columns))[None, :]
        same = (correlation >= _PERFECT) & earlier
        for column in np.flatnonzero(same.any(axis=0)):
            repeats[int(columns[column])] = int(alive[np.argmax(same[:, column])])
    return repeats


def dimension_findings(scanned: Scan, dim: int) -> list[Finding]:
    """Dead and duplicate dimensions."""
    if scanned.examined < FEWEST_ROWS:
        few = f"needs at least {FEWEST_ROWS} rows, got {scanned.examined}"
        return [DEAD.missing(few), DUPLICATE.missing(few)]
    dead = dead_dimensions(scanned.lowest, scanned.highest)
    shown = f"{len(dead):,} of {dim:,}{_listed(dead)}" if len(dead) else "none"
    findings = [DEAD.found(len(dead) / dim, shown, dimensions=dead[:100].tolist(), number=len(dead))]
    if scanned.moments is None:
        return [*findings, DUPLICATE.missing(f"more than {LARGEST_GRAM:,} dimensions")]
    repeats = duplicate_dimensions(scanned.moments, dead)
    shown = f"{len(repeats):,} of {dim:,}{_listed(np.array(sorted(repeats)))}" if repeats else "none"
    pairs = [[first, later] for later, first in sorted(repeats.items())[:100]]
    return [*findings, DUPLICATE.found(len(repeats) / dim, shown, pairs=pairs, number=len(repeats))]


def _listed(numbers: np.ndarray) -> str:
    names = ", ".join(str(number) for number in numbers[:5])
    return f" ({'number' if len(numbers) == 1 else 'numbers'} {names}{', ...' if len(numbers) > 5 else ''})"
