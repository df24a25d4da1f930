"""Fixed dimensional encodings against their definition and against laws that hold exactly."""

import itertools

import numpy as np
import pytest
from fixed_dimensional_testing import brute_force, random_sets, slow_chamfer
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvec.compress import FixedDimensionalEncoding, VectorSets
from polyvec.compress.fixed_dimensional.cells import cell_numbers, nearest_vectors, sum_over_cells
from polyvec.compress.fixed_dimensional.sketch import Sketch

DIM = 12


def scores(encoder, queries, documents):
    return encoder.transform_queries(queries) @ encoder.transform_documents(documents).T


def exact(queries, documents):
    return np.array([[slow_chamfer(query, document) for document in documents] for query in queries])


@pytest.mark.parametrize("bits", [0, 1, 3, 6])
@pytest.mark.parametrize("projection", [None, 1, 5])
@pytest.mark.parametrize(("fill", "center"), [(True, True), (True, False), (False, True), (False, False)])
def test_agrees_with_the_definition(bits, projection, fill, center):
    documents, queries = random_sets(1), random_sets(2)
    encoder = FixedDimensionalEncoding(3, bits, projection, fill, center, random_state=7).fit(documents)
    drawn = encoder._sketch
    planes = drawn.planes.reshape(DIM, 3, bits)
    signs = None if drawn.signs is None else drawn.signs.reshape(DIM, 3, projection)
    shift = encoder.token_mean_ if center else None
    for query, sets, got in (
        (True, queries, encoder.transform_queries(queries)),
        (False, documents, encoder.transform_documents(documents)),
    ):
        wanted = [brute_force(s, planes, signs, query=query, fill=fill, repetitions=3, shift=shift) for s in sets]
        assert got.dtype == np.float32
        assert got.shape == (len(sets), 3 * 2**bits * (projection or DIM)) == (len(sets), encoder.n_features_out_)
        assert np.allclose(got, wanted, atol=1e-5)


def test_projections_are_independent_signs_and_hyperplanes_gaussian():
    drawn = Sketch.draw(64, 40, 4, 16, None, seed=3)
    assert set(np.unique(drawn.signs)) == {-1, 1}
    assert abs(drawn.signs.mean()) < 0.02
    assert abs(drawn.planes.mean()) < 0.03
    assert abs(drawn.planes.std() - 1) < 0.03
    gram = drawn.signs.astype(float).T @ drawn.signs / 64
    np.fill_diagonal(gram, 0)
    assert abs(gram).max() < 0.7  # no column repeats or negates another


# -- laws -------------------------------------------------------------------------------------------------------------


def test_one_cell_without_projection_is_sum_times_mean():
    queries, documents = random_sets(3), random_sets(4)
    encoder = FixedDimensionalEncoding(1, 0, None).fit(documents)
    wanted = [[q.sum(0) @ p.mean(0) for p in documents] for q in queries]
    assert np.allclose(scores(encoder, queries, documents), wanted, atol=1e-5)


@pytest.mark.parametrize("bits", range(7))
def test_a_single_document_vector_with_fill_is_exact(bits):
    queries, documents = random_sets(5), [one[:1] for one in random_sets(6)]
    encoder = FixedDimensionalEncoding(4, bits, None).fit(documents)
    assert np.allclose(scores(encoder, queries, documents), exact(queries, documents), atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 6))
def test_never_above_chamfer_without_projection(seed, bits):
    queries, documents = random_sets(seed), random_sets(seed + 1)
    encoder = FixedDimensionalEncoding(1, bits, None, random_state=seed).fit(documents)
    assert (scores(encoder, queries, documents) <= exact(queries, documents) + 1e-5).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([None, 3]), st.booleans())
def test_order_within_a_set_does_not_matter(seed, projection, center):
    documents = random_sets(seed)
    encoder = FixedDimensionalEncoding(3, 2, projection, fill_empty=False, center=center).fit(documents)
    turned = [one[::-1] for one in documents]
    for encode in (encoder.transform_documents, encoder.transform_queries):
        assert np.allclose(encode(documents), encode(turned), atol=1e-5)


