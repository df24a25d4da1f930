"""Whether the vectors point everywhere or crowd into a cone."""

from __future__ import annotations

import numpy as np

from polyvec.assess.health.effective_rank import FEWEST_ROWS
from polyvec.assess.health.finding import CONVENTION, Check, Finding, percent
from polyvec.assess.health.scan import Scan

MEAN_COSINE = Check(
    key="mean_cosine",
    name="mean cosine (anisotropy)",
    meaning="The mean cosine of all pairs of different rows: 0 when they point everywhere, 1 when all point the "
    "same way. High values leave little room between similar and dissimilar, and make fixed cosine thresholds "
    "meaningless.",
    advice="Ranking may still be good: compare with queries that have known answers. Subtract the mean vector (from "
    "documents and queries alike) or whiten; check pooling and the layer.",
    source="measure: Ethayarajh (2019), computed exactly from the mean unit vector; thresholds: " + CONVENTION,
    warn=0.5,
    bad=0.9,
)
COORDINATE = Check(
    key="dominant_dimension",
    name="largest share of one dimension",
    meaning="The share of the squared length of the unit vectors that one dimension holds on average. A dominant "
    "dimension decides every cosine by itself.",
    advice="Standardise the dimensions (subtract mean, divide by standard deviation) or drop the dominant one, and "
    "check that search improves.",
    source="measure: after Timkey and van Schijndel, rogue dimensions (2021); thresholds: " + CONVENTION,
    warn=0.1,
    bad=0.5,
    percent=True,
    of="beyond equal share",
)


def mean_cosine(unit_sum: np.ndarray, rows: int) -> float:
    """The mean cosine over all pairs of different rows, from the sum of the `rows` unit vectors.

    The squared length of the sum is the sum of all `rows^2` cosines, `rows` of which are those of a row with itself.
    """
    return float((unit_sum @ unit_sum - rows) / (rows * (rows - 1)))


def anisotropy_findings(scanned: Scan) -> list[Finding]:
    """Mean cosine, and the dimension with the largest share of the length."""
    rows = scanned.directed
    if rows < FEWEST_ROWS:
        few = f"needs at least {FEWEST_ROWS} rows that are not zeros, got {rows}"
        return [MEAN_COSINE.missing(few), COORDINATE.missing(few)]
    cosine = mean_cosine(scanned.unit_sum, rows)
    shares = scanned.unit_squares / rows
    dim = len(shares)
    largest = int(np.argmax(shares))
    findings = [MEAN_COSINE.found(cosine, f"{round(cosine, 3) + 0.0:.3f}", rows=rows)]
    if dim < 2:
        return [*findings, COORDINATE.missing("there is only one dimension")]
    share, equal = float(shares[largest]), 1 / dim
    findings.append(
        COORDINATE.found(
            max(0.0, (share - equal) / (1 - equal)),
            f"{percent(share)} in dimension {largest} (equal share {percent(equal)})",
            dimension=largest,
            share=share,
        )
    )
    return findings
