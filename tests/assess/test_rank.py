"""RankMe and its relatives against closed forms and an SVD."""

import logging
import math
import tracemalloc
import warnings

import numpy as np
import pandas
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import entr
from scipy.stats import entropy

import polyvec.assess.blocks as blocks_module
from polyvec.assess import RankCappedWarning, rankme, roy_vetterli_rank, singular_values, spectrum_report
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.vectors import Vectors


def by_svd(matrix: np.ndarray, eps: float = 1e-7) -> float:
    values = np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)
    return float(np.exp(entr(values / values.sum() + eps).sum()))


def with_spectrum(spectrum: np.ndarray, rows: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    left = np.linalg.qr(draw.normal(size=(rows, len(spectrum))))[0]
    right = np.linalg.qr(draw.normal(size=(len(spectrum), len(spectrum))))[0]
    return (left * spectrum) @ right


class TestExactValues:
    @pytest.mark.parametrize("dim", [1, 2, 10, 100])
    def test_orthonormal_columns_give_the_dimension(self, dim: int) -> None:
        assert rankme(with_spectrum(np.ones(dim), 300)) == pytest.approx(dim, abs=1e-4 * dim)

    @pytest.mark.parametrize("rank", [1, 2, 7, 31])
    def test_equal_singular_values_give_the_rank(self, rank: int) -> None:
        spectrum = np.zeros(32)
        spectrum[:rank] = 3.0
        matrix = with_spectrum(spectrum, 200)
        assert rankme(matrix) == pytest.approx(rank, rel=2e-4)
        assert rankme(matrix, eps=0.0) == pytest.approx(rank, rel=1e-5)

    def test_rank_one_is_one_plus_what_eps_adds(self) -> None:
        matrix = np.outer(np.linspace(1, 2, 1200), np.linspace(-1, 1, 1000)).astype(np.float32)
        added = 1000 * 1e-7 * math.log(1e7)
        assert rankme(matrix) == pytest.approx(1 + added, abs=5e-4)

    def test_eps_is_added_after_the_division(self) -> None:
        matrix = np.diag([4.0, 1.0, 1.0])
        shares = np.array([4, 1, 1]) / 6
        assert rankme(matrix, eps=0.1) == pytest.approx(float(np.exp(entr(shares + 0.1).sum())))

    def test_singular_values_are_not_squared(self) -> None:
        matrix = np.diag([3.0, 1.0])
        assert rankme(matrix, eps=0.0) == pytest.approx(math.exp(entropy([0.75, 0.25])))
        assert roy_vetterli_rank(matrix, "matrix") == pytest.approx(math.exp(entropy([0.75, 0.25])))
        assert roy_vetterli_rank(matrix, "covariance") == pytest.approx(math.exp(entropy([0.9, 0.1])))

    def test_white_noise_is_slightly_below_its_dimension(self) -> None:
        score = rankme(np.random.default_rng(0).normal(size=(2000, 64)))
        assert 62 < score < 64

    def test_a_dominating_mean_lowers_the_uncentred_score_only(self) -> None:
        matrix = np.random.default_rng(0).normal(size=(500, 16))
        shifted = matrix + 1000.0
        assert rankme(shifted) < 2 < 14 < rankme(shifted, center=True)
        assert rankme(shifted, center=True) == pytest.approx(rankme(matrix, center=True), rel=1e-9)
        assert rankme(shifted, center=True) == pytest.approx(by_svd(shifted - shifted.mean(0)), rel=1e-9)

    def test_centring_survives_a_mean_that_is_huge_beside_the_spread(self) -> None:
        matrix = np.random.default_rng(0).normal(size=(500, 16))
        expected = by_svd((matrix + 1e7) - (matrix + 1e7).mean(0))
        assert rankme(matrix + 1e7, center=True) == pytest.approx(expected, rel=1e-6)


class TestAgainstTheSvd:
    @pytest.mark.parametrize("shape", [(300, 20), (20, 20), (15, 40), (1, 5), (5, 1)])
    @pytest.mark.parametrize("center", [False, True])
    def test_singular_values(self, shape: tuple[int, int], center: bool) -> None:
        matrix = np.random.default_rng(1).normal(size=shape) + 0.5
        expected = np.linalg.svd(matrix - matrix.mean(0) if center else matrix, compute_uv=False)
        found = singular_values(matrix, center=center)
        assert found.dtype == np.float64
        assert np.allclose(found, expected, atol=1e-7 * max(expected[0], 1))

    @pytest.mark.parametrize("decay", [0.0, 0.5, 1.0, 2.0, 4.0])
    def test_power_law_spectra(self, decay: float) -> None:
        matrix = with_spectrum(np.arange(1, 129.0) ** -decay, 400)
        assert rankme(matrix) == pytest.approx(by_svd(matrix), rel=1e-3)

    def test_steep_spectrum_in_float32(self) -> None:
        """The Gram matrix must not be float32: its rounding would look like singular values."""
        matrix = with_spectrum(10.0 ** -np.linspace(0, 12, 256), 1000).astype(np.float32)
        assert rankme(matrix) == pytest.approx(by_svd(matrix), rel=1e-3)
        values = np.sqrt(np.maximum(np.linalg.eigvalsh(matrix.T @ matrix), 0))
        naive = float(np.exp(entr(values / values.sum() + 1e-7).sum()))
        assert naive != pytest.approx(by_svd(matrix), rel=1e-3)

    @given(
        arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 8)), elements=st.floats(-1e3, 1e3, width=16))
    )
    @settings(max_examples=150, deadline=None)
    def test_any_matrix(self, matrix: np.ndarray) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RankCappedWarning)
            score = rankme(matrix, on_collapse="zero")
        if not matrix.any():
            assert score == 0.0
            return
        # the Gram matrix resolves values down to 1.5e-8 of the largest
        assert score == pytest.approx(by_svd(matrix), rel=1e-5)
        assert 1 - 1e-6 <= score <= min(matrix.shape) * (1 + 1e-4)


