"""Documents that are there twice: exact copies over all rows, near-duplicates among neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from polyvec.assess.health.finding import CONVENTION, Check, Finding, count, percent
from polyvec.assess.health.neighbours import NEAR, Neighbours, References
from polyvec.assess.health.rows import Rows
from polyvec.assess.health.scan import Scan

_GATHERED = 1 << 21  # values compared at a time

COPIES = Check(
    key="exact_copies",
    name="exact copies",
    meaning="Rows whose vector equals that of an earlier row, number for number. They fill the first page with one "
    "answer.",
    advice="Same texts: remove the copies before encoding. Different texts with one vector: the encoder does not "
    "see the difference (texts cut off at its length limit, unknown words, a constant output).",
    source="all rows compared by hash, then number by number; thresholds: " + CONVENTION,
    warn=0.01,
    bad=0.2,
    percent=True,
    of="of rows",
)
NEAR_DUPLICATES = Check(
    key="near_duplicates",
    name=f"near-duplicates (cosine > {NEAR})",
    meaning="Different vectors that have another one at almost the same direction; exact copies are not counted again.",
    advice="Look at some pairs. Boilerplate and versions of one page: merge them, or show one result a group. "
    "Unlike texts: the encoder lost the difference.",
    source=f"cosine {NEAR} and thresholds: {CONVENTION}",
    warn=0.05,
    bad=0.3,
    percent=True,
    of="of different rows",
)


@dataclass(frozen=True, slots=True)
class Copies:
    """Exact copies among the examined rows.

    Attributes:
        first: Whether each examined row is the first of its kind, or zeros `(n,)`.
        groups: Row numbers of the largest groups of equal rows.
        number: How many groups there are.
    """

    first: np.ndarray
    groups: list[np.ndarray]
    number: int


def exact_copies(scanned: Scan, rows: Rows) -> Copies:
    """Find equal rows by their hashes, and confirm each by its numbers; rows of zeros are no copies of each other."""
    directed = np.flatnonzero(scanned.lengths)
    order = directed[np.argsort(scanned.hashes[directed], kind="stable")]  # stable: a group starts with its first row
    hashes = scanned.hashes[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = hashes[1:] != hashes[:-1]
    starts = np.flatnonzero(new)
    leaders = order[starts[np.cumsum(new) - 1]]
    later = np.flatnonzero(~new)
    equal = np.empty(len(later), dtype=bool)
    step = max(1, _GATHERED // rows.dim)
    for begin in range(0, len(later), step):
        part = later[begin : begin + step]
        members = rows.take(scanned.rows[order[part]])
        equal[begin : begin + step] = (members == rows.take(scanned.rows[leaders[part]])).all(axis=1)
    copies = later[equal]
    first = np.ones(scanned.examined, dtype=bool)
    first[order[copies]] = False
    chosen, sizes = np.unique(leaders[copies], return_counts=True)
    largest = chosen[np.argsort(-sizes, kind="stable")[:5]]
    groups = [
        scanned.rows[np.concatenate([[leader], np.sort(order[copies[leaders[copies] == leader]])])]
        for leader in largest
    ]
    return Copies(first, groups, len(chosen))


def copies_finding(copies: Copies, scanned: Scan, rows: Rows) -> Finding:
    """Exact copies."""
    if scanned.directed < 2:
        return COPIES.missing(f"needs at least 2 rows that are not zeros, got {scanned.directed}")
    number = int(np.count_nonzero(~copies.first))
    share = number / scanned.directed
    shown = f"{count(number, 'row')} ({percent(share)}) in {count(copies.number, 'group')}" if number else "none"
    examples = tuple(
        rows.example(group[:3], f"{count(len(group), 'equal row')}", compare=True) for group in copies.groups
    )
    return COPIES.found(share, shown, examples=examples, rows=number, groups=copies.number)


def near_within(neighbours: Neighbours, rows: Rows) -> Finding:
    """Near-duplicates when all different rows were compared with each other."""
    nearest = neighbours.cosines[:, 0]
    near = np.flatnonzero(nearest > NEAR)
    share = len(near) / len(nearest)
    pairs = {
        tuple(sorted((int(neighbours.rows[row]), int(neighbours.rows[neighbours.nearest[row, 0]])))): nearest[row]
        for row in near[np.argsort(-nearest[near], kind="stable")][:10]
    }
    examples = tuple(
        rows.example(pair, f"cosine {float(cosine):.5f}", compare=True) for pair, cosine in list(pairs.items())[:5]
    )
    shown = f"{count(len(near), 'row')} ({percent(share)})" if len(near) else "none"
    return NEAR_DUPLICATES.found(share, shown, examples=examples, rows=len(near), compared=len(nearest))


def near_of_references(references: References, numbers: np.ndarray, rows: Rows) -> Finding:
    """Near-duplicates estimated from reference rows, each of which was compared with all different rows."""
    near = np.flatnonzero(references.near)
    sample = len(numbers)
    share = len(near) / sample
    low, high = wilson_interval(len(near), sample)
    examples = tuple(
        rows.example(
            (numbers[place], references.best[place]), f"cosine {float(references.best_cosine[place]):.5f}", compare=True
        )
        for place in near[:5]
    )
    shown = f"{percent(share)} (95% interval {percent(low)} to {percent(high)}, {count(sample, 'row')} against all)"
    return NEAR_DUPLICATES.found(share, shown, examples=examples, rows=len(near), compared=sample, low=low, high=high)


def wilson_interval(hits: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval for a share of `hits` in `trials`; 95% by default."""
    share = hits / trials
    middle = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = (middle - spread) / scale if hits else 0.0
    high = (middle + spread) / scale if hits < trials else 1.0
    return low, high
