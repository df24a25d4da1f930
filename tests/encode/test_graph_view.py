"""The graph view: every kind of graph in, one checked adjacency inside."""

import warnings
from types import SimpleNamespace

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFoundError
from polyvec.data.catalogue.types import GraphData
from polyvec.encode.graph import Graph, as_graph

TRIANGLE_TAIL = np.array([[0, 2, 1, 0], [2, 0, 3, 0], [1, 3, 0, 4], [0, 0, 4, 0]], dtype=np.float32)


def pyg_like(adjacency: np.ndarray) -> SimpleNamespace:
    rows, columns = np.nonzero(adjacency)
    return SimpleNamespace(
        edge_index=torch.tensor(np.stack([rows, columns])),
        edge_weight=torch.tensor(adjacency[rows, columns]),
        num_nodes=len(adjacency),
    )


def torch_csr() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the format a beta
        return torch.tensor(TRIANGLE_TAIL).to_sparse_csr()


def kinds_of_graphs() -> dict[str, object]:
    upper = np.nonzero(np.triu(TRIANGLE_TAIL))
    undirected = nx.Graph()
    undirected.add_nodes_from(range(4))
    undirected.add_weighted_edges_from(
        (int(a), int(b), float(TRIANGLE_TAIL[a, b])) for a, b in zip(*upper, strict=True)
    )
    return {
        "csr": sp.csr_array(TRIANGLE_TAIL),
        "csc": sp.csc_matrix(TRIANGLE_TAIL),
        "coo": sp.coo_array(TRIANGLE_TAIL),
        "lil": sp.lil_array(TRIANGLE_TAIL),
        "dok": sp.dok_array(TRIANGLE_TAIL),
        "float64": sp.csr_array(TRIANGLE_TAIL.astype(np.float64)),
        "int64": sp.csr_array(TRIANGLE_TAIL.astype(np.int64)),
        "networkx": undirected,
        "networkx directed both ways": nx.DiGraph(undirected),
        "edges": (upper[0], upper[1], TRIANGLE_TAIL[upper]),
        "PyG": pyg_like(TRIANGLE_TAIL),
        "catalogue": GraphData(sp.csr_matrix(TRIANGLE_TAIL), np.array(list("abcd"))),
        "torch coo": torch.tensor(TRIANGLE_TAIL).to_sparse(),
        "torch csr": torch_csr(),
        "view": as_graph(sp.csr_array(TRIANGLE_TAIL)),
    }


@pytest.mark.parametrize("kind", kinds_of_graphs())
def test_every_kind_gives_the_same_adjacency(kind):
    view = as_graph(kinds_of_graphs()[kind])
    assert view.adjacency.dtype == np.float32
    assert view.adjacency.format == "csr"
    assert view.adjacency.has_canonical_format
    np.testing.assert_array_equal(view.adjacency.toarray(), TRIANGLE_TAIL)
    assert (view.num_nodes, view.num_edges, view.directed) == (4, 4, False)
    np.testing.assert_array_equal(view.out_weights(), TRIANGLE_TAIL.sum(axis=1))


def test_names_are_kept():
    graph = nx.Graph([("b", "a"), ("a", "c")])
    view = as_graph(graph)
    assert list(view.names) == ["b", "a", "c"]
    np.testing.assert_array_equal(view.positions(["c", "b"]), [2, 0])
    with pytest.raises(NotFoundError, match="'zebra'"):
        view.positions(["zebra"])
    with pytest.raises(NotFoundError, match="no names"):
        as_graph(sp.csr_array(TRIANGLE_TAIL)).positions(["a"])
    catalogue = as_graph(GraphData(sp.csr_matrix(TRIANGLE_TAIL), np.array(list("abcd"))))
    assert catalogue.names == ["a", "b", "c", "d"]
    edges = Graph.from_edges(["x", "y"], ["y", "w"])
    assert edges.names == ["w", "x", "y"]
    assert edges.adjacency.toarray().tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]


def test_duplicate_entries_are_added_up_and_zeros_dropped_without_touching_the_callers_matrix():
    matrix = sp.coo_array((np.array([1, 2, 3, 0], np.int8), ([0, 0, 1, 2], [1, 1, 0, 2])), shape=(3, 3))
    view = as_graph(matrix)
    assert view.adjacency.toarray().tolist() == [[0, 3, 0], [3, 0, 0], [0, 0, 0]]
    assert view.adjacency.nnz == 2
    assert matrix.nnz == 4
    unsorted = sp.csr_array((np.ones(4), np.array([2, 1, 0, 0]), np.array([0, 2, 3, 4])), shape=(3, 3))
    before = unsorted.indices.copy()
    assert as_graph(unsorted).adjacency.has_sorted_indices
    np.testing.assert_array_equal(unsorted.indices, before)


def test_small_integer_weights_do_not_overflow_when_they_are_added_up():
    many = 300
    matrix = sp.coo_array(
        (np.ones(2 * many, np.int8), ([0] * many + [1] * many, [1] * many + [0] * many)), shape=(2, 2)
    )
    assert as_graph(matrix).adjacency.toarray().tolist() == [[0, many], [many, 0]]


def test_a_float32_csr_is_not_copied():
    matrix = sp.csr_array(TRIANGLE_TAIL)
    assert np.shares_memory(as_graph(matrix).adjacency.data, matrix.data)