class TestInvariance:
    @given(st.integers(0, 2**31), st.sampled_from([-1e6, -1.0, 1e-6, 3.7, 1e9]), st.booleans())
    @settings(max_examples=40, deadline=None)
    def test_rotation_scale_and_row_order(self, seed: int, scale: float, center: bool) -> None:
        draw = np.random.default_rng(seed)
        matrix = draw.normal(size=(60, 12)) * draw.uniform(0, 1, 12) ** 3 + draw.normal(size=12)
        rotation = np.linalg.qr(draw.normal(size=(12, 12)))[0]
        changed = scale * (matrix @ rotation)[draw.permutation(60)]
        assert rankme(changed, center=center) == pytest.approx(rankme(matrix, center=center), rel=1e-6)
        # alpha-ReQ fits logarithms of the centred spectrum, so the smallest eigenvalue counts as much as the largest,
        # and the Gram matrix knows it only up to rounding of the largest
        values = np.linalg.svd(matrix - matrix.mean(0), compute_uv=False) ** 2
        rounding = 100 * np.finfo(float).eps * values[0] / values[values > 1e-12 * values[0]][-1]
        for name, value in spectrum_report(matrix, center=center).items():
            tolerance = 1e-6 + rounding * (name == "alpha_req")
            assert spectrum_report(changed, center=center)[name] == pytest.approx(value, rel=tolerance), name

    def test_normalising_rows_changes_the_value(self) -> None:
        matrix = np.random.default_rng(0).normal(size=(200, 8)) * np.r_[20.0, np.ones(7)]
        assert rankme(matrix / np.linalg.norm(matrix, axis=1, keepdims=True)) != pytest.approx(rankme(matrix), rel=0.01)

    def test_repeating_all_rows_changes_nothing(self) -> None:
        matrix = np.random.default_rng(0).normal(size=(50, 8))
        assert rankme(np.tile(matrix, (3, 1))) == pytest.approx(rankme(matrix), rel=1e-9)


