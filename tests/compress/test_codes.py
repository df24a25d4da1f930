"""Scalar, sign, product codes and PCA against closed forms, NumPy and brute force."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polyvec.compress import (
    PCA,
    HalfPrecision,
    OptimizedProductQuantizer,
    ProductQuantizer,
    ScalarQuantizer,
    SignBinarizer,
    Truncate,
)
from polyvec.compress.packing import pack, unpack
from polyvec.compress.rotation import principal_axes, random_axes
from polyvec.compress.scanning import DecodingScanner, scanner_of, similarities
from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError, NotFittedError

DIM = 16
ALL = [
    PCA(6),
    PCA(6, normalize=False),
    HalfPrecision(),
    ScalarQuantizer(8),
    ScalarQuantizer(6, rotation="principal", n_components=12),
    ScalarQuantizer(4),
    ScalarQuantizer(4, rotation="random"),
    SignBinarizer(),
    SignBinarizer(center=False, rotation="random"),
    ProductQuantizer(4, bits=4),
    OptimizedProductQuantizer(8, bits=4),
    Truncate(6),
]
NAMES = [repr(each).replace(" ", "") for each in ALL]


@pytest.fixture(scope="module")
def matrix():
    generator = np.random.default_rng(0)
    scales = np.geomspace(3, 0.2, DIM)
    return (generator.normal(size=(400, DIM)) * scales + 0.3).astype(np.float32)


def fitted(compressor, matrix):
    return copy.deepcopy(compressor).fit(matrix)


class TestScalar:
    @pytest.mark.parametrize("bits", [4, 6, 8])
    def test_error_is_at_most_half_a_step(self, matrix, bits):
        quantizer = ScalarQuantizer(bits).fit(matrix)
        back = quantizer.inverse_transform(quantizer.transform(matrix))
        step = (matrix.max(axis=0) - matrix.min(axis=0)) / 2**bits
        # FAISS cuts the range into 2**bits - 1 steps for coding and decodes to their middles
        assert (np.abs(back - matrix) <= step * (0.5 + 1 / 2**bits) * 1.1).all()
        assert np.abs(back - matrix).max() > 0

    @pytest.mark.parametrize(("bits", "width"), [(4, 8), (6, 12), (8, 16)])
    def test_bytes(self, matrix, bits, width):
        quantizer = ScalarQuantizer(bits).fit(matrix)
        codes = quantizer.transform(matrix)
        assert codes.dtype == np.uint8
        assert codes.shape == (len(matrix), width)
        assert quantizer.bytes_per_vector == width == codes.nbytes / len(matrix)

    def test_values_outside_the_range_go_to_its_edge(self, matrix):
        quantizer = ScalarQuantizer(8).fit(matrix)
        far = quantizer.inverse_transform(quantizer.transform(matrix[:1] + 1000))
        edge = quantizer.inverse_transform(quantizer.transform(matrix.max(axis=0)[None]))
        assert np.array_equal(far, edge)

    def test_constant_coordinates_are_exact(self):
        constant = np.full((50, 8), 2.5, dtype=np.float32)
        quantizer = ScalarQuantizer(4).fit(constant)
        assert np.array_equal(quantizer.inverse_transform(quantizer.transform(constant)), constant)

    def test_principal_rotation_keeps_more_than_plain_truncation_of_bits(self, matrix):
        same_size = [ScalarQuantizer(4), ScalarQuantizer(8, rotation="principal", n_components=8)]
        errors = []
        for quantizer in same_size:
            quantizer.fit(matrix)
            assert quantizer.bytes_per_vector == 8
            errors.append(float(((quantizer.inverse_transform(quantizer.transform(matrix)) - matrix) ** 2).sum()))
        cut = Truncate(8, normalize=False).fit(matrix)
        kept = cut.inverse_transform(cut.transform(matrix))
        assert errors[1] < float(((kept - matrix) ** 2).sum())  # the principal half is worth more than the first half

    def test_bad_parameters(self, matrix):
        for bad, message in (
            (ScalarQuantizer(5), "bits: got 5, needs 4, 6 or 8"),
            (ScalarQuantizer(8, rotation="spin"), "rotation: got 'spin'"),
            (ScalarQuantizer(8, n_components=4), "n_components: got 4 without a rotation"),
            (ScalarQuantizer(8, rotation="random", n_components=17), "n_components: got 17, needs a whole number"),
            (ScalarQuantizer(8, rotation="random", n_components=0), "n_components: got 0"),
        ):
            with pytest.raises(InvalidValueError, match=message):
                bad.fit(matrix)

    @given(arrays(np.float32, (20, 8), elements=st.floats(-100, 100, width=32)))
    @settings(max_examples=40, deadline=None)
    def test_coding_what_was_decoded_changes_nothing(self, rows):
        quantizer = ScalarQuantizer(8).fit(rows)
        once = quantizer.inverse_transform(quantizer.transform(rows))
        twice = quantizer.inverse_transform(quantizer.transform(once))
        ranges = rows.max(axis=0) - rows.min(axis=0)
        assert (np.abs(twice - once) <= ranges / 255 * 1.01 + 1e-5).all()


class TestHalfPrecision:
    def test_is_numpys(self, matrix):
        codes = HalfPrecision().fit_transform(matrix)
        assert np.array_equal(codes, matrix.astype(np.float16))

    def test_numbers_that_do_not_fit_are_refused(self):
        with pytest.raises(InvalidValueError, match=r"holds 70000, but float16 ends at 65,504"):
            HalfPrecision().fit([[70000.0, 1.0]])


class TestSign:
    def test_bits_are_the_signs(self, matrix):
        codes = SignBinarizer(center=False).fit_transform(matrix)
        assert codes.shape == (len(matrix), 2)
        assert np.array_equal(np.unpackbits(codes, axis=1, bitorder="little"), matrix >= 0)

    def test_decodes_to_the_mean_size(self, matrix):
        binarizer = SignBinarizer().fit(matrix)
        back = binarizer.inverse_transform(binarizer.transform(matrix))
        mean = matrix.mean(axis=0)
        expected = mean + np.where(matrix >= binarizer.mean_, 1, -1) * np.abs(matrix - mean).mean(axis=0)
        assert np.allclose(back, expected, atol=1e-4)

    def test_widths_that_do_not_fill_a_byte(self):
        rows = np.random.default_rng(0).normal(size=(40, 11)).astype(np.float32)
        binarizer = SignBinarizer().fit(rows)
        assert binarizer.bytes_per_vector == 2
        back = binarizer.inverse_transform(binarizer.transform(rows))
        assert np.array_equal(back >= binarizer.mean_, rows >= binarizer.mean_)
        scanner = binarizer.scanner(binarizer.transform(rows), "dot")
        best = scanner.search(rows[:3], 40)
        scores = np.take_along_axis(rows[:3] @ back.T, best, axis=1)
        assert (np.diff(scores, axis=1) <= 1e-4).all()


class TestProduct:
    def test_each_group_has_its_nearest_centroid(self, matrix):
        quantizer = ProductQuantizer(4, bits=4).fit(matrix)
        codes = quantizer.transform(matrix)
        numbers = np.stack([codes & 15, codes >> 4], axis=2).reshape(len(matrix), 4)
        for group in range(4):
            part = matrix[:, 4 * group : 4 * group + 4]
            distances = ((part[:, None] - quantizer.codebooks_[group][None]) ** 2).sum(axis=2)
            chosen = np.take_along_axis(distances, numbers[:, group : group + 1].astype(int), axis=1)[:, 0]
            assert np.allclose(chosen, distances.min(axis=1), atol=1e-4)

    def test_optimized_rotation_is_orthonormal_and_balances_the_groups(self, matrix):
        quantizer = OptimizedProductQuantizer(4, bits=4).fit(matrix)
        assert np.allclose(quantizer.axes_ @ quantizer.axes_.T, np.eye(DIM), atol=1e-5)
        rotated = (matrix - quantizer.mean_) @ quantizer.axes_.T
        products = np.log(rotated.var(axis=0)).reshape(4, 4).sum(axis=1)
        plain = np.log(matrix.var(axis=0)).reshape(4, 4).sum(axis=1)
        assert np.ptp(products) < np.ptp(plain) / 4

    def test_optimized_beats_plain_on_uneven_variances(self, matrix):
        losses = []
        for kind in (ProductQuantizer, OptimizedProductQuantizer):
            quantizer = kind(4, bits=4).fit(matrix)
            back = quantizer.inverse_transform(quantizer.transform(matrix))
            losses.append(float(((back - matrix) ** 2).sum()))
        assert losses[1] < losses[0]

    def test_bad_parameters(self, matrix):
        for bad, rows, message in (
            (ProductQuantizer(5), matrix, "n_subvectors: got 5, which does not divide 16 dimensions; choose 4"),
            (ProductQuantizer(4), matrix[:200], "got 200 vectors, needs at least 256, as many as there are centroids"),
            (ProductQuantizer(4, bits=7), matrix, "bits: got 7, needs 4 or 8"),
            (ProductQuantizer(4, iterations=0), matrix, "iterations: got 0"),
        ):
            with pytest.raises(InvalidValueError, match=message):
                bad.fit(rows)


class TestPrincipal:
    def test_is_scikit_learns(self, matrix):
        from sklearn import decomposition

        ours = PCA(5, normalize=False).fit_transform(matrix)
        reference = decomposition.PCA(5, svd_solver="full").fit_transform(matrix.astype(np.float64))
        assert np.allclose(np.abs(ours), np.abs(reference), atol=1e-4)  # an axis may point either way

    def test_unit_length(self, matrix):
        assert np.allclose(np.linalg.norm(PCA(5).fit_transform(matrix), axis=1), 1, atol=1e-5)

    @pytest.mark.parametrize("rows", [1, 3, 15, 16, 17])
    def test_axes_are_orthonormal_however_few_rows(self, matrix, rows):
        _, axes, variances = principal_axes(matrix[:rows], DIM, 0)
        assert np.allclose(axes @ axes.T, np.eye(DIM), atol=1e-5)
        assert (np.diff(variances) <= 1e-6).all()
        turned = random_axes(DIM, DIM, 3)
        assert np.allclose(turned @ turned.T, np.eye(DIM), atol=1e-5)


class TestScans:
    @pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
    @pytest.mark.parametrize("compressor", ALL, ids=NAMES)
    def test_ranks_as_decoded_vectors_do(self, matrix, compressor, metric):
        """The scan is exact for inner products and distances of what the codes decode to."""
        compressor = fitted(compressor, matrix)
        codes = np.asarray(compressor.transform(matrix))
        scanner = scanner_of(compressor, codes, metric)
        assert not isinstance(scanner, DecodingScanner)
        assert scanner.nbytes == codes.nbytes
        assert np.array_equal(scanner.codes(np.array([3, 1])), codes[[3, 1]])
        queries = matrix[:5] + 0.01
        decoded = compressor.inverse_transform(codes)
        scores = similarities(queries, decoded, "l2" if metric == "l2" else "dot")
        for rows in (None, np.arange(0, len(matrix), 7)):
            found = scanner.search(queries, 20, rows)
            allowed = np.arange(len(matrix)) if rows is None else rows
            assert np.isin(found, allowed).all()
            truth = -np.sort(-scores[:, allowed], axis=1)[:, :20]
            got = np.take_along_axis(scores, found, axis=1)
            assert np.allclose(got, truth, rtol=2e-3, atol=2e-3)

    def test_without_a_scan_of_its_own(self, matrix):
        plain = DecodingScanner(HalfPrecision().fit(matrix), matrix.astype(np.float16), "cosine")
        queries = matrix[:4]
        truth = np.argsort(-similarities(queries, matrix.astype(np.float16).astype(np.float32), "cosine"), axis=1)[
            :, :9
        ]
        assert np.array_equal(plain.search(queries, 9), truth)
        assert plain.search(queries, 9, np.array([5, 8])).shape == (4, 2)

    def test_more_than_there_are(self, matrix):
        quantizer = ScalarQuantizer(8).fit(matrix)
        scanner = quantizer.scanner(quantizer.transform(matrix[:3]), "cosine")
        assert scanner.search(matrix[:2], 10).shape == (2, 3)
        assert scanner.search(matrix[:2], 10, np.empty(0, dtype=np.int64)).shape == (2, 0)
        assert quantizer.scanner(quantizer.transform(matrix[:0]), "cosine").search(matrix[:2], 10).shape == (2, 0)


class TestKeeping:
    @pytest.mark.parametrize("compressor", ALL, ids=NAMES)
    def test_packed_copied_and_pickled_ones_code_the_same(self, matrix, compressor):
        compressor = fitted(compressor, matrix)
        codes = np.asarray(compressor.transform(matrix))
        names = {"PCA": "pca", "HalfPrecision": "half", "ScalarQuantizer": "scalar", "SignBinarizer": "sign"}
        names |= {
            "ProductQuantizer": "product",
            "OptimizedProductQuantizer": "optimized-product",
            "Truncate": "truncate",
        }
        again = unpack(names[type(compressor).__name__], pack(compressor))
        for other in (again, copy.deepcopy(compressor), pickle.loads(pickle.dumps(compressor))):
            assert np.array_equal(other.transform(matrix), codes)
            assert np.array_equal(other.inverse_transform(codes), compressor.inverse_transform(codes))

    def test_damage_is_named(self, matrix, tmp_path):
        quantizer = ScalarQuantizer(8, rotation="random").fit(matrix)
        path = tmp_path / "quantizer"
        quantizer.save(path)
        content = path.read_bytes()
        for damaged in (b"", b"nonsense", content[:100], content[:-10]):
            path.write_bytes(damaged)
            with pytest.raises(FormatError, match="quantizer: "):
                ScalarQuantizer.load(path)
        path.write_bytes(content)
        with pytest.raises(FormatError, match="holds a ScalarQuantizer, needs a PCA"):
            PCA.load(path)
        with pytest.raises(FileProblemError, match="no such file"):
            PCA.load(tmp_path / "missing")
        with pytest.raises(FormatError, match="does not have it"):
            unpack("from-the-future", content)

    def test_before_fit(self, matrix):
        for compressor in ALL:
            with pytest.raises(NotFittedError, match="not fitted yet"):
                copy.deepcopy(compressor).transform(matrix)

    def test_one_vector(self):
        one = np.ones((1, 8), dtype=np.float32)
        for compressor in (PCA(3), HalfPrecision(), ScalarQuantizer(4, rotation="principal"), SignBinarizer()):
            assert np.isfinite(compressor.fit(one).inverse_transform(compressor.transform(one))).all()

    def test_only_registered_ones_can_be_kept(self):
        from polyvec.compress.packing import registered

        with pytest.raises(InvalidTypeError, match="object is not registered"):
            registered(object())
