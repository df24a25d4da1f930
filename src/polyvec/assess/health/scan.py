"""The one pass over all rows that most checks live on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyvec.assess.blocks import check_magnitude
from polyvec.assess.health.finding import CONVENTION, Check, Example, Finding, count, percent
from polyvec.assess.health.rows import Rows, units
from polyvec.assess.moments import Moments
from polyvec.core.progress import ProgressHandle

LARGEST_GRAM = 8192
"""Widest scatter matrix that is kept (half a GiB) and largest eigenvalue problem that is solved (a minute)."""

INVALID = Check(
    key="invalid_rows",
    name="rows with NaN or infinity",
    meaning="NaN compares as false with everything: such a row is never found, and one of them spoils every mean.",
    advice="Find out where they arise (empty input, 16-bit overflow, division by a zero norm); encode them anew or "
    "drop them.",
    source=f"IEEE 754 arithmetic; zero tolerance is a {CONVENTION}",
    warn=0.0,
    bad=0.0,
)
ZERO = Check(
    key="zero_vectors",
    name="vectors of zeros",
    meaning="A vector of zeros has no direction, so no cosine: it is never similar to anything.",
    advice="Usually empty or unreadable documents; look at the ids, and leave them out or give them text.",
    source=CONVENTION,
    warn=0.0,
    bad=0.01,
    percent=True,
    of="of rows",
)


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass has seen. `rows` counts the rows without NaN and infinity; the other arrays follow them.

    Attributes:
        total: Number of rows, with those that were excluded.
        invalid: Row numbers with NaN or infinity.
        with_nan: How many of them hold NaN.
        with_infinity: How many of them hold infinity.
        rows: Row numbers that were examined.
        lengths: Their Euclidean norms.
        hashes: One 64-bit number a row; equal rows have equal numbers.
        moments: Mean and scatter, or `None` when there are too many dimensions.
        unit_sum: Sum of the unit vectors `(dim,)`.
        unit_squares: Sum of their squared elements `(dim,)`.
        lowest: Smallest value of each dimension.
        highest: Largest value of each dimension.
    """

    total: int
    invalid: np.ndarray
    with_nan: int
    with_infinity: int
    rows: np.ndarray
    lengths: np.ndarray
    hashes: np.ndarray
    moments: Moments | None
    unit_sum: np.ndarray
    unit_squares: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    @property
    def examined(self) -> int:
        """Number of rows without NaN and infinity."""
        return len(self.rows)

    @property
    def directed(self) -> int:
        """Number of examined rows that are not zeros, so that they have a direction."""
        return int(np.count_nonzero(self.lengths))


def scan(rows: Rows, handle: ProgressHandle) -> Scan:
    """Read all rows once.

    Raises:
        InvalidValueError: Magnitudes whose squares overflow float64.
    """
    dim = rows.dim
    multipliers = hash_multipliers(dim)
    moments: Moments | None = None
    unit_sum, unit_squares = np.zeros(dim), np.zeros(dim)
    lowest, highest = np.full(dim, np.inf), np.full(dim, -np.inf)
    invalid, kept_rows, lengths, hashes = [], [], [], []
    with_nan = with_infinity = 0
    for start, block in rows.blocks():
        whole = np.isfinite(block).all(axis=1)
        numbers = start + np.flatnonzero(whole)
        if len(numbers) < len(block):
            broken = block[~whole]
            invalid.append(start + np.flatnonzero(~whole))
            with_nan += int(np.isnan(broken).any(axis=1).sum())
            with_infinity += int(np.isinf(broken).any(axis=1).sum())
            largest = check_magnitude(np.where(whole[:, None], block, 0.0), "vectors", start)
            block = block[whole]
        else:
            largest = check_magnitude(block, "vectors", start)
        handle.advance(len(whole))
        if not len(block):
            continue
        unit, norms = units(block)
        kept_rows.append(numbers)
        lengths.append(norms)
        hashes.append(row_hashes(block, multipliers))
        unit_sum += unit.sum(axis=0)
        unit_squares += np.einsum("ij,ij->j", unit, unit)
        np.minimum(lowest, block.min(axis=0), out=lowest)
        np.maximum(highest, block.max(axis=0), out=highest)
        if dim <= LARGEST_GRAM:
            part = Moments.of_block(block, largest)
            if moments is None:
                moments = part
            else:
                moments.merge(part)
    return Scan(
        total=rows.count,
        invalid=np.concatenate(invalid) if invalid else np.empty(0, dtype=np.int64),
        with_nan=with_nan,
        with_infinity=with_infinity,
        rows=np.concatenate(kept_rows) if kept_rows else np.empty(0, dtype=np.int64),
        lengths=np.concatenate(lengths) if lengths else np.empty(0),
        hashes=np.concatenate(hashes) if hashes else np.empty(0, dtype=np.uint64),
        moments=moments,
        unit_sum=unit_sum,
        unit_squares=unit_squares,
        lowest=lowest,
        highest=highest,
    )


def hash_multipliers(dim: int) -> np.ndarray:
    """Fixed odd 64-bit numbers, one for each dimension, for `row_hashes`."""
    return np.random.default_rng(2019).integers(1, 2**63, size=dim, dtype=np.uint64) | np.uint64(1)


def row_hashes(block: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
    """Multilinear hash of the bits of each float64 row, after mixing high bits into low ones; -0 counts as 0."""
    words = np.ascontiguousarray(block + 0.0).view(np.uint64)
    words ^= words >> np.uint64(29)  # the sum `block + 0.0` is a fresh array, so this may be in place
    words *= np.uint64(0x9E3779B97F4A7C15)
    words ^= words >> np.uint64(32)
    return words @ multipliers


def invalid_finding(scanned: Scan, rows: Rows) -> Finding:
    """Rows with NaN or infinity."""
    found = len(scanned.invalid)
    shown = "none"
    examples: tuple[Example, ...] = ()
    if found:
        shown = f"{count(found, 'row')} ({percent(found / scanned.total)})"
        examples = (rows.example(scanned.invalid[:5], "first of them"),)
    return INVALID.found(
        found, shown, examples=examples, with_nan=scanned.with_nan, with_infinity=scanned.with_infinity
    )


def zero_finding(scanned: Scan, rows: Rows) -> Finding:
    """Vectors of zeros."""
    if not scanned.examined:
        return ZERO.missing("no row without NaN or infinity")
    zeros = scanned.rows[scanned.lengths == 0]
    share = len(zeros) / scanned.examined
    shown = f"{count(len(zeros), 'row')} ({percent(share)})" if len(zeros) else "none"
    examples = (rows.example(zeros[:5], "first of them"),) if len(zeros) else ()
    return ZERO.found(share, shown, examples=examples, rows=len(zeros))
