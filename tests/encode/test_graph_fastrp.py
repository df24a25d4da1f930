"""FastRP against the explicit dense formula, its algebra, and its ways of computing."""

import itertools
import warnings

import networkx as nx
import numba
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFittedError
from polyvec.encode.graph import FastRP, Graph, as_graph, compiling, products, sparse_projection
from polyvec.encode.graph.projection import dense_projection

KARATE = nx.to_scipy_sparse_array(nx.karate_club_graph(), weight="weight", dtype=np.float64)
UNWEIGHTED = nx.to_scipy_sparse_array(nx.karate_club_graph(), weight=None, dtype=np.float64)
NODES = KARATE.shape[0]


def dense_fastrp(adjacency, projection, weights, beta, *, normalize=True) -> np.ndarray:
    """The paper's formula with matrices written out, float64, sharing nothing with the package."""
    degree = adjacency.sum(axis=1)
    walk = np.diag(1 / degree) @ adjacency
    correction = np.diag((degree / degree.sum()) ** beta)
    total = np.zeros((len(adjacency), projection.shape[1]))
    for hop, weight in enumerate(weights, start=1):
        power = np.linalg.matrix_power(walk, hop) @ correction @ projection
        if normalize:
            power = power / np.linalg.norm(power, axis=1, keepdims=True)
        total += weight * power
    return total


def scale_free(nodes: int, seed: int) -> sp.csr_array:
    return nx.to_scipy_sparse_array(nx.barabasi_albert_graph(nodes, 4, seed=seed), dtype=np.float32)


@pytest.mark.parametrize("adjacency", [KARATE, UNWEIGHTED], ids=["weighted", "unweighted"])
@pytest.mark.parametrize(
    ("weights", "beta", "normalize"),
    list(itertools.product([(1.0,), (0, 0, 1, 4), (1, 0.5, 7.81, 45.28, 2)], [0, -0.628, -1, 0.3], [True, False])),
)
@pytest.mark.parametrize("sparse", [True, False], ids=["sparse identity", "dense identity"])
def test_identity_projection_gives_the_explicit_formula(adjacency, weights, beta, normalize, sparse):
    identity = sp.identity(NODES, dtype=np.float64, format="csr") if sparse else np.eye(NODES)
    integers = adjacency.astype(np.int64)
    got = FastRP(weights=weights, beta=beta, normalize=normalize).fit_transform(integers, projection=identity)
    assert got.dtype == np.float64
    expected = dense_fastrp(adjacency.toarray(), np.eye(NODES), weights, beta, normalize=normalize)
    np.testing.assert_allclose(got, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("density", ["sqrt", 0.2, 1.0])
def test_random_projection_gives_the_explicit_formula(density):
    projection = sparse_projection(NODES, 24, density=density, seed=3).toarray().astype(np.float64)
    expected = dense_fastrp(KARATE.toarray(), projection, (0, 2, 1, 4), -0.4, normalize=False)
    got = FastRP(24, (0, 2, 1, 4), -0.4, density=density, normalize=False, seed=3).fit_transform(KARATE)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=1e-5 * np.abs(expected).max())


def test_the_result_is_linear_in_the_weights():
    encoder = FastRP(32, (1, 1, 1, 1), seed=0).fit(scale_free(300, 0))
    single = [encoder.reweight(tuple(float(hop == other) for other in range(4))) for hop in range(4)]
    random = np.random.default_rng(0)
    for _ in range(10):
        first, second = random.random((2, 4)) * 8
        parts = sum(weight * part for weight, part in zip(first, single, strict=True))
        np.testing.assert_allclose(encoder.reweight(first), parts, atol=2e-5)
        np.testing.assert_allclose(
            encoder.reweight(first + second), encoder.reweight(first) + encoder.reweight(second), atol=4e-5
        )
        np.testing.assert_allclose(encoder.reweight(3 * first), 3 * encoder.reweight(first), atol=4e-5)


def test_reweighting_is_the_fit_with_those_weights():
    graph = scale_free(200, 1)
    encoder = FastRP(16, (1, 1, 1, 1, 1), -0.3, seed=5).fit(graph)
    for weights in [(0, 0, 1, 4), (0, 0, 1, 6, 6), (2.5,)]:
        np.testing.assert_array_equal(encoder.reweight(weights), FastRP(16, weights, -0.3, seed=5).fit_transform(graph))
    assert len(encoder.powers_) == 5
    np.testing.assert_array_equal(encoder.reweight(), encoder.fit_transform(graph))


def test_permuted_nodes_give_permuted_vectors_when_the_projection_is_permuted_with_them():
    graph = scale_free(150, 2)
    order = np.random.default_rng(0).permutation(150)
    projection = sparse_projection(150, 24, seed=1)
    plain = FastRP(seed=0).fit_transform(graph, projection=projection)
    permuted = FastRP(seed=0).fit_transform(graph[order][:, order], projection=projection[order])
    np.testing.assert_allclose(permuted, plain[order], atol=2e-5)


