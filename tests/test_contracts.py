"""One contract for every registered part: what a user may rely on, whatever the method behind it."""

import inspect
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from jaxtyping import config

from polyvec.core.errors import PolyvecError
from polyvec.core.protocols import Encoder, GraphEncoder, Index, Transform
from polyvec.core.registry import Component, components
from polyvec.core.vectors import Vectors

ROWS, DIM = 64, 16
TEXTS = ["a library that reads images", "play music from the command line", "the same words", "the same words", ""]


def by_kind(kind: str) -> pytest.MarkDecorator:
    entries = components(kind)
    assert entries, f"nothing of kind {kind!r} is registered"
    return pytest.mark.parametrize("part", entries, ids=lambda entry: entry.name)


@pytest.fixture
def matrix() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, DIM)).astype(np.float32)


def refuses(action: Callable[[], object]) -> None:
    """Bad input is one of our errors in one line, and at the same time a ValueError or TypeError.

    The run-time check of signatures, which only tests have, is off here: users meet the parts' own messages.
    """
    config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(PolyvecError) as caught:
            action()
    finally:
        config.update("jaxtyping_disable", False)
    assert isinstance(caught.value, (ValueError, TypeError))
    assert str(caught.value).strip()
    assert "\n" not in str(caught.value)


def bad_matrices(matrix: np.ndarray) -> dict[str, object]:
    broken = matrix.copy()
    broken[3, 2] = np.nan
    infinite = matrix.copy()
    infinite[5, 0] = np.inf
    return {
        "NaN": broken,
        "infinity": infinite,
        "one dimension": matrix[0],
        "three dimensions": matrix[None],
        "text": np.array([["a", "b"]]),
        "a string": "vectors",
    }


