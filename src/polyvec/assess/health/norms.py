"""The lengths of the vectors, and those that stand out."""

from __future__ import annotations

import numpy as np

from polyvec.assess.health.effective_rank import FEWEST_ROWS
from polyvec.assess.health.finding import CONVENTION, Check, Finding
from polyvec.assess.health.scan import Scan

SPREAD = Check(
    key="norm_spread",
    name="spread of the norms",
    meaning="Standard deviation of the Euclidean lengths over their mean. Cosine search does not care; inner "
    "product and Euclidean search favour the long or the short ones.",
    advice="Search by cosine, or normalise before storing, unless length is meant to count.",
    source=CONVENTION,
    warn=1.0,
    bad=3.0,
)


def norm_finding(scanned: Scan) -> Finding:
    """How much the lengths differ."""
    if scanned.examined < FEWEST_ROWS:
        return SPREAD.missing(f"needs at least {FEWEST_ROWS} rows, got {scanned.examined}")
    lengths = scanned.lengths
    mean = float(lengths.mean())
    if mean == 0:
        return SPREAD.missing("all vectors are zeros")
    low, median, high = (float(value) for value in np.quantile(lengths, (0.01, 0.5, 0.99)))
    spread = float(lengths.std()) / mean
    normalized = bool(np.abs(lengths - 1).max() < 1e-2)
    words = "; all of length 1" if normalized else f"; median {median:.3g}, 1% to 99%: {low:.3g} to {high:.3g}"
    return SPREAD.found(
        spread,
        f"{spread:.2g}{words}",
        mean=mean,
        median=median,
        percentile_1=low,
        percentile_99=high,
        smallest=float(lengths.min()),
        largest=float(lengths.max()),
        normalized=normalized,
    )
