"""Reads the graphs of other libraries: what they hold as a scipy sparse matrix, with the names of the nodes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from polyvec.core.arrays import is_tensor
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.data.catalogue.types import GraphData
from polyvec.encode.graph.checks import one_of, positive_int

_KINDS = "a scipy sparse matrix, a networkx graph, a PyG Data, a tuple of edge arrays or a Graph"


class Parts(NamedTuple):
    """What a foreign graph consists of, not checked yet; `symmetric` is true where the source guarantees it."""

    matrix: Any
    names: Sequence[Any] | None = None
    symmetric: bool = False


def parts_of(graph: Any, directed: bool | None) -> Parts:
    """The matrix and names of a graph of another library.

    Raises:
        InvalidTypeError: An object that holds no graph, or a heterogeneous one.
        InvalidValueError: Its parts do not fit together.
    """
    if sp.issparse(graph):
        return Parts(graph)
    if isinstance(graph, GraphData):
        return Parts(graph.adjacency, graph.names.tolist())
    if isinstance(graph, tuple) and len(graph) in (2, 3):
        return edge_parts(graph[0], graph[1], graph[2] if len(graph) == 3 else None, None, bool(directed), "sum")
    networkx = sys.modules.get("networkx")
    if networkx is not None and isinstance(graph, networkx.Graph):
        return _networkx_parts(networkx, graph)
    if hasattr(graph, "edge_types") and hasattr(graph, "node_types"):
        raise InvalidTypeError(
            "graph: got a heterogeneous graph, needs one with one kind of node; use .to_homogeneous() first"
        )
    if getattr(graph, "edge_index", None) is not None:
        return _pyg_parts(graph)
    if is_tensor(graph) and str(graph.layout) in ("torch.sparse_coo", "torch.sparse_csr"):
        coordinates = graph.detach().cpu().to_sparse_coo().coalesce()
        indices, values = coordinates.indices().numpy(), coordinates.values().numpy()
        return Parts(sp.coo_array((values, (indices[0], indices[1])), shape=tuple(graph.shape)))
    if isinstance(graph, np.ndarray) or is_tensor(graph):
        raise InvalidTypeError(
            "graph: got a dense array, needs a sparse graph; use scipy.sparse.csr_array(adjacency) for an adjacency "
            "or Graph.from_edges(sources, targets) for edges"
        )
    raise InvalidTypeError(f"graph: got {type(graph).__name__}, needs {_KINDS}")


def _networkx_parts(networkx: Any, graph: Any) -> Parts:
    names = list(graph)
    if not names:
        raise InvalidValueError("graph: got 0 nodes, needs at least 1")
    try:
        matrix = networkx.to_scipy_sparse_array(graph, nodelist=names, dtype=np.float64, weight="weight", format="csr")
    except (TypeError, ValueError) as error:
        raise InvalidTypeError(f"graph: an edge attribute 'weight' is not a number ({error})") from error
    return Parts(matrix, names, symmetric=not graph.is_directed())


def _pyg_parts(data: Any) -> Parts:
    """`edge_index` `(2, edges)` as PyG stores it; weights from `edge_weight` or a one-column `edge_attr`."""
    index = _array(data.edge_index)
    if index.ndim != 2 or index.shape[0] != 2:
        raise InvalidValueError(f"graph.edge_index: got shape {index.shape}, needs (2, edges)")
    weights = getattr(data, "edge_weight", None)
    if weights is None:
        attributes = getattr(data, "edge_attr", None)
        if attributes is not None and (attributes.ndim == 1 or attributes.shape[1:] == (1,)):
            weights = attributes
    flat = None if weights is None else _array(weights).reshape(-1)
    nodes = getattr(data, "num_nodes", None)
    return edge_parts(index[0], index[1], flat, None if nodes is None else int(nodes), True, "sum")


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if is_tensor(values) else np.asarray(values)


def edge_parts(
    sources: npt.ArrayLike,
    targets: npt.ArrayLike,
    weights: npt.ArrayLike | None,
    num_nodes: int | None,
    directed: bool,
    duplicates: str,
) -> Parts:
    """Edge arrays as a matrix; see `Graph.from_edges`."""
    one_of(duplicates, "duplicates", ("sum", "max", "error"))
    start, end = _array(sources), _array(targets)
    if start.ndim != 1 or start.shape != end.shape:
        raise InvalidValueError(
            f"edges: got sources {start.shape} and targets {end.shape}, needs two flat arrays of one length"
        )
    rows, columns, names = _numbered(start, end)
    nodes = len(names) if names is not None else _node_count(rows, columns, num_nodes)
    values = np.ones(len(rows), dtype=np.float32) if weights is None else _array(weights)
    if values.shape != rows.shape:
        raise InvalidValueError(f"weights: got shape {values.shape}, needs one for each of the {len(rows)} edges")
    if not directed:  # one entry for an unordered pair, so that (a, b) and (b, a) are duplicates
        rows, columns = np.minimum(rows, columns), np.maximum(rows, columns)
    matrix = _merged(rows, columns, values, nodes, duplicates)
    if not directed:
        matrix = matrix + sp.triu(matrix, k=1).T
    return Parts(matrix, names, symmetric=not directed)


def _numbered(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Any] | None]:
    kinds = {start.dtype.kind, end.dtype.kind}
    if not len(start) or kinds <= set("iu"):
        return start.astype(np.int64), end.astype(np.int64), None
    if not kinds <= set("USOT"):
        raise InvalidTypeError(
            f"edges: got nodes of type {start.dtype} and {end.dtype}, needs integers or strings in both"
        )
    try:
        names, positions = np.unique(np.concatenate([start, end]), return_inverse=True)
    except TypeError as error:  # names that cannot be sorted among themselves
        raise InvalidTypeError("edges: got node names of several types, needs all strings or all integers") from error
    return positions[: len(start)], positions[len(start) :], names.tolist()


def _node_count(rows: np.ndarray, columns: np.ndarray, num_nodes: int | None) -> int:
    if num_nodes is None and not len(rows):
        raise InvalidValueError("edges: got none, needs at least one, or num_nodes")
    largest = int(max(rows.max(), columns.max())) if len(rows) else -1
    count = largest + 1 if num_nodes is None else positive_int(num_nodes, "num_nodes")
    if largest >= count or (len(rows) and min(rows.min(), columns.min()) < 0):
        raise InvalidValueError(
            f"edges: got a node number outside 0 to {count - 1}; number the nodes from 0 or pass num_nodes"
        )
    if count >= 2**31:
        raise InvalidValueError(
            f"edges: got node numbers up to {largest}, needs fewer than 2^31 nodes; "
            "renumber sparse ids first: numpy.unique(ids, return_inverse=True)"
        )
    return count


def _merged(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, nodes: int, duplicates: str) -> sp.csr_array:
    matrix = sp.coo_array((values, (rows, columns)), shape=(nodes, nodes))
    if duplicates == "sum":
        return matrix.tocsr()
    order = np.lexsort((columns, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    first = np.ones(len(rows), dtype=bool)
    first[1:] = (np.diff(rows) != 0) | (np.diff(columns) != 0)
    if duplicates == "error" and not first.all():
        repeated = int(np.argmin(first))
        raise InvalidValueError(
            f"edges: got the edge ({rows[repeated]}, {columns[repeated]}) more than once; "
            "pass duplicates='sum' or 'max'"
        )
    if len(values):
        values = np.maximum.reduceat(values, np.flatnonzero(first))
    return sp.coo_array((values, (rows[first], columns[first])), shape=(nodes, nodes)).tocsr()
