"""FastRP after the fit: new nodes, saving and loading, and the memory it announces."""

import tracemalloc

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from safetensors.numpy import save_file

from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError, NotFittedError
from polyvec.encode.graph import FastRP, as_graph

GRAPH = nx.to_scipy_sparse_array(nx.barabasi_albert_graph(200, 3, seed=0), dtype=np.float32)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("combine", ["sum", "concat"])
def test_the_edges_of_a_fitted_node_give_its_vector(standardize, combine):
    encoder = FastRP(16, (1, 0.5, 1, 4), seed=0, standardize=standardize, combine=combine)
    vectors = encoder.fit_transform(GRAPH)
    np.testing.assert_allclose(encoder.transform(GRAPH[[5, 0, 17]]), vectors[[5, 0, 17]], atol=1e-4)
    np.testing.assert_allclose(encoder.fit(GRAPH).transform(GRAPH[[5]] * 3.0), vectors[[5]], atol=1e-4)


def test_a_separate_new_part_gives_what_a_fit_of_the_whole_gives():
    """New nodes among themselves: their rows of R come from the seed and their numbers."""
    part = nx.to_scipy_sparse_array(nx.karate_club_graph(), weight=None, dtype=np.float32)
    whole = sp.block_diag([GRAPH, part], format="csr")
    share = 0.1  # the same in both, as "sqrt" depends on the number of nodes
    options = {"dim": 24, "weights": (0.5, 0, 1, 4), "beta": -0.6, "density": share, "self_weight": 0.3, "seed": 3}
    expected = FastRP(**options).fit_transform(whole)[200:]
    encoder = FastRP(**options).fit(GRAPH)
    got = encoder.transform(sp.hstack([sp.csr_array((34, 200), dtype=np.float32), part], format="csr"))
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_new_nodes_with_features():
    part = nx.to_scipy_sparse_array(nx.karate_club_graph(), weight=None, dtype=np.float32)
    features = np.random.default_rng(0).normal(size=(200, 6))
    encoder = FastRP(16, seed=0, self_weight=1.0, density=0.1).fit(GRAPH, features)
    vectors = encoder.reweight()
    np.testing.assert_allclose(FastRP(16, seed=0, self_weight=1.0, density=0.1).fit_transform(GRAPH, features), vectors)
    rows = sp.hstack([sp.csr_array((34, 200), dtype=np.float32), part], format="csr")
    new = np.random.default_rng(1).normal(size=(34, 6))
    assert np.abs(encoder.transform(rows, new) - encoder.transform(rows, new[::-1])).max() > 0.1
    with pytest.raises(InvalidValueError, match="x: got None, needs 6 features"):
        encoder.transform(rows)
    with pytest.raises(InvalidValueError, match="x: got 5 dimensions, needs 6"):
        encoder.transform(rows, new[:, :5])


def test_a_new_node_without_edges_is_zero_with_a_warning():
    encoder = FastRP(8, seed=0).fit(GRAPH)
    with pytest.warns(UserWarning, match="1 of 2 nodes have no edges"):
        got = encoder.transform(sp.vstack([GRAPH[[3]], sp.csr_array((1, 200))], format="csr"))
    assert got[0].any()
    assert not got[1].any()


def test_bad_new_rows_are_refused():
    encoder = FastRP(8, seed=0)
    with pytest.raises(NotFittedError, match="not fitted"):
        encoder.transform(GRAPH[[0]])
    with pytest.raises(NotFittedError, match="not fitted"):
        encoder.reweight((1,))
    encoder.fit(GRAPH)
    with pytest.raises(InvalidValueError, match=r"new_rows: got shape \(1, 7\)"):
        encoder.transform(sp.csr_array(np.ones((1, 7))))
    with pytest.raises(InvalidTypeError, match="new_rows: got ndarray"):
        encoder.transform(np.ones((1, 200)))
    with pytest.raises(InvalidValueError, match="new_rows: got a negative"):
        encoder.transform(-GRAPH[[0]])
    with pytest.raises(InvalidValueError, match="weights: got 5 weights, needs at most 4"):
        encoder.reweight((1, 1, 1, 1, 1))
    own = FastRP(8).fit(GRAPH, projection=np.random.default_rng(0).normal(size=(200, 4)))
    assert own.transform(GRAPH[[0]]).shape == (1, 4)
    among = sp.hstack([GRAPH[[0]], sp.csr_array([[1.0]])], format="csr")
    with pytest.raises(InvalidValueError, match="projection"):
        own.transform(among)


