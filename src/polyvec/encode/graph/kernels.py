"""The compiled loops of the graph encoders (numba); `products` and `walks` choose between them and plain NumPy.

Every output row is computed by one thread in a fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from polyvec.encode.graph.compiling import compiled, prefetch

_AHEAD = 16  # edges; enough to cover a trip to memory, measured best of 4, 8, 16, 32
_TOGETHER = 16  # walks
_LINE = 64  # bytes that one prefetch brings
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


@compiled(fastmath={"reassoc", "nsz", "contract"})
def _scale_and_square(row: Any, scale: Any) -> Any:
    """Multiply `row` by `scale` in place, return its squared length; the sum may be reordered for wide registers."""
    total = row.dtype.type(0)
    for column in range(row.shape[0]):
        value = row[column] * scale
        row[column] = value
        total += value * value
    return total


@compiled()
def _add_row(out: Any, weight: Any, source: Any) -> None:
    for column in range(out.shape[0]):
        out[column] += weight * source[column]


@compiled(parallel=True, error_model="numpy", fastmath={"contract"})
def multiply(
    indptr: Any, indices: Any, weights: Any, scale: Any, blocks: Any, dense: Any, out: Any, norms: Any
) -> None:
    """`out = diag(scale) A dense` and the length of each row of it; a block of rows is one unit of parallel work."""
    width = dense.shape[1]
    step = _LINE // dense.itemsize
    edges = len(indices)
    for block in prange(len(blocks) - 1):
        for row in range(blocks[block], blocks[block + 1]):
            target = out[row]
            target[:] = 0
            edge, end = indptr[row], indptr[row + 1]
            while edge + 4 <= end:  # four neighbours at a time: a quarter of the traffic to the output row
                for ahead in range(edge + _AHEAD, min(edge + _AHEAD + 4, edges)):
                    start = np.int64(indices[ahead]) * width
                    for column in range(0, width, step):
                        prefetch(dense, start + column)
                w0, w1, w2, w3 = weights[edge], weights[edge + 1], weights[edge + 2], weights[edge + 3]
                s0, s1 = dense[np.uint64(indices[edge])], dense[np.uint64(indices[edge + 1])]
                s2, s3 = dense[np.uint64(indices[edge + 2])], dense[np.uint64(indices[edge + 3])]
                for column in range(width):
                    target[column] += (w0 * s0[column] + w1 * s1[column]) + (w2 * s2[column] + w3 * s3[column])
                edge += 4
            while edge < end:
                if edge + _AHEAD < edges:
                    start = np.int64(indices[edge + _AHEAD]) * width
                    for column in range(0, width, step):
                        prefetch(dense, start + column)
                _add_row(target, weights[edge], dense[np.uint64(indices[edge])])
                edge += 1
            norms[row] = np.sqrt(_scale_and_square(target, scale[row]))


@compiled(parallel=True, error_model="numpy", fastmath={"contract"})
def multiply_sparse(
    indptr: Any, indices: Any, weights: Any, scale: Any, blocks: Any,
    start_indptr: Any, start_indices: Any, start_values: Any, out: Any, norms: Any,
) -> None:  # fmt: skip
    """`out = diag(scale) A R` for a sparse `R` and dense `out`: work in proportion to the non-zeros that meet."""
    for block in prange(len(blocks) - 1):
        for row in range(blocks[block], blocks[block + 1]):
            target = out[row]
            target[:] = 0
            for edge in range(indptr[row], indptr[row + 1]):
                weight, neighbour = weights[edge], indices[edge]
                for entry in range(start_indptr[neighbour], start_indptr[neighbour + 1]):
                    target[start_indices[entry]] += weight * start_values[entry]
            norms[row] = np.sqrt(_scale_and_square(target, scale[row]))


@compiled(parallel=True, error_model="numpy", fastmath={"contract"})
def accumulate(out: Any, coefficients: Any, power: Any) -> None:
    """`out += diag(coefficients) power`."""
    for row in prange(out.shape[0]):
        _add_row(out[row], coefficients[row], power[row])


@compiled()
def _mixed(value: Any) -> Any:
    """SplitMix64's mixing function; the same as `streams.mix`."""
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))


@compiled()
def _neighbour(indptr: Any, indices: Any, sums: Any, node: Any, chance: Any) -> Any:
    """The neighbour at `chance` in [0, 1) of the node's total weight; -1 where there is none."""
    start, end = indptr[node], indptr[node + 1]
    if start == end:
        return -1
    if len(sums) == 0:  # all weights equal
        return indices[start + np.int64(chance * (end - start))]
    below = sums[start - 1] if start > 0 else 0.0
    wanted = below + chance * (sums[end - 1] - below)
    low, high = start, end - 1
    while low < high:  # first edge whose running sum is above `wanted`
        middle = (low + high) // 2
        if sums[middle] > wanted:
            high = middle
        else:
            low = middle + 1
    return indices[low]


@compiled(parallel=True)
def walk(indptr: Any, indices: Any, sums: Any, starts: Any, keys: Any, out: Any) -> None:
    """Fill each row of `out` with a walk; draw t of stream `keys[w]` chooses step t of walk w."""
    walks, length = out.shape
    for group in prange((walks + _TOGETHER - 1) // _TOGETHER):
        first, last = group * _TOGETHER, min((group + 1) * _TOGETHER, walks)
        for number in range(first, last):
            out[number, 0] = starts[number]
        for step in range(1, length):
            for number in range(first, last):  # steps of several walks overlap their waits for memory
                node = out[number, step - 1]
                if node >= 0:
                    bits = _mixed(keys[number] + np.uint64(step) * _STEP)
                    chance = np.float64(bits >> np.uint64(11)) * 2.0**-53
                    node = _neighbour(indptr, indices, sums, node, chance)
                out[number, step] = node