class TestKindsOfInput:
    matrix = (np.random.default_rng(2).normal(size=(80, 6)) * [5, 4, 3, 2, 1, 0.5]).astype(np.float32)

    @pytest.mark.parametrize(
        "dtype", [torch.float8_e4m3fn, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8]
    )
    def test_tensors_are_promoted(self, dtype: torch.dtype) -> None:
        tensor = torch.from_numpy(self.matrix).to(dtype)
        assert rankme(tensor) == pytest.approx(by_svd(tensor.double().numpy()), rel=1e-6)

    def test_float16_does_not_overflow(self) -> None:
        large = (self.matrix * 3000).clip(-60000, 60000).astype(np.float16)
        assert rankme(large) == pytest.approx(by_svd(large), rel=1e-6)

    def test_gradients_are_ignored(self) -> None:
        tensor = torch.from_numpy(self.matrix.copy()).requires_grad_()
        assert rankme(tensor) == pytest.approx(rankme(self.matrix))

    @pytest.mark.parametrize(
        "make",
        [pandas.DataFrame, Vectors, lambda m: m.tolist(), np.asfortranarray, lambda m: np.repeat(m, 2, 0)[::2]],
        ids=["pandas", "Vectors", "list", "fortran", "strided"],
    )
    def test_other_kinds(self, make) -> None:
        assert rankme(make(self.matrix)) == pytest.approx(rankme(self.matrix), rel=1e-9)

    def test_sparse_and_integer_input_is_converted_with_a_note(self, caplog: pytest.LogCaptureFixture) -> None:
        counts = np.random.default_rng(0).poisson(0.3, size=(60, 9))
        expected = by_svd(counts)
        with caplog.at_level(logging.INFO, "polyvec.assess"):
            for kind in (counts, counts.astype(np.uint8), counts > 0, torch.from_numpy(counts)):
                assert rankme(kind) == pytest.approx(by_svd(np.asarray(kind)), rel=1e-6)
        assert len(caplog.records) == 4
        assert "converted to float64" in caplog.text
        caplog.clear()
        with caplog.at_level(logging.INFO, "polyvec.assess"):
            assert rankme(scipy.sparse.coo_matrix(counts)) == pytest.approx(expected, rel=1e-6)
            assert rankme(scipy.sparse.csc_array(counts.T).T) == pytest.approx(expected, rel=1e-6)
            assert rankme(torch.from_numpy(counts.astype(np.float32)).to_sparse()) == pytest.approx(expected, rel=1e-6)
        assert len(caplog.records) == 3
        with pytest.warns(RankCappedWarning):
            assert rankme(scipy.sparse.csr_matrix(counts.T)) == pytest.approx(expected, rel=1e-6)

    def test_input_is_not_changed(self) -> None:
        for matrix in (self.matrix.astype(np.float64), self.matrix.astype(np.float64).T.copy()):
            before = matrix.copy()
            spectrum_report(matrix, center=True)
            assert np.array_equal(before, matrix)

    def test_read_only_memory_map_is_read_in_blocks(self, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blocks_module, "_BLOCK_VALUES", 1 << 14)
        path = tmp_path / "embeddings.npy"
        stored = np.random.default_rng(0).normal(size=(50_000, 64)).astype(np.float32) + 1
        np.save(path, stored)
        expected = {center: by_svd(stored - stored.mean(0, dtype=np.float64) * center) for center in (False, True)}
        del stored
        mapped = np.load(path, mmap_mode="r")
        rankme(mapped[:100])
        tracemalloc.start()
        found = {center: rankme(mapped, center=center) for center in (False, True)}
        report = spectrum_report(mapped)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < mapped.nbytes / 10
        assert found == pytest.approx(expected, rel=1e-6)
        assert report["rankme"] == pytest.approx(expected[False], rel=1e-6)

    def test_blocks_do_not_change_the_result(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wide = self.matrix.T
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RankCappedWarning)
            whole = [rankme(each, center=center) for each in (self.matrix, wide) for center in (False, True)]
            monkeypatch.setattr(blocks_module, "_BLOCK_VALUES", 20)
            parts = [rankme(each, center=center) for each in (self.matrix, wide) for center in (False, True)]
        assert parts == pytest.approx(whole, rel=1e-9)


class TestReport:
    def test_against_formulas(self) -> None:
        matrix = np.random.default_rng(3).normal(size=(200, 10)) * np.arange(1, 11) + 2.0
        report = spectrum_report(matrix)
        raw = np.linalg.svd(matrix, compute_uv=False)
        covariance = np.linalg.eigvalsh(np.cov(matrix.T))[::-1]
        slope = np.polyfit(np.log(np.arange(1, 11)), np.log(covariance), 1)[0]
        assert report == pytest.approx(
            {
                "rankme": by_svd(matrix),
                "roy_vetterli_covariance": math.exp(entropy(raw**2)),
                "alpha_req": -slope,
                "stable_rank": np.linalg.norm(matrix) ** 2 / np.linalg.norm(matrix, 2) ** 2,
                "participation_ratio": covariance.sum() ** 2 / (covariance**2).sum(),
                "nesum": covariance.sum() / covariance[0],
                "n": 200,
                "dim": 10,
                "centered": False,
                "capped": False,
            }
        )
        assert report["rankme"] == rankme(matrix)
        assert spectrum_report(matrix, center=True)["stable_rank"] == pytest.approx(report["nesum"])

    @pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
    def test_alpha_of_a_power_law(self, exponent: float) -> None:
        spectrum = np.arange(1, 41.0) ** (-exponent / 2)
        matrix = with_spectrum(spectrum, 90)
        both = np.concatenate([matrix, -matrix])  # mean 0, so that centring changes nothing
        assert spectrum_report(both)["alpha_req"] == pytest.approx(exponent, rel=1e-6)

    def test_equal_rows_have_rank_one_and_no_covariance(self) -> None:
        report = spectrum_report(np.full((20, 4), 0.1))
        assert report["rankme"] == pytest.approx(1, abs=1e-4)
        assert (report["alpha_req"], report["participation_ratio"], report["nesum"]) == (math.inf, 0.0, 0.0)

    def test_one_direction_has_no_slope(self) -> None:
        report = spectrum_report(np.outer(np.arange(30.0), [1.0, 2.0, 0.0]))
        assert report["alpha_req"] == math.inf
        assert report["participation_ratio"] == pytest.approx(1)

    @pytest.mark.parametrize(("rows", "center", "capped"), [(5, False, False), (5, True, True), (4, False, True)])
    def test_capped_flag(self, rows: int, center: bool, capped: bool) -> None:
        report = spectrum_report(np.random.default_rng(0).normal(size=(rows, 5)), center=center)
        assert report["capped"] is capped
        assert report["rankme"] <= rows * (1 + 1e-4)