def test_order_matters_only_for_ties_of_filled_cells():
    documents = random_sets(8, longest=5)
    encoder = FixedDimensionalEncoding(2, 3, None).fit(documents)
    one, other = (encoder.transform_documents(sets).reshape(len(documents), 2, 8, DIM) for sets in
                  (documents, [each[::-1] for each in documents]))  # fmt: skip
    for number, document in enumerate(documents):
        for repetition, cell in itertools.product(range(2), range(8)):
            if not np.allclose(one[number, repetition, cell], other[number, repetition, cell], atol=1e-5):
                for block in (one, other):  # a tie: both are vectors of the document
                    vector = block[number, repetition, cell] * np.sqrt(2)
                    assert np.isclose(document, vector, atol=1e-5).all(axis=1).any()


def test_error_falls_with_repetitions_as_one_over_root():
    queries, documents = random_sets(9, 20), random_sets(10, 20)
    errors = []
    for repetitions in (4, 64):
        estimates = [
            scores(
                FixedDimensionalEncoding(repetitions, 2, 6, random_state=seed).fit(documents), queries, documents
            ) for seed in range(12)
        ]  # fmt: skip
        errors.append(np.std(estimates, axis=0).mean())  # about the mean, as the estimate leans low
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


def test_projection_keeps_inner_products_in_expectation():
    queries, documents = random_sets(11), random_sets(12)
    plain = FixedDimensionalEncoding(1, 0, None).fit(documents)
    projected = FixedDimensionalEncoding(3000, 0, 4).fit(documents)
    wanted = scores(plain, queries, documents)
    assert np.abs(scores(projected, queries, documents) - wanted).max() < 0.25 * np.abs(wanted).max()


def test_a_count_sketch_keeps_inner_products_in_expectation():
    queries, documents = random_sets(13), random_sets(14)
    wanted = scores(FixedDimensionalEncoding(4, 2, 4).fit(documents), queries, documents)
    draws = []
    encoder = FixedDimensionalEncoding(4, 2, 4).fit(documents)
    full = [encoder.transform_queries(queries), encoder.transform_documents(documents)]
    for seed in range(200):  # the sketch alone, drawn anew
        generator = np.random.default_rng(seed)
        targets, flips = generator.integers(0, 64, 64), generator.choice([-1, 1], 64)
        matrix = np.zeros((64, 64))
        matrix[np.arange(64), targets] = flips
        draws.append((full[0] @ matrix) @ (full[1] @ matrix).T)
    assert np.abs(np.mean(draws, axis=0) - wanted).max() < 4 * (np.std(draws, axis=0) / np.sqrt(200)).max()


def test_final_projection_is_the_count_sketch_of_the_whole():
    documents = random_sets(15)
    whole = FixedDimensionalEncoding(3, 2, 5).fit(documents)
    sketched = FixedDimensionalEncoding(3, 2, 5, final_dim=17).fit(documents)
    matrix = np.zeros((60, 17))
    matrix[np.arange(60), sketched._sketch.targets] = sketched._sketch.flips
    for method in ("transform_documents", "transform_queries"):
        assert np.allclose(getattr(sketched, method)(documents), getattr(whole, method)(documents) @ matrix, atol=1e-5)


def test_first_repetitions_do_not_depend_on_how_many_follow():
    documents = random_sets(16)
    few, many = (FixedDimensionalEncoding(count, 3, 4).fit(documents).transform(documents) for count in (2, 5))
    assert np.allclose(few * np.sqrt(2), many[:, : few.shape[1]] * np.sqrt(5), atol=1e-5)


def test_centring_moves_all_scores_of_a_query_alike():
    """<q, p - mean> = <q, p> - <q, mean>: with one document vector the estimate is exact, so the shift shows."""
    queries, documents = random_sets(17), [one[:1] for one in random_sets(18)]
    encoder = FixedDimensionalEncoding(3, 4, None, center=True).fit(documents)
    shift = np.array([query.sum(0) @ encoder.token_mean_ for query in queries])
    assert np.allclose(scores(encoder, queries, documents), exact(queries, documents) - shift[:, None], atol=1e-5)