@pytest.mark.parametrize(("duplicates", "weight"), [("sum", 7.0), ("max", 4.0)])
def test_edges_in_both_directions_are_duplicates_when_undirected(duplicates, weight):
    view = Graph.from_edges([0, 1, 0, 2], [1, 0, 1, 2], [1.0, 4.0, 2.0, 9.0], duplicates=duplicates)
    assert view.adjacency.toarray().tolist() == [[0, weight, 0], [weight, 0, 0], [0, 0, 9]]
    assert view.num_edges == 2


def test_directed_edges_keep_their_direction():
    view = Graph.from_edges([0, 1, 0], [1, 2, 2], num_nodes=4, directed=True)
    assert view.adjacency.toarray().tolist() == [[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(view.out_weights(), [2, 1, 0, 0])
    np.testing.assert_array_equal(view.in_weights(), [0, 1, 2, 0])
    assert view.num_edges == 3
    both = view.symmetrized()
    assert not both.directed
    np.testing.assert_array_equal(
        both.adjacency.toarray(), np.maximum(view.adjacency.toarray(), view.adjacency.toarray().T)
    )


def test_direction_is_found_out_on_request():
    assert not as_graph(sp.csr_array(TRIANGLE_TAIL), directed=None).directed
    assert as_graph(sp.csr_array(np.triu(TRIANGLE_TAIL)), directed=None).directed
    assert as_graph(sp.csr_array(TRIANGLE_TAIL), directed=True).directed


def test_largest_component():
    view = Graph.from_edges(["a", "b", "x", "p"], ["b", "c", "y", "p"])
    part, kept = view.largest_component()
    assert part.names == ["a", "b", "c"]
    np.testing.assert_array_equal(kept, view.positions(["a", "b", "c"]))
    assert part.num_edges == 2


def test_random_multigraphs_agree_with_networkx():
    random = np.random.default_rng(0)
    for _ in range(20):
        nodes, edges = int(random.integers(1, 12)), int(random.integers(1, 40))
        start, end = random.integers(0, nodes, edges), random.integers(0, nodes, edges)
        multigraph = nx.MultiGraph()
        multigraph.add_nodes_from(range(nodes))
        multigraph.add_edges_from(zip(start.tolist(), end.tolist(), strict=True))
        np.testing.assert_array_equal(
            as_graph(multigraph).adjacency.toarray(), Graph.from_edges(start, end, num_nodes=nodes).adjacency.toarray()
        )


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (sp.csr_array(np.ones((2, 3))), r"shape \(2, 3\), needs a square"),
        (sp.csr_array((0, 0)), "0 nodes"),
        (nx.Graph(), "0 nodes"),
        (sp.csr_array(np.array([[0, -1.0], [-1, 0]])), "negative edge weight"),
        (sp.csr_array(np.array([[0, np.nan], [np.nan, 0]])), "NaN or infinite"),
        (sp.csr_array(np.array([[0, np.inf], [np.inf, 0]])), "infinite edge weight"),
        (sp.csr_array(np.array([[0, 1e300], [1e300, 0]])), "beyond float32"),
        (sp.csr_array(np.array([[0, 1e-300], [1e-300, 0]])), "too small for float32"),
        (sp.csr_array(np.triu(TRIANGLE_TAIL)), "directed=True .* symmetrise first"),
        (nx.DiGraph([(0, 1)]), "symmetrise first"),
        (Graph.from_edges([0], [1], directed=True), "symmetrise first"),
        (pyg_like(np.triu(TRIANGLE_TAIL)), "symmetrise first"),
        (([0, 1], [1]), "one length"),
        (([], []), "got none"),
        (([0, -1], [1, 2]), "outside 0"),
        ((np.array([0, 1]), np.array([1, 2]), np.ones(3)), "weights: got shape"),
        ((np.array([0]), np.array([2**40])), "renumber sparse ids"),
    ],
)
def test_bad_graphs_are_refused_with_the_reason(graph, message):
    with pytest.raises(InvalidValueError, match=message) as caught:
        as_graph(graph)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (TRIANGLE_TAIL, "got a dense array"),
        ([[0, 1], [1, 0]], "got list"),
        ("graph.csv", "got str"),
        (None, "got NoneType"),
        (sp.csr_array(TRIANGLE_TAIL.astype(complex)), "complex"),
        (SimpleNamespace(edge_types=[], node_types=[]), "heterogeneous"),
        (nx.Graph([(0, 1, {"weight": "heavy"})]), "weight"),
        (([0.5, 1.0], [1.0, 2.0]), "integers or strings"),
        ((["a", "b"], [1, 2]), "integers or strings"),
    ],
)
def test_what_is_no_graph_is_refused(graph, message):
    with pytest.raises(InvalidTypeError, match=message):
        as_graph(graph)


def test_bad_edges_are_refused():
    with pytest.raises(InvalidValueError, match=r"the edge \(0, 1\) more than once"):
        Graph.from_edges([0, 1], [1, 0], duplicates="error")
    with pytest.raises(InvalidValueError, match="duplicates: got 'first'"):
        Graph.from_edges([0], [1], duplicates="first")
    with pytest.raises(InvalidValueError, match="outside 0 to 1"):
        Graph.from_edges([0], [2], num_nodes=2)
    with pytest.raises(InvalidValueError, match="negative"):
        Graph.from_edges([0], [1], [-1.0])
