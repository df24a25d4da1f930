"""Very sparse random projections: distribution, scaling, and rows that depend on the seed and their number alone."""

import numpy as np
import pytest

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.encode.graph import sparse_projection
from polyvec.encode.graph.projection import dense_projection
from polyvec.encode.graph.streams import draw, mix, row_keys, unit_interval


def splitmix64(state: int) -> int:
    """One output of SplitMix64 in plain Python integers."""
    size = 2**64
    value = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % size
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % size
    return value ^ (value >> 31)


def test_streams_are_splitmix64():
    states = np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    assert mix(states).tolist() == [splitmix64(int(state)) for state in states]
    for number in (0, 1, 7):
        expected = [splitmix64((int(state) + (number + 1) * 0x9E3779B97F4A7C15) % 2**64) for state in states]
        assert draw(states, number).tolist() == expected
    # the first two outputs of the published generator for seed 1234567
    assert draw(np.array([1234567], np.uint64), 0).tolist() == [6457827717110365317]
    assert draw(np.array([1234567], np.uint64), 1).tolist() == [3203168211198807973]
    numbers = unit_interval(draw(row_keys(np.uint64(5), np.arange(100_000)), 0))
    assert 0 <= numbers.min() < numbers.max() < 1
    np.testing.assert_allclose(np.histogram(numbers, bins=10)[0], 10_000, rtol=0.05)


def test_share_of_non_zeros_is_one_over_the_square_root_of_the_rows():
    for seed in range(3):
        matrix = sparse_projection(10_000, 128, seed=seed)
        assert matrix.nnz / (10_000 * 128) == pytest.approx(1 / np.sqrt(10_000), rel=0.05)
        assert set(np.abs(matrix.data)) == {np.float32(np.sqrt(100 / 128))}
        assert abs(np.mean(np.sign(matrix.data))) < 4 / np.sqrt(matrix.nnz)
        assert matrix.has_canonical_format
    columns = np.bincount(sparse_projection(40_000, 16, seed=3).indices, minlength=16)  # 200 are expected in each
    assert np.abs(columns - 200).max() < 5 * np.sqrt(200)


@pytest.mark.parametrize("density", ["sqrt", 1 / 3, 1.0])
def test_the_mean_of_r_rt_is_the_identity(density):
    rows, dim, seeds = 40, 16, 1500
    total = np.zeros((rows, rows))
    for seed in range(seeds):
        matrix = sparse_projection(rows, dim, density=density, seed=seed).toarray().astype(np.float64)
        total += matrix @ matrix.T
    share = 1 / np.sqrt(rows) if density == "sqrt" else density
    apart = ~np.eye(rows, dtype=bool)
    # five standard errors: an entry off the diagonal has variance 1 / dim, one on it (1 / share - 1) / dim
    assert np.abs(total / seeds)[apart].max() < 5 * np.sqrt(1 / dim / seeds)
    assert np.abs(np.diag(total / seeds) - 1).max() < 5 * np.sqrt((1 / share - 1) / dim / seeds) + 1e-6


def test_rows_depend_on_seed_and_number_alone():
    whole = sparse_projection(1000, 32, density=0.05, seed=7).toarray()
    np.testing.assert_array_equal(
        sparse_projection(300, 32, density=0.05, seed=7, first_row=650).toarray(), whole[650:950]
    )
    narrow = sparse_projection(1000, 8, density=0.05, seed=7).toarray()
    np.testing.assert_array_equal(np.sign(narrow), np.sign(whole[:, :8]))
    assert not np.array_equal(sparse_projection(1000, 32, density=0.05, seed=8).toarray(), whole)
    other = sparse_projection(1000, 32, density=0.05, seed=7, purpose="feature projection").toarray()
    assert not np.array_equal(other, whole)


def test_blocks_do_not_show():
    rows = (1 << 16) + 500
    whole = sparse_projection(rows, 4, density=0.3, seed=1)
    np.testing.assert_array_equal(dense_projection(rows, 4, density=0.3, seed=1), whole.toarray())
    tail = sparse_projection(600, 4, density=0.3, seed=1, first_row=rows - 600)
    np.testing.assert_array_equal(whole[rows - 600 :].toarray(), tail.toarray())


def test_without_a_seed_every_call_differs():
    assert not np.array_equal(sparse_projection(200, 16).toarray(), sparse_projection(200, 16).toarray())


@pytest.mark.parametrize("density", [0, -0.1, 1.5, np.nan, "cube root"])
def test_a_bad_density_is_refused(density):
    with pytest.raises(InvalidValueError, match="density: got"):
        sparse_projection(10, 4, density=density)


def test_bad_sizes_are_refused():
    with pytest.raises(InvalidValueError, match="rows: got 0"):
        sparse_projection(0, 4)
    with pytest.raises(InvalidTypeError, match="dim: got float"):
        sparse_projection(4, 2.0)
    with pytest.raises(InvalidTypeError, match="density: got bool"):
        sparse_projection(4, 2, density=True)