def test_the_same_graph_in_other_clothes_gives_the_same_vectors():
    karate = nx.karate_club_graph()
    matrix = nx.to_scipy_sparse_array(karate, weight="weight")
    start, end, weight = sp.find(sp.triu(matrix))
    encoder = FastRP(16, seed=0)
    reference = encoder.fit_transform(matrix)
    for graph in (karate, sp.coo_matrix(matrix), (start, end, weight), as_graph(karate), nx.DiGraph(karate)):
        np.testing.assert_array_equal(clone(encoder).fit_transform(graph), reference)


def test_scaling_all_weights_changes_nothing_and_single_weights_matter():
    scaled = FastRP(16, seed=0).fit_transform(KARATE * 37.0)
    reference = FastRP(16, seed=0).fit_transform(KARATE)
    np.testing.assert_allclose(scaled, reference, atol=2e-5)
    assert np.abs(FastRP(16, seed=0).fit_transform(UNWEIGHTED) - reference).max() > 0.1


def test_isolated_nodes_get_zero_vectors_and_a_warning_and_disturb_nobody():
    graph = scale_free(100, 3)
    projection = sparse_projection(103, 16, seed=0)
    padded = sp.block_diag([graph, sp.csr_array((3, 3))], format="csr")
    with pytest.warns(UserWarning, match="3 of 103 nodes have no edges"):
        got = FastRP(beta=-1).fit_transform(padded, projection=projection)
    assert np.isfinite(got).all()
    assert not got[100:].any()
    np.testing.assert_array_equal(got[:100], FastRP(beta=-1).fit_transform(graph, projection=projection[:100]))
    with pytest.warns(UserWarning, match="3 of 103"):
        standardized = FastRP(16, standardize=True, seed=0).fit_transform(padded)
    assert not standardized[100:].any()


def test_a_graph_without_any_edge_is_all_zero():
    with pytest.warns(UserWarning, match="5 of 5"):
        assert not FastRP(8, seed=0).fit_transform(sp.csr_array((5, 5))).any()


@pytest.mark.parametrize("density", ["sqrt", 1.0])
def test_threads_change_nothing(density):
    graph = scale_free(3000, 4)
    encoder = FastRP(40, density=density, seed=1)
    reference = encoder.fit_transform(graph)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(encoder.fit_transform(graph), reference)
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("dim", [1, 3, 16, 70])
def test_scipy_torch_and_compiled_paths_agree(dim, monkeypatch):
    graph = scale_free(2000, 5)
    options = {"dim": dim, "weights": (1, 2, 3, 4), "seed": 2, "density": 0.1}
    compiled = FastRP(**options).fit_transform(graph)
    torch_path = FastRP(**options, device="cpu").fit_transform(graph)
    monkeypatch.setattr(products, "compiled_available", lambda: False)
    plain = FastRP(**options).fit_transform(graph)
    np.testing.assert_allclose(torch_path, compiled, atol=1e-4)
    np.testing.assert_allclose(plain, compiled, atol=1e-4)


def test_long_rows_and_short_rows_of_the_compiled_product():
    """Rows of every length from 0 to 40 go through the unrolled loop and its remainder."""
    random = np.random.default_rng(0)
    matrix = sp.csr_array(np.tril(random.random((41, 41)), -1).astype(np.float32))
    dense = random.normal(size=(41, 19)).astype(np.float32)
    scale = random.random(41).astype(np.float32)
    out, norms = np.empty_like(dense), np.empty(41, np.float32)
    products._CompiledProduct(matrix, scale).dense(dense, out, norms)
    expected = scale[:, None] * (matrix.toarray().astype(np.float64) @ dense)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    np.testing.assert_allclose(norms, np.linalg.norm(expected, axis=1), atol=1e-5)


def test_seeds():
    graph = scale_free(100, 6)
    first = FastRP(16, seed=0).fit_transform(graph)
    np.testing.assert_array_equal(FastRP(16, seed=0).fit_transform(graph), first)
    assert not np.array_equal(FastRP(16, seed=1).fit_transform(graph), first)
    assert not np.array_equal(FastRP(16).fit_transform(graph), FastRP(16).fit_transform(graph))


def test_without_kept_powers_the_result_is_the_same():
    graph = scale_free(200, 7)
    options = {"dim": 16, "weights": (0, 1, 0.5, 2), "self_weight": 0.25, "seed": 0}
    lean = FastRP(**options, keep_powers=False)
    np.testing.assert_array_equal(lean.fit_transform(graph), FastRP(**options).fit_transform(graph))
    with pytest.raises(NotFittedError, match="keep_powers=True"):
        lean.reweight()
    with pytest.raises(InvalidValueError, match="keep_powers"):
        lean.fit(graph)


