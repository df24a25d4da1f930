"""Cells of space and what lies in them: SimHash numbers, sums over cells, the nearest vector of each empty cell.

Nothing here ever holds an array of (vectors x cells x dimensions): the sums are one sparse product, and the nearest
vectors of all cells come from one pass over each bit.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

_FAR = 26  # bits of a key that hold the vector's number; the distance, at most 24, stands above them
MOST_VECTORS = 1 << _FAR
"""Vectors that one call of `nearest_vectors` can tell apart."""


def cell_numbers(
    bits: Bool[np.ndarray, "vectors all_bits"], repetitions: int
) -> Int[np.ndarray, "vectors repetitions"]:
    """The bits of each repetition read as a number: `(vectors, repetitions)`, from 0 to 2^bits - 1."""
    width = bits.shape[1] // repetitions
    if width == 0:
        return np.zeros((len(bits), repetitions), dtype=np.int64)
    weights = np.zeros((bits.shape[1], repetitions), dtype=np.float32)
    weights[np.arange(bits.shape[1]), np.arange(bits.shape[1]) // width] = np.tile(
        np.float32(2) ** np.arange(width, dtype=np.float32), repetitions
    )
    return (bits.astype(np.float32) @ weights).astype(np.int64)  # exact: float32 holds whole numbers up to 2^24


def sum_over_cells(
    table: Float[np.ndarray, "rows d"], place: Int[np.ndarray, "vectors repetitions"], count: int
) -> Float[np.ndarray, "count d"]:
    """Sums of the rows of `table` by their place, `(count, d)`.

    Args:
        table: Either one row for each vector, which then goes to all its places, or one row for each vector and
            repetition, vector by vector.
        place: Where each vector goes in each repetition, from 0 to `count` - 1.
        count: Number of places.
    """
    from scipy.sparse import csc_matrix

    shared = place.shape[1] if len(table) == len(place) else 1
    columns = np.arange(0, place.size + 1, shared, dtype=np.int32)
    ones = np.ones(place.size, dtype=table.dtype)
    indicator = csc_matrix((ones, place.reshape(-1).astype(np.int32), columns), shape=(count, len(table)))
    return indicator @ table


def nearest_vectors(
    place: Int[np.ndarray, "vectors repetitions"], groups: int, bits: int
) -> Int[np.ndarray, "groups cells"]:
    """For each cell of each group, the first of the group's vectors whose cell differs from it in the fewest bits.

    A group is one set in one repetition; its cells are the places `group * 2^bits` and on. The Hamming distance is a
    sum over bits, so one pass over each bit finds all minima exactly, whatever the number of vectors. Of vectors that
    are equally near the one with the smallest number is taken.

    Args:
        place: Group and cell of each vector in each repetition. Each group holds at least one vector.
        groups: Number of groups.
        bits: Bits of a cell's number.
    """
    cells = 1 << bits
    step = np.int32(1 << _FAR)
    key = np.full(groups * cells, (bits + 1) << _FAR, dtype=np.int32)
    numbers = np.repeat(np.arange(len(place), dtype=np.int32), place.shape[1])
    key[place.reshape(-1)[::-1]] = numbers[
        ::-1
    ]  # where a place comes twice the last assignment stays: the first vector
    for bit in range(bits):
        pairs = key.reshape(groups, cells >> (bit + 1), 2, 1 << bit)
        low, high = pairs[:, :, 0], pairs[:, :, 1]
        before = low.copy()
        np.minimum(low, high + step, out=low)
        np.minimum(high, before + step, out=high)
    return key.reshape(groups, cells) & (step - 1)
