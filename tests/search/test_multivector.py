"""Exact Chamfer scores, ball carving, the single-vector heuristic, and the two-stage index."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvec.compress import FixedDimensionalEncoding
from polyvec.core.errors import (
    EncoderMismatchError,
    FileProblemError,
    FormatError,
    InvalidTypeError,
    InvalidValueError,
    NotFittedError,
    PolyvecError,
    StoreError,
)
from polyvec.search import MultiVectorIndex, ball_carve, chamfer, chamfer_matrix, single_vector_candidates

DIM = 16


def random_sets(seed, count, longest=9):
    draws = np.random.default_rng(seed)
    sets = [draws.normal(size=(draws.integers(1, longest + 1), DIM)).astype(np.float32) for _ in range(count)]
    return [one / np.linalg.norm(one, axis=1, keepdims=True) for one in sets]


def slow_chamfer(query, document):
    return float(sum(max(float(q @ p) for p in document) for q in query))


@pytest.fixture
def documents():
    return random_sets(0, 60)


@pytest.fixture
def queries():
    return random_sets(1, 7, longest=4)


@pytest.fixture
def exact(queries, documents):
    return np.array([[slow_chamfer(query, document) for document in documents] for query in queries])


@pytest.fixture
def encoder(documents):
    return FixedDimensionalEncoding(6, 2, 8).fit(documents)


def built(encoder, documents, *arguments, ids=None, **options):
    index = MultiVectorIndex(encoder, *arguments, **options)
    index.add(documents, ids)
    return index


# -- exact scores -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 1, 7, 1000])
def test_chamfer_matrix_is_the_definition(monkeypatch, queries, documents, exact, batch):
    assert np.allclose(chamfer_matrix(queries, documents, batch), exact, atol=1e-5)
    monkeypatch.setattr("polyvec.search.multivector.chamfer._BLOCK", 50)
    assert np.allclose(chamfer_matrix(queries, documents, batch), exact, atol=1e-5)
    assert chamfer(queries[2], documents[5]) == pytest.approx(exact[2, 5], abs=1e-5)


def test_chamfer_of_tensors(queries):
    cube = torch.from_numpy(np.stack([one[:1] for one in queries]))
    result = chamfer_matrix(cube, list(cube))
    assert isinstance(result, torch.Tensor)
    assert np.allclose(result.numpy(), cube[:, 0].numpy() @ cube[:, 0].numpy().T, atol=1e-6)
    assert chamfer(cube[0], cube[1]) == pytest.approx(float(cube[0] @ cube[1].T), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(-0.5, 0.99))
def test_ball_carving_groups_as_described(seed, tau):
    query = random_sets(seed, 1, longest=12)[0]
    left, wanted = list(range(len(query))), []
    while left:
        group = [number for number in left if number == left[0] or query[left[0]] @ query[number] >= tau]
        wanted.append(query[group].sum(axis=0))
        left = [number for number in left if number not in group]
    carved = ball_carve(query, tau)
    assert carved.shape == (len(wanted), DIM)
    assert np.allclose(carved, wanted, atol=1e-5)
    assert np.allclose(carved.sum(0), query.sum(0), atol=1e-4)


def test_carved_scores_are_never_above_exact_ones(queries, documents, exact):
    scores = [[chamfer(ball_carve(query, 0.2), document) for document in documents] for query in queries]
    assert (np.array(scores) <= exact + 1e-5).all()
    assert np.allclose(ball_carve(queries[0], 2.0), queries[0])  # nothing is that near
    assert isinstance(ball_carve(torch.from_numpy(queries[0])), torch.Tensor)
    with pytest.raises(InvalidValueError, match="tau"):
        ball_carve(queries[0], float("nan"))


@pytest.mark.parametrize("deduplicate", [True, False])
@pytest.mark.parametrize("count", [1, 5, 40, 60, 1000])
def test_heuristic_takes_neighbours_in_turn(queries, documents, count, deduplicate):
    owners = np.repeat(np.arange(len(documents)), [len(one) for one in documents])
    values = np.concatenate(documents)
    for query in queries:
        ranked = [sorted(range(len(values)), key=lambda row, q=vector: -float(values[row] @ q)) for vector in query]
        wanted = [int(owners[ranking[rank]]) for rank in range(len(values)) for ranking in ranked]
        if deduplicate:
            wanted = list(dict.fromkeys(wanted))
        found = single_vector_candidates(query, documents, count, deduplicate=deduplicate)
        assert found.tolist() == wanted[:count]


# -- index ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["flat", "faiss"])
def test_with_all_candidates_it_is_exact_search(encoder, documents, queries, exact, engine):
    index = built(encoder, documents, engine, ids=[f"d{number}" for number in range(60)])
    scores, ids = index.search(queries, 5, n_candidates=60)
    order = np.argsort(-exact, axis=1)[:, :5]
    assert ids.tolist() == [[f"d{number}" for number in row] for row in order]
    assert np.allclose(scores, np.take_along_axis(exact, order, axis=1), atol=1e-5)


@pytest.mark.parametrize("engine", ["flat", "faiss"])
def test_few_candidates_are_the_best_by_inner_product(encoder, documents, queries, exact, engine):
    index = built(encoder, documents, engine)
    estimates = encoder.transform_queries(queries) @ encoder.transform_documents(documents).T
    best = np.argsort(-estimates, axis=1)[:, :12]
    assert [row.tolist() for row in index.candidates(queries, 12)] == best.tolist()
    scores, ids = index.search(queries, 3, n_candidates=12)
    for row in range(len(queries)):
        wanted = sorted(best[row], key=lambda number, row=row: -exact[row, number])[:3]
        assert ids[row].tolist() == wanted
        assert np.allclose(scores[row], exact[row, wanted], atol=1e-5)


def test_equal_scores_come_in_the_order_of_the_documents(encoder, documents):
    same = [documents[0]] * 5 + documents[1:20]
    index = built(encoder, same)
    _, ids = index.search([documents[0]], 5)
    assert ids[0].tolist() == [0, 1, 2, 3, 4]


def test_more_results_than_documents(encoder, documents, queries):
    scores, ids = built(encoder, documents[:4]).search(queries, 50)
    assert scores.shape == ids.shape == (7, 4)
    assert sorted(ids[0].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("engine", ["flat", "faiss"])
def test_adding_in_parts_and_removing_is_the_same_as_building_anew(encoder, documents, queries, engine):
    parts = built(encoder, documents[:25], engine)
    parts.add(documents[25:])
    whole = built(encoder, documents, engine)
    assert np.array_equal(parts.search(queries, 5, 20)[1], whole.search(queries, 5, 20)[1])
    assert parts.remove([3, 30, 59, 999]) == 3
    left = [number for number in range(60) if number not in (3, 30, 59)]
    anew = built(encoder, [documents[number] for number in left], engine, ids=left)
    assert len(parts) == 57
    for one, other in zip(parts.search(queries, 5, 20), anew.search(queries, 5, 20), strict=True):
        assert np.array_equal(one, other)
    parts.add(documents[3:4])
    assert parts.ids[-1] == 59  # numbered on from the largest that is there
    assert parts.remove([]) == 0


@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-6), ("float16", 2e-3), ("int8", 2e-2)])
def test_precision_of_kept_vectors(encoder, documents, queries, exact, precision, bound):
    index = built(encoder, documents, precision=precision)
    scores, ids = index.search(queries, 60, n_candidates=60)
    assert np.abs(scores - np.take_along_axis(exact, ids, axis=1)).max() <= bound * 4
    kept = {"float32": 4, "float16": 2, "int8": 1}[precision] * DIM + (4 if precision == "int8" else 0)
    vectors = sum(map(len, documents))
    assert index.nbytes == index.encoding_nbytes + vectors * kept + 61 * 8


def test_numbers_too_large_for_half_precision_are_refused(encoder, documents):
    index = MultiVectorIndex(encoder, precision="float16")
    with pytest.raises(InvalidValueError, match="too large for float16"):
        index.add([1e6 * documents[0]])
    assert len(index) == 0


def test_product_quantisation_is_32_times_smaller_and_finds_most(queries):
    documents = random_sets(3, 1500)
    encoder = FixedDimensionalEncoding(8, 3, 8).fit(documents)
    whole = built(encoder, documents, "faiss")
    with pytest.warns(UserWarning, match="256 centroids from 1500 documents"):
        quantised = built(encoder, documents, "faiss", factory="PQ")
    bytes_each = [one.encoding_nbytes / 1500 for one in (whole, quantised)]
    assert bytes_each[0] == pytest.approx(4 * 512, rel=0.01)
    assert bytes_each[1] <= 512 / 8 + 512 * 256 * 4 / 1500 + 1  # codes, and the shared centroids
    found = [[set(row.tolist()) for row in index.candidates(queries, 100)] for index in (whole, quantised)]
    shared = np.mean([len(one & other) / 100 for one, other in zip(*found, strict=True)])
    assert shared > 0.7
    assert quantised.remove([0, 1]) == 2


def test_an_approximate_index_that_finds_too_few_is_topped_up(documents, queries):
    encoder = FixedDimensionalEncoding(2, 1, 4).fit(documents)
    index = built(encoder, documents, "faiss", factory="HNSW4")
    index._engine._index.hnsw.efSearch = 1
    _, ids = index.search(queries, 60, n_candidates=60)
    assert all(sorted(row) == list(range(60)) for row in ids.tolist())
    with pytest.raises(InvalidValueError, match="cannot drop"):
        index.remove([1])


def test_carving_in_search(encoder, documents, queries):
    index = built(encoder, documents)
    scores, ids = index.search(queries, 4, n_candidates=60, carve=0.2)
    carved = [ball_carve(query, 0.2) for query in queries]
    wanted = chamfer_matrix(carved, documents)
    assert np.allclose(scores, -np.sort(-wanted, axis=1)[:, :4], atol=1e-5)
    assert np.array_equal(ids[:, 0], wanted.argmax(1))


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["flat", "faiss"])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize("memory_map", [True, False])
def test_save_and_load(tmp_path, encoder, documents, queries, engine, precision, memory_map):
    index = built(encoder, documents, engine, precision=precision, ids=[f"d{number}" for number in range(60)])
    index.save(tmp_path / "index")
    again = MultiVectorIndex.load(tmp_path / "index", memory_map=memory_map)
    assert repr(again) == repr(index)
    assert again.nbytes == index.nbytes
    for one, other in zip(index.search(queries, 4, 9), again.search(queries, 4, 9), strict=True):
        assert np.array_equal(one, other)
    again.add(documents[:2], ["x", "y"])
    again.remove(["d5"])
    assert len(again) == 61
    MultiVectorIndex(encoder).save(tmp_path / "empty")
    assert len(MultiVectorIndex.load(tmp_path / "empty")) == 0


def test_another_encoder_is_refused(tmp_path, encoder, documents, queries):
    index = built(encoder, documents)
    index.save(tmp_path / "index")
    other = FixedDimensionalEncoding(6, 2, 8, random_state=1).fit(documents)
    with pytest.raises(EncoderMismatchError, match="FDE config fingerprint differs"):
        MultiVectorIndex.load(tmp_path / "index", other)
    same = FixedDimensionalEncoding(6, 2, 8).fit(documents[:30])
    assert MultiVectorIndex.load(tmp_path / "index", same).encoder is same
    encoder.set_params(n_bits=3).fit(documents)
    for action in (lambda: index.search(queries), lambda: index.add(documents), lambda: index.save(tmp_path / "no")):
        with pytest.raises(EncoderMismatchError, match="FDE config fingerprint differs"):
            action()
    assert not (tmp_path / "no").exists()


def test_damaged_files_are_refused(tmp_path, encoder, documents):
    built(encoder, documents).save(tmp_path / "good")
    with pytest.raises(FileProblemError):
        MultiVectorIndex.load(tmp_path / "missing")
    for name in ("index.json", "encoder.safetensors", "documents.arrow", "vectors.npy", "encodings.npy"):
        folder = tmp_path / "bad"
        shutil.copytree(tmp_path / "good", folder)
        (folder / name).write_bytes((folder / name).read_bytes()[:-40])
        with pytest.raises(FormatError):
            MultiVectorIndex.load(folder)
        (folder / name).unlink()
        with pytest.raises(FileProblemError):
            MultiVectorIndex.load(folder)
        shutil.rmtree(folder)
    state = json.loads((tmp_path / "good" / "index.json").read_text())
    for change in ({"documents": 59}, {"fingerprint": "0"}, {"format": "x"}, {"precision": "int8"}):
        (tmp_path / "good" / "index.json").write_text(json.dumps({**state, **change}))
        with pytest.raises(FormatError):
            MultiVectorIndex.load(tmp_path / "good")


# -- bad input --------------------------------------------------------------------------------------------------------


def test_bad_construction(encoder):
    for arguments, options, error, message in (
        ((FixedDimensionalEncoding(),), {}, NotFittedError, "call fit first"),
        (("encoder",), {}, InvalidTypeError, "encoder: got str"),
        ((encoder, "annoy"), {}, InvalidValueError, "engine: got 'annoy'"),
        ((encoder,), {"precision": "bit"}, InvalidValueError, "precision: got 'bit'"),
        ((encoder, "faiss"), {"factory": "nonsense"}, InvalidValueError, "FAISS cannot make 'nonsense'"),
    ):
        with pytest.raises(error, match=message) as caught:
            MultiVectorIndex(*arguments, **options)
        assert isinstance(caught.value, PolyvecError)
        assert "\n" not in str(caught.value)


def test_bad_documents_leave_the_index_alone(encoder, documents, queries):
    index = built(encoder, documents)
    before = index.search(queries, 5)
    broken = [one.copy() for one in documents[:3]]
    broken[1][0, 0] = np.nan
    for bad, ids, message in (
        ([documents[0], documents[1][:0]], None, "document 1 has no vectors"),
        (broken, None, "document 1: vector 0 holds NaN"),
        ([documents[0][:, :-1]], None, "fitted on 16"),
        (documents[:2], ["a"], "needs one each"),
        (documents[:2], ["a", "b"], "ids of int64"),
        (documents[:2], [70, 70], "more than once"),
        (documents[:2], [5, 70], "more than once"),
        (documents[0], None, "one array of 2 dimensions"),
    ):
        with pytest.raises((InvalidValueError, InvalidTypeError), match=message):
            index.add(bad, ids)
    for one, other in zip(index.search(queries, 5), before, strict=True):
        assert np.array_equal(one, other)
    named = built(encoder, documents[:2], ids=["a", "b"])
    with pytest.raises(InvalidValueError, match="ids of text"):
        named.add(documents[2:4])


def test_bad_searches(encoder, documents, queries):
    with pytest.raises(StoreError, match="holds no documents"):
        MultiVectorIndex(encoder).search(queries)
    index = built(encoder, documents)
    for arguments, message in (
        ((queries, 0), "k: got 0"),
        ((queries, 10, 5), "n_candidates: got 5, needs at least k = 10"),
        (([queries[0], queries[1][:0]],), "query 1 has no vectors"),
        (([queries[0][:, :-1]],), "needs 16"),
        (([],), "got none"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            index.search(*arguments)


def test_quantiser_needs_documents_to_learn_from(encoder, documents):
    index = MultiVectorIndex(encoder, "faiss", factory="PQ")
    with pytest.raises(InvalidValueError, match="at least 256"):
        index.add(documents)
    assert len(index) == 0
    odd = FixedDimensionalEncoding(1, 0, 9).fit(documents)
    with pytest.raises(InvalidValueError, match="8 divides"):
        MultiVectorIndex(odd, "faiss", factory="PQ")
