"""Whether some documents are everybody's neighbours, and others nobody's."""

from __future__ import annotations

import math

import numpy as np

from polyvec.assess.health.finding import CONVENTION, Check, Finding, count, percent
from polyvec.assess.health.neighbours import Neighbours
from polyvec.assess.health.rows import Rows

K = 10
FEWEST_ROWS_FOR_HUBS = 10 * K

SKEW = Check(
    key="hubness",
    name=f"hubness (skew of {K}-occurrence)",
    meaning=f"How unevenly rows occur among the {K} nearest neighbours of others. Hubs come up for many queries "
    "that they have nothing to do with.",
    advice="Look at the hubs (boilerplate, very short texts); subtract the mean vector, or rescale similarities "
    "locally (CSLS, mutual proximity).",
    source="measure: Radovanovic et al., Hubs in Space (2010); warn: a skewness above 1 is high (Bulmer, Principles of "
    "Statistics, 1979); bad: " + CONVENTION,
    warn=1.0,
    bad=10.0,
)
ORPHANS = Check(
    key="orphans",
    name="orphans (antihubs)",
    meaning=f"Rows that are among the {K} nearest neighbours of no other row. Search by similarity hardly ever "
    "shows them.",
    advice="As for hubness: what hubs take, orphans lack. Keyword or hybrid search finds orphans by their words.",
    source="measure: Radovanovic et al., Hubs in Space (2010); thresholds: " + CONVENTION,
    warn=0.1,
    bad=0.5,
    percent=True,
    of="of the sample",
)


def occurrences(nearest: np.ndarray) -> np.ndarray:
    """How often each of `m` rows occurs among the neighbours `(m, k)` of the others."""
    return np.bincount(nearest.ravel(), minlength=len(nearest))


def skewness(values: np.ndarray) -> float:
    """Third central moment over the cubed standard deviation; 0 when all values are equal."""
    centered = values - values.mean()
    deviation = math.sqrt(float(np.mean(centered**2)))
    return float(np.mean(centered**3)) / deviation**3 if deviation > 0 else 0.0


def hubness_findings(neighbours: Neighbours | None, available: int, rows: Rows) -> list[Finding]:
    """Skewness of the occurrences, and orphans.

    Args:
        neighbours: Neighbours within a sample of different rows, or `None`.
        available: How many rows there are to compare.
        rows: The vectors, for examples.
    """
    if neighbours is None or available < FEWEST_ROWS_FOR_HUBS:
        few = f"needs at least {FEWEST_ROWS_FOR_HUBS} different rows that are not zeros, got {available}"
        return [SKEW.missing(few), ORPHANS.missing(few)]
    times = occurrences(neighbours.nearest)
    sample = len(times)
    k = neighbours.nearest.shape[1]
    skew = skewness(times)
    hubs = np.argsort(-times, kind="stable")[:5]
    examples = tuple(
        rows.example([neighbours.rows[hub]], f"among the nearest of {times[hub]:,} of {count(sample, 'row')}")
        for hub in hubs
    )
    chance = 1 / math.sqrt(k)
    skew_finding = SKEW.found(
        skew,
        f"{skew:.2f} (drawn at random: {chance:.2f})",
        examples=examples,
        k=k,
        sample=sample,
        largest=int(times.max()),
        at_random=chance,
    )
    orphans = np.flatnonzero(times == 0)
    share = len(orphans) / sample
    orphan_finding = ORPHANS.found(
        share,
        percent(share),
        examples=(rows.example(neighbours.rows[orphans[:5]], "some of them"),) if len(orphans) else (),
        rows=len(orphans),
        sample=sample,
    )
    return [skew_finding, orphan_finding]