def test_concatenation_is_the_weighted_hops_side_by_side():
    graph = scale_free(120, 8)
    got = FastRP(8, (0, 2, 0, 3), combine="concat", seed=0).fit_transform(graph)
    hops = [FastRP(8, weights, seed=0).fit_transform(graph) for weights in [(0, 2), (0, 0, 0, 3)]]
    np.testing.assert_array_equal(got, np.hstack(hops))


def test_standardized_columns():
    graph = scale_free(400, 9)
    encoder = FastRP(16, standardize=True, seed=0)
    got = encoder.fit_transform(graph)
    np.testing.assert_allclose(got.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(got.std(axis=0), 1, atol=1e-4)
    np.testing.assert_array_equal(encoder.reweight(), got)
    plain = FastRP(16, seed=0).fit_transform(graph)
    np.testing.assert_allclose(got, (plain - plain.mean(axis=0)) / plain.std(axis=0), atol=1e-4)


def test_close_nodes_are_more_similar_than_distant_ones():
    graph = nx.stochastic_block_model([60, 60, 60], (0.2 * np.eye(3) + 0.01).tolist(), seed=0)
    vectors = FastRP(64, seed=0).fit_transform(graph)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines, block = unit @ unit.T, np.repeat(np.arange(3), 60)
    same = block[:, None] == block[None, :]
    assert cosines[same].mean() > cosines[~same].mean() + 0.3


class TestDirected:
    def test_a_symmetric_graph_gives_the_undirected_result(self):
        graph = scale_free(100, 10)
        directed = FastRP(16, seed=0, directed=True).fit_transform(graph)
        np.testing.assert_array_equal(directed, FastRP(16, seed=0).fit_transform(graph))

    @pytest.mark.parametrize("sinks", ["stay", "zero"])
    def test_the_explicit_formula_with_sinks(self, sinks):
        random = np.random.default_rng(0)
        dense = np.triu(random.random((20, 20)) * (random.random((20, 20)) < 0.4), 1)
        dense[:, 0] = 0  # a source; the last node is a sink
        out_degree, in_degree = dense.sum(axis=1), dense.sum(axis=0)
        walk = dense / np.maximum(out_degree, 1e-300)[:, None]
        stuck = (out_degree == 0) & (in_degree > 0)
        assert stuck.sum() >= 1
        if sinks == "stay":
            walk += np.diag(stuck.astype(float))
        with np.errstate(divide="ignore"):
            correction = np.where(in_degree > 0, (in_degree / dense.sum()) ** -0.5, 0)
        expected = sum(
            weight * np.linalg.matrix_power(walk, hop) @ np.diag(correction)
            for hop, weight in [(1, 1.0), (2, 2.0), (3, 3.0)]
        )
        encoder = FastRP(weights=(1, 2, 3), beta=-0.5, normalize=False, directed=True, sinks=sinks)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            got = encoder.fit_transform(sp.csr_array(dense), projection=np.eye(20))
        np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-6)
        assert any("have zero vectors" in str(item.message) for item in caught) == (sinks == "zero")
        assert (got[stuck].any(axis=1)).all() == (sinks == "stay")

    def test_needs_the_argument(self):
        with pytest.raises(InvalidValueError, match=r"directed=True .* symmetrise first"):
            FastRP(8).fit_transform(nx.DiGraph([(0, 1), (1, 2)]))


