"""The one view of a graph that every graph encoder works on: a checked sparse adjacency and the names of the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFoundError
from polyvec.encode.graph.sources import Parts, edge_parts, parts_of

_SYMMETRY_TOLERANCE = 1e-5  # float32 sums of duplicate edges may differ in the last bits
_MOST_NODES = 2**31 - 1


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A graph with weighted edges, ready for computing.

    Args:
        adjacency: `(nodes, nodes)` CSR, float32, sorted columns, no duplicates, no explicit zeros, no negative weights.
            An undirected graph stores both directions of an edge; a self-loop is one entry.
        names: The nodes' own names in row order, or `None` when they are just numbered.
        directed: Whether the direction of edges matters; when `False` the adjacency is symmetric.

    Build it with `as_graph` or `Graph.from_edges`; both check what this class promises.
    """

    adjacency: sp.csr_array
    names: Sequence[Any] | None = None
    directed: bool = False

    @classmethod
    def from_edges(
        cls,
        sources: npt.ArrayLike,
        targets: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        *,
        num_nodes: int | None = None,
        directed: bool = False,
        duplicates: str = "sum",
    ) -> Self:
        """A graph from arrays of edges, one element an edge.

        Args:
            sources: Where edges start: node numbers, or names (strings) that are numbered in sorted order.
            targets: Where edges end; the same kind as `sources`.
            weights: Edge weights; `None` counts each edge as 1.
            num_nodes: Number of nodes where nodes are numbered; by default the largest number plus one.
            directed: When `False` (default) an edge counts in both directions, and `(a, b)` and `(b, a)` are
                duplicates.
            duplicates: What becomes of edges that occur several times: their weights are added (`"sum"`, as scipy and
                networkx do), the largest is kept (`"max"`), or they are refused (`"error"`).

        Raises:
            InvalidTypeError: Node numbers that are not integers, or a mixture of names and numbers.
            InvalidValueError: Arrays of different lengths, no edges and no `num_nodes`, a node outside the range, a bad
                weight.
        """
        return cls(*_checked(edge_parts(sources, targets, weights, num_nodes, directed, duplicates), directed))

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return int(self.adjacency.shape[0])

    @property
    def num_edges(self) -> int:
        """Number of edges; each pair counts once when the graph is undirected (a self-loop counts once)."""
        stored = int(self.adjacency.nnz)
        if self.directed:
            return stored
        loops = int(np.count_nonzero(self.adjacency.diagonal()))
        return (stored - loops) // 2 + loops

    def out_weights(self) -> npt.NDArray[np.float64]:
        """Sum of the weights of each node's (outgoing) edges: the degree, when unweighted."""
        sums = np.zeros(self.num_nodes)
        starts = self.adjacency.indptr[:-1]
        filled = np.diff(self.adjacency.indptr) > 0
        if filled.any():
            sums[filled] = np.add.reduceat(self.adjacency.data, starts[filled], dtype=np.float64)
        return sums

    def in_weights(self) -> npt.NDArray[np.float64]:
        """Sum of the weights of the edges that end at each node; the same as `out_weights` when undirected."""
        if not self.directed:
            return self.out_weights()
        counts = np.bincount(self.adjacency.indices, weights=self.adjacency.data, minlength=self.num_nodes)
        return counts.astype(np.float64, copy=False)

    def symmetrized(self) -> Graph:
        """The undirected graph that has an edge wherever this one has one in some direction, with the larger weight."""
        if not self.directed:
            return self
        both = sp.csr_array(self.adjacency.maximum(self.adjacency.T))
        both.sort_indices()
        return Graph(both, self.names, False)

    def largest_component(self) -> tuple[Graph, npt.NDArray[np.int64]]:
        """The largest (weakly) connected part, and the positions of its nodes in this graph."""
        _, labels = sp.csgraph.connected_components(self.adjacency, directed=self.directed, connection="weak")
        kept = np.flatnonzero(labels == np.argmax(np.bincount(labels)))
        part = sp.csr_array(self.adjacency[kept][:, kept])
        part.sort_indices()
        names = None if self.names is None else [self.names[position] for position in kept.tolist()]
        return Graph(part, names, self.directed), kept

    def positions(self, names: Iterable[Any]) -> npt.NDArray[np.int64]:
        """The rows of the nodes with these names.

        Raises:
            NotFoundError: The nodes have no names, or one is not among them.
        """
        if self.names is None:
            raise NotFoundError("names: the nodes of this graph have no names, only numbers")
        known = {name: position for position, name in enumerate(self.names)}
        try:
            return np.array([known[name] for name in names], dtype=np.int64)
        except KeyError as error:
            raise NotFoundError(f"names: no node is called {error.args[0]!r}") from error


