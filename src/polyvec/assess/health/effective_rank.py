"""How many dimensions the vectors use, and whether there are rows enough to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from polyvec.assess.health.finding import CONVENTION, Check, Finding, count, percent
from polyvec.assess.health.rows import Rows
from polyvec.assess.health.scan import LARGEST_GRAM, Scan
from polyvec.assess.spectrum import (
    SpectrumReport,
    effective_rank,
    report_of_spectra,
    singular_values,
    spectrum_of_moments,
)

EPS = 1e-7  # RankMe's published constant
FEWEST_ROWS = 10
"""Below this, numbers about a distribution of rows say nothing."""
_LARGEST_COPY = 1 << 28  # values
_CURVE_POINTS = 8

RANK = Check(
    key="effective_rank",
    name="effective rank (RankMe)",
    meaning="About how many dimensions carry the vectors; near 1, all of them lie on one line (collapse).",
    advice="Check that the encoder was trained and loaded (collapsed training, wrong layer, wrong pooling); when "
    "one mean dominates, subtract it; when the rank is simply low, truncate with PCA: nothing is lost.",
    source="measure: Garrido et al., RankMe (2023), who give no absolute threshold; thresholds: " + CONVENTION,
    warn=0.25,
    bad=0.05,
    below=True,
    percent=True,
    of="of what min(n, d) allows",
)
GROWTH = Check(
    key="rank_growth",
    name="effective rank against n",
    meaning="How much the rank still grows when the number of rows doubles. While it grows, the rows are too few to "
    "know it, and it must not be compared with the rank of a file of another length.",
    advice="Judge the rank on more rows, and compare models at the same number of rows.",
    source="Garrido et al., RankMe (2023): the estimate needs many times more rows than dimensions; threshold: "
    + CONVENTION,
    warn=0.05,
    percent=True,
    of="growth in the last doubling",
)
LEADING = Check(
    key="leading_direction",
    name="variance in the first direction",
    meaning="The share of all variance around the mean that lies in one direction. A large one hides what else the "
    "vectors say, often word frequency or text length.",
    advice="First look at the outliers by norm, a few of which can make it. Remove the mean and the first "
    "directions (all-but-the-top) or whiten, and check on labelled queries that it helps.",
    source="measure: Mu and Viswanath, All-but-the-Top (2018); thresholds: " + CONVENTION,
    warn=0.3,
    bad=0.9,
    percent=True,
    of="beyond equal share",
)


@dataclass(frozen=True, slots=True)
class RankCurve:
    """Singular values of all rows, and the effective rank of growing random subsets.

    Attributes:
        spectrum: Singular values of the examined rows (or of `rows_used`), largest first.
        numbers: Everything `spectrum_report` says; `None` when all vectors are zeros.
        rows_used: How many rows `spectrum` is of.
        sizes: Rows of each subset, increasing.
        ranks: Effective rank of each.
        growth: Relative growth in the last doubling of the subsets, or `None`.
        doubled: Place in `sizes` of the subset that ends this doubling.
    """

    spectrum: np.ndarray
    numbers: SpectrumReport | None
    rows_used: int
    sizes: list[int]
    ranks: list[float]
    growth: float | None
    doubled: int


def rank_curve(rows: Rows, scanned: Scan, shuffled: np.ndarray) -> RankCurve | None:
    """Spectrum and rank curve, or `None` with fewer rows than `FEWEST_ROWS`.

    Args:
        rows: The vectors.
        scanned: The pass over them.
        shuffled: Row numbers of a random sample of the examined rows, in random order.
    """
    if scanned.examined < FEWEST_ROWS:
        return None
    moments = scanned.moments
    if moments is not None and scanned.examined >= rows.dim:
        used = scanned.examined
        raw, centered = spectrum_of_moments(moments, False), spectrum_of_moments(moments, True)
    else:  # the Gram matrix of the rows is the smaller one
        used = max(FEWEST_ROWS, min(scanned.examined, LARGEST_GRAM, _LARGEST_COPY // rows.dim))
        chosen = scanned.rows if used == scanned.examined else np.sort(shuffled[:used])
        used = len(chosen)
        matrix = rows.take(chosen)
        raw, centered = singular_values(matrix), singular_values(matrix, center=True)
    numbers = None
    if raw[0] > 0:
        numbers = report_of_spectra(raw, centered, n=used, dim=rows.dim, center=False, eps=EPS)
    whole = numbers["rankme"] if numbers is not None else 0.0
    sizes, ranks = _curve(rows, shuffled, used, whole)
    growth = ranks[-1] / ranks[-2] - 1 if len(ranks) > 1 and ranks[-2] > 0 else None
    doubled = len(sizes) - 1
    if used > sizes[-1]:
        sizes.append(used)
        ranks.append(whole)
    return RankCurve(raw, numbers, used, sizes, ranks, growth, doubled)


def _curve(rows: Rows, shuffled: np.ndarray, known: int, whole: float) -> tuple[list[int], list[float]]:
    """Sizes and ranks of growing parts of the sample; that of `known` rows, the whole, is known to be `whole`."""
    largest = max(FEWEST_ROWS, min(len(shuffled), _LARGEST_COPY // rows.dim))
    sizes = [largest]
    while sizes[0] // 2 >= FEWEST_ROWS and len(sizes) < _CURVE_POINTS:
        sizes.insert(0, sizes[0] // 2)
    matrix = rows.take(shuffled[:largest])
    ranks = []
    for size in sizes:
        if size == known:
            ranks.append(whole)
            continue
        values = singular_values(matrix[:size])
        ranks.append(effective_rank(values, EPS) if values[0] > 0 else 0.0)
    return sizes, ranks


def rank_findings(curve: RankCurve | None, scanned: Scan, dim: int) -> list[Finding]:
    """Effective rank, its growth with n, and the share of the first direction."""
    few = f"needs at least {FEWEST_ROWS} rows, got {scanned.examined}"
    if curve is None:
        return [RANK.missing(few), GROWTH.missing(few), LEADING.missing(few)]
    return [_rank(curve, scanned, dim), _growth(curve), _leading(curve, scanned, dim)]


def _rank(curve: RankCurve, scanned: Scan, dim: int) -> Finding:
    possible = min(curve.rows_used, dim)
    if possible < 2:
        return RANK.missing("there is only one dimension")
    if curve.numbers is None:
        return RANK.found(0.0, "0: all vectors are zeros")
    rank = curve.numbers["rankme"]
    shown = f"{rank:.1f} of {possible}"
    if curve.rows_used < scanned.examined:
        shown += f" (from {count(curve.rows_used, 'row')})"
    meaning = ""
    if curve.numbers["capped"]:
        meaning = f"There are fewer rows than dimensions ({dim}), which caps it."
    details: dict[str, Any] = {"possible": possible, **curve.numbers}
    return RANK.found((rank - 1) / (possible - 1), shown, meaning=meaning, **details)


def _growth(curve: RankCurve) -> Finding:
    if curve.growth is None:
        reason = f"needs at least {2 * FEWEST_ROWS} rows" if len(curve.sizes) < 2 else "all vectors are zeros"
        return GROWTH.missing(reason)
    doubled = curve.sizes[curve.doubled]
    return GROWTH.found(
        curve.growth, f"{100 * curve.growth:+.1f}% from {curve.sizes[curve.doubled - 1]:,} to {count(doubled, 'row')}"
    )


def _leading(curve: RankCurve, scanned: Scan, dim: int) -> Finding:
    directions = min(curve.rows_used - 1, dim)
    if directions < 2:
        return LEADING.missing("there is only one dimension")
    if curve.numbers is None or curve.numbers["nesum"] == 0:
        return LEADING.missing("all vectors are equal")
    share = 1 / curve.numbers["nesum"]
    equal = 1 / directions
    return LEADING.found(
        max(0.0, (share - equal) / (1 - equal)), f"{percent(share)} (equal share {percent(equal)})", share=share
    )