class TestFeatures:
    def test_the_explicit_formula(self):
        random = np.random.default_rng(1)
        features = random.normal(size=(NODES, 7)).astype(np.float32) * 50
        degree = KARATE.sum(axis=1)
        identity_part = (
            sparse_projection(NODES, 12, density="sqrt", seed=4).toarray() * ((degree / degree.sum()) ** -0.3)[:, None]
        )
        feature_part = features @ dense_projection(7, 12, density=1.0, seed=4, purpose="feature projection")
        feature_part *= np.linalg.norm(identity_part) / np.linalg.norm(feature_part)
        start = np.sqrt(0.75) * identity_part + np.sqrt(0.25) * feature_part
        walk = KARATE.toarray() / degree[:, None]
        expected = 0.5 * start + walk @ start + 2 * walk @ walk @ start
        options = {
            "dim": 12,
            "weights": (1, 2),
            "beta": -0.3,
            "normalize": False,
            "self_weight": 0.5,
            "feature_ratio": 0.25,
        }
        got = FastRP(**options, seed=4).fit_transform(KARATE, features)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
        sparse = FastRP(**options, seed=4).fit_transform(KARATE, sp.csr_array(features))
        np.testing.assert_allclose(sparse, got, rtol=1e-4, atol=1e-4 * np.abs(expected).max())

    def test_units_do_not_matter_and_ratio_zero_switches_features_off(self):
        features = np.random.default_rng(0).normal(size=(NODES, 5))
        one = FastRP(8, seed=0).fit_transform(KARATE, features)
        np.testing.assert_allclose(FastRP(8, seed=0).fit_transform(KARATE, features * 1000), one, atol=1e-4)
        off = FastRP(8, seed=0, feature_ratio=0).fit_transform(KARATE, features)
        np.testing.assert_allclose(off, FastRP(8, seed=0).fit_transform(KARATE), atol=1e-5)
        only = FastRP(8, seed=0, feature_ratio=1.0).fit_transform(KARATE, features)
        assert np.abs(only - one).max() > 0.1

    def test_features_reach_isolated_nodes_through_hop_zero(self):
        graph = sp.block_diag([KARATE, sp.csr_array((1, 1))], format="csr")
        features = np.random.default_rng(0).normal(size=(NODES + 1, 5))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            got = FastRP(8, seed=0, self_weight=1.0).fit_transform(graph, features)
        assert got[NODES].any()

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (np.ones((NODES - 1, 3)), f"got {NODES - 1} rows, needs one for each of the {NODES} nodes"),
            (np.full((NODES, 3), np.nan), "NaN"),
            (sp.csr_array(np.full((NODES, 3), np.inf)), "NaN or infinity"),
            (np.ones(NODES), "needs two dimensions"),
        ],
    )
    def test_bad_features_are_refused(self, x, message):
        with pytest.raises(InvalidValueError, match=f"x: .*{message}"):
            FastRP(8).fit_transform(KARATE, x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim: got 0"),
        ({"dim": -3}, "dim: got -3"),
        ({"weights": ()}, "weights: got none"),
        ({"weights": (0, 0.0)}, "weights: got only zeros"),
        ({"weights": (1, -1)}, r"weights\[1\]: got -1"),
        ({"weights": (1, np.nan)}, r"weights\[1\]: got nan"),
        ({"weights": (np.inf,)}, r"weights\[0\]: got inf"),
        ({"beta": -1.5}, "beta: got -1.5"),
        ({"beta": np.nan}, "beta: got nan"),
        ({"density": 1.01}, "density: got 1.01"),
        ({"density": 0}, "density: got 0"),
        ({"density": "log"}, "density: got 'log'"),
        ({"combine": "mean"}, "combine: got 'mean'"),
        ({"sinks": "teleport"}, "sinks: got 'teleport'"),
        ({"self_weight": -1}, "self_weight: got -1"),
        ({"feature_ratio": 2}, "feature_ratio: got 2"),
        ({"seed": -1}, "seed: got -1"),
        ({"device": "abacus"}, "device: got 'abacus'"),
        ({"dim": 2**45}, "GiB of memory"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(InvalidValueError, match=message) as caught:
        FastRP(**options).fit_transform(KARATE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"dim": 2.5}, {"dim": True}, {"weights": 3}, {"weights": "0,0,1"}, {"beta": "-0.5"}, {"seed": 1.5}]
)
def test_bad_types_are_named(options):
    with pytest.raises(InvalidTypeError, match=f"{next(iter(options))}: got"):
        FastRP(**options).fit_transform(KARATE)


@pytest.mark.parametrize(
    ("projection", "message"),
    [(np.ones((3, 2)), "got 3 rows"), (np.full((NODES, 2), np.nan), "NaN"), (sp.csr_array((3, 2)), "got 3 rows")],
)
def test_bad_projections_are_refused(projection, message):
    with pytest.raises(InvalidValueError, match=f"projection: .*{message}"):
        FastRP().fit_transform(KARATE, projection=projection)


def test_scikit_learn_parameters():
    encoder = FastRP(32, [0, 1], beta=-0.1, seed=3)
    assert clone(encoder).get_params() == encoder.get_params()
    assert encoder.set_params(dim=8, weights=(1,)).fit_transform(KARATE).shape == (NODES, 8)
    assert not hasattr(clone(encoder), "powers_")


def test_names_travel():
    encoder = FastRP(4, seed=0)
    encoder.fit_transform(nx.Graph([("libc6", "bash"), ("bash", "vim")]))
    assert list(encoder.names_) == ["libc6", "bash", "vim"]
    encoder.fit_transform(Graph.from_edges([0], [1]))
    assert encoder.names_ is None


def test_compiled_code_does_without_a_place_to_keep_it(monkeypatch):
    real = compiling.njit

    def refuses_to_cache(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(compiling, "njit", refuses_to_cache)
    double = compiling.compiled()(lambda number: 2 * number)
    assert double(21) == 42
    assert double.signatures