def as_graph(graph: Any, *, directed: bool | None = False) -> Graph:
    """The checked view of anything that holds a graph.

    Args:
        graph: A scipy sparse matrix or array (any format, square), a networkx graph, a PyTorch Geometric `Data`, a
            graph of the catalogue (`GraphData`), a tuple `(sources, targets)` or `(sources, targets, weights)` of edge
            arrays, or a `Graph`. Integer weights become float32, duplicate entries are added up, explicit zeros are
            dropped; the caller's object is never changed.
        directed: `False` (default) demands a symmetric graph, `True` takes any, `None` takes any and finds out which it
            is.

    Raises:
        InvalidTypeError: Not a graph, or weights that are not real numbers.
        InvalidValueError: Not square, no nodes, negative or non-finite weights, or a directed graph where
            `directed=False`.
    """
    if isinstance(graph, Graph):
        if graph.directed and directed is False:
            raise _not_symmetric("graph: got a directed Graph")
        return graph
    matrix, names, declared = _checked(parts_of(graph, directed), directed)
    return Graph(matrix, names, declared)


def _not_symmetric(what: str) -> InvalidValueError:
    return InvalidValueError(
        f"{what}, needs an undirected one; pass directed=True to follow the edges' direction, "
        "or symmetrise first: adjacency.maximum(adjacency.T)"
    )


def _checked(parts: Parts, directed: bool | None) -> tuple[sp.csr_array, Sequence[Any] | None, bool]:
    """The matrix in the form `Graph` promises, the names, and whether the graph is directed."""
    matrix = parts.matrix
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InvalidValueError(f"graph: got an adjacency of shape {matrix.shape}, needs a square one (nodes, nodes)")
    nodes = matrix.shape[0]
    if not 0 < nodes <= _MOST_NODES:
        raise InvalidValueError(f"graph: got {nodes} nodes, needs 1 to {_MOST_NODES}")
    if parts.names is not None and len(parts.names) != nodes:
        raise InvalidValueError(f"names: got {len(parts.names)}, needs one for each of the {nodes} nodes")
    adjacency = canonical(matrix)
    if directed is True:
        return adjacency, parts.names, True
    symmetric = parts.symmetric or _is_symmetric(adjacency)
    if not symmetric and directed is False:
        raise _not_symmetric("graph: got a directed graph (the adjacency is not symmetric)")
    return adjacency, parts.names, not symmetric


def canonical(matrix: Any, name: str = "graph") -> sp.csr_array:
    """A scipy sparse matrix as checked float32 CSR: sorted, duplicates added up, no zeros; copied only where needed."""
    if matrix.dtype.kind not in "fiub":
        raise InvalidTypeError(f"{name}: got edge weights of type {matrix.dtype}, needs real numbers")
    if matrix.dtype.kind != "f":  # before anything is added up: small integers would overflow
        matrix = matrix.astype(np.float32)
    rows = sp.csr_array(matrix)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    if rows.nnz and not rows.data.min() >= 0:  # also true for NaN
        finite = bool(np.isfinite(rows.data).all())
        raise InvalidValueError(
            f"{name}: got {'a negative' if finite else 'a NaN or infinite'} edge weight, needs finite weights >= 0; "
            "drop such edges or rescale the weights"
        )
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        weights = rows.data.astype(np.float32, copy=False)
    if rows.nnz and not np.isfinite(weights.max()):
        raise InvalidValueError(
            f"{name}: got an infinite edge weight or one beyond float32, needs finite ones; rescale them"
        )
    if np.count_nonzero(weights) == rows.nnz:
        return sp.csr_array((weights, rows.indices, rows.indptr), shape=rows.shape)
    if np.count_nonzero(rows.data) != np.count_nonzero(weights):
        raise InvalidValueError(
            f"{name}: got edge weights too small for float32, needs larger ones; rescale the weights"
        )
    kept = sp.csr_array((weights.copy(), rows.indices.copy(), rows.indptr.copy()), shape=rows.shape)
    kept.eliminate_zeros()
    return kept


def _is_symmetric(adjacency: sp.csr_array) -> bool:
    other = sp.csr_array(adjacency.T)  # conversion from columns to rows sorts
    if not (np.array_equal(adjacency.indptr, other.indptr) and np.array_equal(adjacency.indices, other.indices)):
        return False
    if np.array_equal(adjacency.data, other.data):
        return True
    return bool((np.abs(adjacency.data - other.data) <= _SYMMETRY_TOLERANCE * adjacency.data).all())
