"""Random walks: valid steps, the right distribution, the same for any number of threads and without numba."""

import networkx as nx
import numba
import numpy as np
import pytest
import scipy.sparse as sp

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.encode.graph import Graph, random_walks, walks


def weighted_graph() -> sp.csr_array:
    random = np.random.default_rng(0)
    upper = np.triu(random.random((12, 12)) * (random.random((12, 12)) < 0.5), 1)
    return sp.csr_array(upper + upper.T)


GRAPHS = {
    "karate, unweighted": nx.to_scipy_sparse_array(nx.karate_club_graph(), weight=None),
    "weighted": weighted_graph(),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_steps_follow_edges_and_rows_start_where_they_should(name):
    graph = GRAPHS[name]
    nodes = graph.shape[0]
    out = random_walks(graph, 3, 20, seed=1)
    assert out.shape == (3 * nodes, 20)
    assert out.dtype == np.int32
    np.testing.assert_array_equal(out[:, 0], np.tile(np.arange(nodes), 3))
    assert (graph.toarray()[out[:, :-1], out[:, 1:]] > 0).all()


@pytest.mark.parametrize("name", GRAPHS)
def test_neighbours_are_chosen_in_proportion_to_the_weights(name):
    graph = GRAPHS[name]
    dense = graph.toarray()
    expected = dense / dense.sum(axis=1, keepdims=True)
    out = random_walks(graph, 2000, 11, seed=2)
    seen = np.zeros_like(expected)
    np.add.at(seen, (out[:, :-1].ravel(), out[:, 1:].ravel()), 1)
    visits = seen.sum(axis=1, keepdims=True)
    error = 5 * np.sqrt(expected * (1 - expected) / visits) + 1e-9  # five standard errors
    assert (np.abs(seen / visits - expected) <= error).all()


@pytest.mark.parametrize("name", GRAPHS)
def test_threads_and_the_plain_numpy_path_do_not_change_anything(name, monkeypatch):
    reference = random_walks(GRAPHS[name], 7, 30, seed=3)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(random_walks(GRAPHS[name], 7, 30, seed=3), reference)
    finally:
        numba.set_num_threads(before)
    monkeypatch.setattr(walks, "compiled_available", lambda: False)
    np.testing.assert_array_equal(random_walks(GRAPHS[name], 7, 30, seed=3), reference)


def test_seeds_matter_and_shorter_walks_are_prefixes():
    graph = GRAPHS["karate, unweighted"]
    long = random_walks(graph, 2, 15, seed=4)
    np.testing.assert_array_equal(random_walks(graph, 2, 6, seed=4), long[:, :6])
    np.testing.assert_array_equal(random_walks(graph, 1, 15, seed=4), long[: graph.shape[0]])
    assert not np.array_equal(random_walks(graph, 2, 15, seed=5), long)
    assert not np.array_equal(random_walks(graph, 2, 15), random_walks(graph, 2, 15))


@pytest.mark.parametrize("compiled", [True, False])
def test_walks_end_where_no_edge_leaves(compiled, monkeypatch):
    monkeypatch.setattr(walks, "compiled_available", lambda: compiled)
    path = Graph.from_edges([0, 1], [1, 2], num_nodes=4, directed=True)
    out = random_walks(path, 1, 5, seed=0, directed=True)
    assert out.tolist() == [[0, 1, 2, -1, -1], [1, 2, -1, -1, -1], [2, -1, -1, -1, -1], [3, -1, -1, -1, -1]]


def test_chosen_starts():
    out = random_walks(nx.path_graph(5), 2, 4, seed=0, starts=[4, 2, 4])
    np.testing.assert_array_equal(out[:, 0], [4, 2, 4, 4, 2, 4])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"walks_per_node": 0}, InvalidValueError, "walks_per_node: got 0"),
        ({"length": -1}, InvalidValueError, "length: got -1"),
        ({"length": 2.5}, InvalidTypeError, "length: got float"),
        ({"starts": [5]}, InvalidValueError, "outside 0 to 4"),
        ({"starts": []}, InvalidValueError, "at least one"),
        ({"starts": [0.5]}, InvalidTypeError, "needs node numbers"),
        ({"seed": -1}, InvalidValueError, "seed: got -1"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        random_walks(nx.path_graph(5), **arguments)
