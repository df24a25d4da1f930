"""Random walks on a graph, all cores, reproducible for a seed whatever the number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.encode.graph.checks import positive_int
from polyvec.encode.graph.products import compiled_available
from polyvec.encode.graph.streams import draw, purpose_key, resolve_seed, row_keys, unit_interval
from polyvec.encode.graph.view import Graph, as_graph


def random_walks(
    graph: Any,
    walks_per_node: int = 10,
    length: int = 80,
    seed: int | None = None,
    *,
    starts: npt.ArrayLike | None = None,
    directed: bool = False,
) -> npt.NDArray[np.int32]:
    """Walks from every node; each step goes to a neighbour with probability in proportion to the edge's weight.

    Args:
        graph: Anything `as_graph` takes.
        walks_per_node: Walks that start at each node.
        length: Nodes in a walk, the start included.
        seed: Walk w depends on `(seed, w)` alone; `None` draws a seed.
        starts: Nodes to start from; by default all, in order.
        directed: Follow the direction of edges. A walk that cannot go on is filled up with -1.

    Returns:
        int32 `(walks_per_node * starts, length)` of node numbers. The first `len(starts)` rows are the first walk of
        each start, then come the second ones, and so on.

    Raises:
        InvalidTypeError: A count that is not an int, or starts that are not integers.
        InvalidValueError: A count below 1, a start outside the graph, or whatever `as_graph` refuses.
    """
    view = as_graph(graph, directed=directed)
    repeats, steps = positive_int(walks_per_node, "walks_per_node"), positive_int(length, "length")
    begin = _checked_starts(starts, view.num_nodes)
    every = np.tile(begin, repeats)
    keys = row_keys(purpose_key(resolve_seed(seed), "walks"), np.arange(len(every)))
    out = np.empty((len(every), steps), dtype=np.int32)
    adjacency = view.adjacency
    parts = (adjacency.indptr, adjacency.indices, _running_weights(view), every, keys, out)
    if compiled_available():
        from polyvec.encode.graph import kernels

        kernels.walk(*parts)
    else:
        _walk(*parts)
    return out


def _checked_starts(starts: npt.ArrayLike | None, nodes: int) -> npt.NDArray[np.int32]:
    if starts is None:
        return np.arange(nodes, dtype=np.int32)
    begin = np.asarray(starts)
    if begin.ndim != 1 or not len(begin):
        raise InvalidValueError(f"starts: got shape {begin.shape}, needs a flat array of at least one node number")
    if begin.dtype.kind not in "iu":
        raise InvalidTypeError(
            f"starts: got elements of type {begin.dtype}, needs node numbers; see Graph.positions for names"
        )
    if begin.min() < 0 or begin.max() >= nodes:
        raise InvalidValueError(f"starts: got a node outside 0 to {nodes - 1}")
    return begin.astype(np.int32)


def _running_weights(view: Graph) -> npt.NDArray[np.float64]:
    """Running sum of all edge weights in row order; empty when all weights are equal."""
    weights = view.adjacency.data
    if not len(weights) or weights.min() == weights.max():
        return np.empty(0)
    return np.cumsum(weights, dtype=np.float64)


def _walk(
    indptr: npt.NDArray[np.integer],
    indices: npt.NDArray[np.integer],
    sums: npt.NDArray[np.float64],
    starts: npt.NDArray[np.int32],
    keys: npt.NDArray[np.uint64],
    out: npt.NDArray[np.int32],
) -> None:
    """The same walks as `kernels.walk`, one step of all walks at a time."""
    out[:] = -1
    out[:, 0] = starts
    active, node = np.arange(len(starts)), starts.astype(np.int64)
    for step in range(1, out.shape[1]):
        begin, end = indptr[node].astype(np.int64), indptr[node + 1].astype(np.int64)
        able = end > begin
        active, begin, end = active[able], begin[able], end[able]
        chance = unit_interval(draw(keys[active], step - 1))
        if len(sums):
            below = np.where(begin > 0, sums[begin - 1], 0.0)
            edge = np.searchsorted(sums, below + chance * (sums[end - 1] - below), side="right")
            edge = np.clip(edge, begin, end - 1)
        else:
            edge = begin + (chance * (end - begin)).astype(np.int64)
        node = indices[edge].astype(np.int64)
        out[active, step] = node
