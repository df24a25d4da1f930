"""Rows that are unlike the rest: by length, and by having nobody near."""

from __future__ import annotations

import numpy as np

from polyvec.assess.health.effective_rank import FEWEST_ROWS
from polyvec.assess.health.finding import CONVENTION, Check, Finding, count, percent
from polyvec.assess.health.rows import Rows
from polyvec.assess.health.scan import Scan

_CUT = 3.5
# However alike the other rows are: a norm within 5% of the median, a cosine within 0.005 of it, is no outlier.
_NORM_ROUNDING, _COSINE_ROUNDING = 1e-2, 1e-3

_RULE = "modified z-score (median, MAD) beyond 3.5: Iglewicz and Hoaglin (1993)"

LENGTH = Check(
    key="norm_outliers",
    name="outliers by norm",
    meaning="Rows that are far longer or shorter than the others.",
    advice="Look at the ids: broken inputs, very short texts, vectors of another model or scale in the same file.",
    source=f"{_RULE}; thresholds: {CONVENTION}",
    warn=0.01,
    bad=0.1,
    percent=True,
    of="of rows",
)
LONELY = Check(
    key="lonely_rows",
    name="outliers by neighbours",
    meaning="Rows whose nearest neighbours are much farther away than those of the others.",
    advice="Look at the ids: another language, broken encoding, noise, or just the only document on its subject.",
    source=f"measure: distance to the nearest rows of a sample, Wu and Jermaine (2006); {_RULE}; thresholds: "
    f"{CONVENTION}",
    warn=0.01,
    bad=0.1,
    percent=True,
    of="of different rows",
)


def modified_z_scores(values: np.ndarray, rounding: float) -> np.ndarray:
    """`0.6745 (x - median) / MAD`, with the MAD at least `rounding`.

    Source: Iglewicz and Hoaglin, "How to detect and handle outliers" (1993).
    """
    deviations = values - np.median(values)
    spread = max(float(np.median(np.abs(deviations))), rounding)
    return 0.6745 * deviations / spread if spread > 0 else np.zeros(len(values))


def length_finding(scanned: Scan, rows: Rows) -> Finding:
    """Outliers by norm, over all rows that are not zeros (zeros are a finding of their own)."""
    numbers, lengths = scanned.rows[scanned.lengths > 0], scanned.lengths[scanned.lengths > 0]
    if len(lengths) < FEWEST_ROWS:
        return LENGTH.missing(f"needs at least {FEWEST_ROWS} rows that are not zeros, got {len(lengths)}")
    scores = modified_z_scores(lengths, _NORM_ROUNDING * float(np.median(lengths)))
    flagged = np.abs(scores) > _CUT
    top = np.argsort(-np.abs(scores), kind="stable")[:5]
    examples = tuple(
        rows.example([numbers[place]], f"norm {lengths[place]:.4g}, z {scores[place]:+.1f}")
        for place in top
        if flagged[place]
    )
    return _finding(LENGTH, flagged, examples)


def lonely_finding(numbers: np.ndarray, closeness: np.ndarray, rows: Rows, against: str) -> Finding:
    """Outliers by the mean cosine to their nearest rows.

    Args:
        numbers: Row numbers of different rows.
        closeness: Their mean cosine to their nearest others.
        rows: The vectors, for examples.
        against: Which others, for the text.
    """
    if len(numbers) < FEWEST_ROWS:
        return LONELY.missing(f"needs at least {FEWEST_ROWS} different rows that are not zeros, got {len(numbers)}")
    values = closeness.astype(np.float64)
    scores = modified_z_scores(values, _COSINE_ROUNDING)
    flagged = scores < -_CUT
    top = np.argsort(scores, kind="stable")[:5]
    examples = tuple(
        rows.example(
            [numbers[place]],
            f"mean cosine to its nearest {values[place]:.3f}, z {scores[place]:+.1f}"
            + ("" if flagged[place] else " (lowest, within the usual)"),
        )
        for place in top
    )
    return _finding(LONELY, flagged, examples, against, median=float(np.median(values)))


def _finding(check: Check, flagged: np.ndarray, examples: tuple, against: str = "", **details: float) -> Finding:
    number = int(np.count_nonzero(flagged))
    share = number / len(flagged)
    shown = f"{count(number, 'row')} ({percent(share)})" if number else "none"
    return check.found(share, shown, examples=examples, meaning=against, rows=number, **details)