class TestBadInput:
    @pytest.mark.parametrize("shape", [(5,), (), (0, 4), (4, 0), (2, 3, 4)])
    def test_shape(self, shape: tuple[int, ...]) -> None:
        for function in (rankme, roy_vetterli_rank, spectrum_report, singular_values):
            with pytest.raises(InvalidValueError, match="Z: got shape") as caught:
                function(np.ones(shape))
            assert str(shape) in str(caught.value)
        with pytest.raises(InvalidValueError, match="Z: got shape"):
            rankme(torch.ones(shape))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("shape", [(50, 4), (4, 50)])
    def test_not_finite(self, bad: float, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blocks_module, "_BLOCK_VALUES", 40)
        matrix = np.ones(shape, np.float32)
        row = shape[0] - 2
        matrix[row, 3] = bad
        for kind in (matrix, torch.from_numpy(matrix), scipy.sparse.csr_matrix(matrix)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RankCappedWarning)
                with pytest.raises(InvalidValueError, match=f"row {row} holds NaN or infinity"):
                    rankme(kind)

    def test_collapsed(self) -> None:
        zeros = np.zeros((10, 4))
        for function in (rankme, roy_vetterli_rank, spectrum_report):
            with pytest.raises(InvalidValueError, match="no variance, the embeddings collapsed"):
                function(zeros)
        assert rankme(zeros, on_collapse="zero") == 0.0
        assert roy_vetterli_rank(zeros, on_collapse="zero") == 0.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RankCappedWarning)
            assert rankme(zeros.T, on_collapse="zero") == 0.0
            for shape in ((1000, 3), (3, 1000)):
                equal_rows = np.tile(np.float32([0.1, 1 / 3, 7e5] * (shape[1] // 3 + 1))[: shape[1]], (shape[0], 1))
                with pytest.raises(InvalidValueError, match="all rows are equal"):
                    rankme(equal_rows, center=True)
                assert rankme(equal_rows, center=True, on_collapse="zero") == 0.0
                assert rankme(equal_rows) == pytest.approx(1, abs=2e-3)

    def test_fewer_rows_than_dimensions_warns(self) -> None:
        matrix = np.random.default_rng(0).normal(size=(6, 20))
        with pytest.warns(RankCappedWarning, match="6 rows for 20 dimensions"):
            assert rankme(matrix) <= 6
        with pytest.warns(RankCappedWarning):
            rankme(matrix.T[:6, :6], center=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rankme(matrix.T)

    def test_not_numbers(self) -> None:
        for bad in (np.array([["a", "b"]]), "text", np.ones((2, 2), complex), torch.ones(2, 2, dtype=torch.complex64)):
            with pytest.raises(InvalidTypeError):
                rankme(bad)
        with pytest.raises(InvalidValueError):
            rankme([[1.0, 2.0], [3.0]])

    @pytest.mark.parametrize("scale", [1e200, 1e-200])
    @pytest.mark.parametrize("shape", [(8, 3), (3, 8)])
    def test_magnitudes_whose_squares_leave_float64(self, scale: float, shape: tuple[int, int]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RankCappedWarning)
            with pytest.raises(InvalidValueError, match="rows by one number"):
                rankme(np.random.default_rng(0).normal(size=shape) * scale)

    def test_arguments(self) -> None:
        matrix = np.eye(3)
        with pytest.raises(InvalidValueError, match="eps"):
            rankme(matrix, eps=-1e-7)
        with pytest.raises(InvalidValueError, match="eps"):
            rankme(matrix, eps=math.nan)