def test_centring_helps_in_a_narrow_cone_and_the_warning_comes():
    draws = np.random.default_rng(0)
    direction = draws.normal(size=64)
    direction /= np.linalg.norm(direction)

    def cone(count, most):
        sets = []
        for _ in range(count):
            vectors = direction + 0.015 * draws.normal(size=(draws.integers(4, most), 64)) / 8
            sets.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        return sets

    documents = cone(200, 12)
    queries = [one[:3] + 0.005 * draws.normal(size=one[:3].shape) / 8 for one in documents[:40]]
    own = np.arange(40)
    with pytest.warns(UserWarning, match=r"narrow cone.*center=True"):
        plain = FixedDimensionalEncoding(4, 3, None).fit(documents)
    assert plain.maxsim_spread_ < 0.05
    centred = FixedDimensionalEncoding(4, 3, None, center=True).fit(documents)
    assert (exact(queries, documents).argmax(1) == own).mean() == 1
    found = [(scores(encoder, queries, documents).argmax(1) == own).mean() for encoder in (plain, centred)]
    assert found[1] > found[0] + 0.3


def test_spread_of_vectors_without_a_cone_is_wide(recwarn):
    documents = random_sets(19, count=50)
    encoder = FixedDimensionalEncoding(2, 2, 4).fit(documents)
    assert encoder.maxsim_spread_ > 0.3
    assert FixedDimensionalEncoding(2, 2, 4).fit(documents[:9]).maxsim_spread_ is None
    assert not recwarn


# -- pieces -----------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 7), st.integers(1, 40), st.integers(1, 3))
def test_nearest_vectors_are_the_first_of_the_fewest_different_bits(seed, bits, count, repetitions):
    cells = np.random.default_rng(seed).integers(0, 1 << bits, size=(count, repetitions))
    found = nearest_vectors(cells + (np.arange(repetitions) << bits), repetitions, bits)
    for repetition in range(repetitions):
        for cell in range(1 << bits):
            distances = [bin(int(code) ^ cell).count("1") for code in cells[:, repetition]]
            assert found[repetition, cell] == int(np.argmin(distances))


def test_cell_numbers_are_exact_up_to_24_bits():
    draws = np.random.default_rng(0)
    bits = draws.random((50, 48)) < 0.5
    bits[0] = True
    wanted = [[sum(int(bit) << position for position, bit in enumerate(row[part : part + 24])) for part in (0, 24)]
              for row in bits]  # fmt: skip
    assert cell_numbers(bits, 2).tolist() == wanted
    assert cell_numbers(bits[:, :0], 3).tolist() == [[0, 0, 0]] * 50


def test_sums_over_cells():
    draws = np.random.default_rng(1)
    place = np.stack([draws.integers(0, 5, 30), draws.integers(5, 9, 30)], axis=1)
    shared, own = draws.normal(size=(30, 3)), draws.normal(size=(60, 3))
    wanted = np.zeros((2, 9, 3))
    for row, places in enumerate(place):
        for repetition, cell in enumerate(places):
            wanted[0, cell] += shared[row]
            wanted[1, cell] += own[2 * row + repetition]
    assert np.allclose(sum_over_cells(shared, place, 9), wanted[0])
    assert np.allclose(sum_over_cells(own, place, 9), wanted[1])


def test_blocks_do_not_change_the_result(monkeypatch):
    documents = random_sets(20, count=30)
    encoder = FixedDimensionalEncoding(3, 2, 4).fit(documents)
    whole = encoder.transform_documents(documents)
    monkeypatch.setattr("polyvec.compress.fixed_dimensional.encoding._BLOCK", 100)
    assert len(list(encoder._blocks(VectorSets.from_list(documents)))) > 5
    assert np.allclose(encoder.transform_documents(documents), whole, atol=1e-6)