@pytest.mark.parametrize("part", components(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_registered_parts_are_complete(part: Component) -> None:
    assert part.kind in {"transform", "encoder", "graph-encoder", "index", "objective"}
    assert part.summary
    target = part.load()
    assert inspect.getdoc(target)
    json.dumps(part.example)
    accepted = inspect.signature(target).parameters
    assert set(part.example) <= set(accepted), f"{part.target} does not take {set(part.example) - set(accepted)}"


class TestTransform:
    @by_kind("transform")
    def test_scikit_learn_contract(self, part: Component, matrix: np.ndarray) -> None:
        from sklearn.base import clone
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        estimator = part.build()
        assert isinstance(estimator, Transform)
        parameters = estimator.get_params()
        assert clone(estimator).get_params() == parameters
        assert estimator.fit(matrix) is estimator
        assert estimator.get_params() == parameters  # fit leaves the parameters alone
        result = estimator.transform(matrix)
        assert len(result) == ROWS
        assert result.dtype in (np.float32, np.float16) or result.dtype.kind in "uib"
        piped = make_pipeline(StandardScaler(), part.build()).fit(matrix).transform(matrix)
        assert piped.shape == result.shape

    @by_kind("transform")
    def test_same_seed_same_result(self, part: Component, matrix: np.ndarray) -> None:
        first, second = (part.build().fit(matrix).transform(matrix) for _ in range(2))
        assert np.array_equal(first, second)
        assert np.array_equal(first, part.build().fit_transform(matrix))

    @by_kind("transform")
    def test_rows_are_independent(self, part: Component, matrix: np.ndarray) -> None:
        fitted = part.build().fit(matrix)
        assert np.array_equal(fitted.transform(matrix)[10:20], fitted.transform(matrix[10:20]))

    @by_kind("transform")
    def test_gives_back_the_kind_it_got(self, part: Component, matrix: np.ndarray) -> None:
        fitted = part.build().fit(matrix)
        expected = fitted.transform(matrix)
        as_tensor = fitted.transform(torch.from_numpy(matrix))
        assert isinstance(as_tensor, torch.Tensor)
        assert np.array_equal(as_tensor.numpy(), expected)
        if expected.dtype == np.float32:
            ids = [f"v{row}" for row in range(ROWS)]
            as_vectors = fitted.transform(Vectors(matrix, ids=ids))
            assert isinstance(as_vectors, Vectors)
            assert as_vectors.ids.tolist() == ids

    @by_kind("transform")
    def test_does_not_change_its_input(self, part: Component, matrix: np.ndarray) -> None:
        before = matrix.copy()
        part.build().fit(matrix).transform(matrix)
        assert np.array_equal(before, matrix)

    @by_kind("transform")
    def test_inverse_has_the_original_width(self, part: Component, matrix: np.ndarray) -> None:
        fitted = part.build().fit(matrix)
        back = fitted.inverse_transform(fitted.transform(matrix))
        assert back.shape == matrix.shape
        assert np.isfinite(back).all()

    @by_kind("transform")
    def test_bad_input(self, part: Component, matrix: np.ndarray) -> None:
        fitted = part.build().fit(matrix)
        for bad in bad_matrices(matrix).values():
            refuses(lambda bad=bad: part.build().fit(bad))
            refuses(lambda bad=bad: fitted.transform(bad))
        refuses(lambda: fitted.transform(matrix[:, :-1]))
        refuses(lambda: part.build().transform(matrix))  # before fit
        refuses(lambda: part.build().fit(matrix[:0]))
        assert len(fitted.transform(matrix[:0])) == 0

    @by_kind("transform")
    def test_save_and_load(self, part: Component, matrix: np.ndarray, tmp_path) -> None:
        fitted = part.build().fit(matrix)
        fitted.save(tmp_path / "part")
        again = part.load().load(tmp_path / "part")
        assert again.get_params() == fitted.get_params()
        assert np.array_equal(again.transform(matrix), fitted.transform(matrix))


class TestIndex:
    @by_kind("index")
    def test_finds_what_is_there(self, part: Component, matrix: np.ndarray) -> None:
        index = part.build()
        assert isinstance(index, Index)
        assert index.nbytes == 0
        index.add(matrix, [f"v{row}" for row in range(ROWS)])
        assert index.nbytes > 0
        scores, ids = index.search(matrix, 5)
        assert scores.shape == ids.shape == (ROWS, 5)
        assert (np.diff(scores, axis=1) <= 0).all()
        assert (ids[:, 0] == [f"v{row}" for row in range(ROWS)]).mean() >= 0.9
        assert all(len(set(row)) == 5 for row in ids.tolist())

    @by_kind("index")
    def test_adding_in_parts_is_the_same(self, part: Component, matrix: np.ndarray) -> None:
        whole, parts = part.build(), part.build()
        whole.add(matrix)
        parts.add(matrix[:40])
        parts.add(matrix[40:])
        for one, other in zip(whole.search(matrix, 3), parts.search(matrix, 3), strict=True):
            assert np.array_equal(one, other)

    @by_kind("index")
    def test_save_and_load(self, part: Component, matrix: np.ndarray, tmp_path) -> None:
        index = part.build()
        index.add(matrix, [f"v{row}" for row in range(ROWS)])
        index.save(tmp_path / "index")
        again = part.load().load(tmp_path / "index")
        assert again.nbytes == index.nbytes
        for one, other in zip(index.search(matrix, 4), again.search(matrix, 4), strict=True):
            assert np.array_equal(one, other)

    @by_kind("index")
    def test_bad_input(self, part: Component, matrix: np.ndarray) -> None:
        index = part.build()
        refuses(lambda: index.search(matrix, 1))  # empty
        index.add(matrix)
        for bad in bad_matrices(matrix).values():
            refuses(lambda bad=bad: index.add(bad))
            refuses(lambda bad=bad: index.search(bad, 1))
        refuses(lambda: index.add(matrix[:, :-1]))
        refuses(lambda: index.search(matrix[:, :-1], 1))
        refuses(lambda: index.add(matrix, ["a"]))
        refuses(lambda: index.search(matrix, 0))
        scores, _ = index.search(matrix[:2], ROWS)
        assert scores.shape == (2, ROWS)


class TestObjective:
    def inputs(self, part: Component) -> tuple[torch.Tensor, ...]:
        generator = torch.Generator().manual_seed(0)
        count = 3 if "triplet" in part.tags else 2
        lead = (8,) if "layers" in part.tags else ()  # the pooled outputs of eight layers
        return tuple(torch.randn(*lead, 8, DIM, generator=generator) for _ in range(count))

    @by_kind("objective")
    def test_scalar_with_gradient(self, part: Component) -> None:
        objective = part.build()
        assert isinstance(objective, torch.nn.Module)
        embeddings = tuple(value.requires_grad_() for value in self.inputs(part))
        loss = objective(*embeddings)
        assert loss.shape == ()
        loss.backward()
        for value in embeddings:
            assert value.grad is not None
            assert torch.isfinite(value.grad).all()
            assert value.grad.abs().sum() > 0

    @by_kind("objective")
    def test_gradient_agrees_with_differences(self, part: Component) -> None:
        objective = part.build().double()
        embeddings = tuple(value.double().requires_grad_() for value in self.inputs(part))
        assert torch.autograd.gradcheck(objective, embeddings, fast_mode=True)

    @by_kind("objective")
    def test_same_input_same_value(self, part: Component) -> None:
        embeddings = self.inputs(part)
        assert part.build()(*embeddings).item() == part.build()(*embeddings).item()

    @by_kind("objective")
    def test_moves_with_the_module(self, part: Component) -> None:
        objective = part.build().to(torch.float64)
        assert objective(*(value.double() for value in self.inputs(part))).dtype == torch.float64

    @by_kind("objective")
    def test_bad_input(self, part: Component) -> None:
        objective = part.build()
        embeddings = self.inputs(part)
        refuses(lambda: objective(embeddings[0][0], *embeddings[1:]))
        refuses(lambda: objective(embeddings[0][:, :-1], *embeddings[1:]))
        refuses(lambda: objective(embeddings[0][:5], *embeddings[1:]))


class TestGraphEncoder:
    def graph(self):
        import networkx

        return networkx.karate_club_graph()

    @by_kind("graph-encoder")
    def test_one_vector_a_node_for_every_kind_of_graph(self, part: Component) -> None:
        import networkx
        import scipy.sparse

        graph = self.graph()
        encoder = part.build(seed=1)
        assert isinstance(encoder, GraphEncoder)
        result = encoder.fit_transform(graph)
        assert result.shape == (34, encoder.get_params()["dim"])
        assert result.dtype == np.float32
        assert np.isfinite(result).all()
        sparse = scipy.sparse.csr_matrix(networkx.to_scipy_sparse_array(graph, dtype=np.float64))
        assert np.allclose(part.build(seed=1).fit_transform(sparse), result, atol=1e-5)

    @by_kind("graph-encoder")
    def test_same_seed_same_result(self, part: Component) -> None:
        first, second, other = (part.build(seed=seed).fit_transform(self.graph()) for seed in (3, 3, 4))
        assert np.array_equal(first, second)
        assert not np.array_equal(first, other)

    @by_kind("graph-encoder")
    def test_clone_and_bad_input(self, part: Component) -> None:
        import scipy.sparse
        from sklearn.base import clone

        encoder = part.build(seed=0)
        assert clone(encoder).get_params() == encoder.get_params()
        square = scipy.sparse.random(6, 6, 0.5, random_state=0, format="csr")
        negative = scipy.sparse.csr_matrix(np.array([[0.0, -1.0], [-1.0, 0.0]]))
        broken = scipy.sparse.csr_matrix(np.array([[0.0, np.nan], [np.nan, 0.0]]))
        for bad in (square[:4], negative, broken, "graph", np.ones(3), scipy.sparse.csr_matrix((0, 0))):
            refuses(lambda bad=bad: part.build(seed=0).fit_transform(bad))


class TestEncoder:
    @pytest.fixture(scope="class")
    def built(self):
        return {part.name: part.build() for part in components("encoder")}

    @by_kind("encoder")
    def test_one_vector_an_item(self, part: Component, built) -> None:
        encoder = built[part.name]
        assert isinstance(encoder, Encoder)
        result = encoder.encode(TEXTS)
        assert result.shape == (len(TEXTS), encoder.dim)
        assert result.dtype == np.float32
        assert np.isfinite(result).all()
        assert np.array_equal(result, encoder.encode(TEXTS))
        assert np.allclose(result[2], result[3], atol=1e-6)
        assert encoder.encode([]).shape == (0, encoder.dim)
        assert encoder.encode(TEXTS[0]).shape == (encoder.dim,)

    @by_kind("encoder")
    def test_order_does_not_matter(self, part: Component, built) -> None:
        encoder = built[part.name]
        result = encoder.encode(TEXTS)
        turned = encoder.encode(TEXTS[::-1])[::-1]
        cosine = (result * turned).sum(1) / np.linalg.norm(result, axis=1) / np.linalg.norm(turned, axis=1)
        assert cosine.min() > 0.999

    @by_kind("encoder")
    def test_bad_input(self, part: Component, built) -> None:
        for bad in ([None], ["fine", 3], [b"bytes"], 5, None, [["nested"]]):
            refuses(lambda bad=bad: built[part.name].encode(bad))