@pytest.mark.parametrize(
    "options", [{}, {"standardize": True, "self_weight": 0.5}, {"density": 1.0, "combine": "concat"}]
)
def test_save_and_load(options, tmp_path):
    graph = nx.relabel_nodes(nx.karate_club_graph(), {0: "chief"})
    encoder = FastRP(12, (0, 1, np.float32(2)), seed=1, **options)
    vectors = encoder.fit_transform(graph)
    encoder.save(tmp_path / "encoder.safetensors")
    loaded = FastRP.load(tmp_path / "encoder.safetensors")
    assert loaded.get_params() == encoder.get_params()
    assert list(loaded.names_) == list(graph)
    np.testing.assert_array_equal(loaded.reweight(), vectors)
    np.testing.assert_array_equal(loaded.isolated_, encoder.isolated_)
    rows = as_graph(graph).adjacency[[4, 7]]
    np.testing.assert_array_equal(loaded.transform(rows), encoder.transform(rows))
    again = loaded.fit_transform(graph)
    np.testing.assert_array_equal(again, vectors)


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(NotFittedError, match="not fitted"):
        FastRP().save(tmp_path / "no")
    with pytest.raises(FileProblemError, match="no such file"):
        FastRP.load(tmp_path / "missing")
    (tmp_path / "text").write_text("hello there, this is no safetensors file")
    with pytest.raises(FormatError, match="not a safetensors file"):
        FastRP.load(tmp_path / "text")
    save_file({"a": np.zeros(2)}, tmp_path / "other")
    with pytest.raises(FormatError, match="not a file that"):
        FastRP.load(tmp_path / "other")
    save_file({"a": np.zeros(2)}, tmp_path / "part", {"format": "polyvec FastRP 1", "encoder": '{"parameters": {}}'})
    with pytest.raises(FormatError, match="missing or unknown fields"):
        FastRP.load(tmp_path / "part")
    odd = FastRP(4, seed=0).fit(nx.Graph([((0, 1), (1, 1))]))
    with pytest.raises(InvalidTypeError, match="only strings and integers"):
        odd.save(tmp_path / "odd")
    assert not (tmp_path / "odd").exists()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"keep_powers": False},
        {"density": 1.0},
        {"combine": "concat", "weights": (1, 1, 1)},
        {"weights": (0, 0, 1, 6, 6), "dim": 200},
        {"self_weight": 1.0},
        {"dim": 4, "weights": (1,)},
    ],
)
def test_the_memory_estimate_is_within_a_fifth_of_the_peak(options):
    nodes, edges = 30_000, 120_000
    random = np.random.default_rng(0)
    graph = as_graph((random.integers(0, nodes, edges), random.integers(0, nodes, edges)))
    connected = (graph.out_weights() > 0).all()
    matrix = graph.adjacency
    encoder = FastRP(**{"dim": 64, "seed": 0, **options})
    small = nx.to_scipy_sparse_array(nx.karate_club_graph(), dtype=np.float32)
    FastRP(**{**encoder.get_params(), "dim": 2}).fit_transform(small)  # compile first
    tracemalloc.start()
    try:
        if connected:
            encoder.fit_transform(matrix)
        else:
            with pytest.warns(UserWarning, match="no edges"):
                encoder.fit_transform(matrix)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert encoder.estimate_memory(graph.num_nodes, graph.num_edges) == pytest.approx(peak, rel=0.2)


def test_memory_estimate_with_features():
    nodes, edges = 30_000, 120_000
    graph = as_graph(nx.gnm_random_graph(nodes, edges, seed=0)).adjacency
    features = np.random.default_rng(0).normal(size=(nodes, 8)).astype(np.float32)
    encoder = FastRP(64, seed=0, self_weight=1.0)
    encoder.fit_transform(graph[:200][:, :200], features[:200])
    tracemalloc.start()
    try:
        encoder.fit_transform(graph, features)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert encoder.estimate_memory(nodes, edges, with_features=True) == pytest.approx(peak, rel=0.2)


def test_bad_sizes_for_the_memory_estimate():
    with pytest.raises(InvalidValueError, match="n: got 0"):
        FastRP().estimate_memory(0, 10)
    with pytest.raises(InvalidValueError, match="m: got -1"):
        FastRP().estimate_memory(10, -1)
