"""Random numbers by position: the value for (seed, purpose, row, draw) never depends on what was drawn before.

So rows can be generated in any order, by any number of threads, and for nodes that arrive later. The generator is
SplitMix64: a counter that grows by a fixed odd number, followed by a mixing function (Steele, Lea and Flood 2014,
"Fast splittable pseudorandom number generators").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from polyvec.core.randomness import check_seed

Keys = npt.NDArray[np.uint64]

STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53

PURPOSES = {"node projection": 1, "feature projection": 2, "walks": 3, "tuning": 4}


def mix(values: Keys) -> Keys:
    """SplitMix64's mixing function, element by element: a bijection of 64-bit numbers."""
    mixed = (values ^ (values >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))


def resolve_seed(seed: int | None) -> int:
    """`seed` checked; for `None` a fresh one from the operating system, so that a fit can be continued later."""
    checked = check_seed(seed)
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) if checked is None else checked


def purpose_key(seed: int, purpose: str) -> np.uint64:
    """The 64-bit key of one purpose (a key of `PURPOSES`) under one seed."""
    return np.random.SeedSequence(seed, spawn_key=(PURPOSES[purpose],)).generate_state(1, np.uint64)[0]


def row_keys(key: np.uint64, rows: npt.NDArray[np.integer]) -> Keys:
    """One independent stream for each row number."""
    return mix(key ^ mix((rows.astype(np.uint64) + np.uint64(1)) * STEP))


def draw(keys: Keys, number: int) -> Keys:
    """The draw with this number of each stream: 64 random bits."""
    return mix(keys + np.uint64((number + 1) * int(STEP) % 2**64))


def unit_interval(bits: Keys) -> npt.NDArray[np.float64]:
    """The upper 53 bits as a number in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * _TO_UNIT
