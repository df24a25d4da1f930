import json
import warnings

import numpy as np
import pandas
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import normalize
from sklearn.utils.estimator_checks import check_estimator

from polyvec.compress import Truncate, TruncatedEncoder, truncate
from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError, NotFittedError
from polyvec.core.vectors import Vectors


@pytest.fixture
def matrix():
    return np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32) * 5


class TestFunction:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_equals_slice_then_normalise(self, matrix, dtype):
        result = truncate(matrix.astype(dtype), 3)
        assert result.dtype == dtype
        assert np.allclose(
            result,
            normalize(matrix.astype(dtype)[:, :3].astype(np.float64)),
            atol=2e-3 if dtype == np.float16 else 1e-6,
        )
        assert np.array_equal(truncate(matrix.astype(dtype), 3, normalize=False), matrix.astype(dtype)[:, :3])

    def test_of_a_normalised_vector_is_not_the_bare_slice(self, matrix):
        unit = normalize(matrix)
        assert np.allclose(np.linalg.norm(truncate(unit, 3), axis=1), 1, atol=1e-6)
        assert np.linalg.norm(unit[:, :3], axis=1).max() < 0.99

    def test_whole_width_only_normalises(self, matrix):
        assert np.allclose(truncate(matrix, 8), normalize(matrix), atol=1e-6)

    def test_kind_is_kept(self, matrix):
        expected = truncate(matrix, 3)
        tensor = truncate(torch.from_numpy(matrix), 3)
        assert isinstance(tensor, torch.Tensor)
        assert np.allclose(tensor.numpy(), expected, atol=1e-6)
        named = Vectors(matrix, ids=[f"v{row}" for row in range(20)], metadata={"n": list(range(20))})
        vectors = truncate(named, 3)
        assert isinstance(vectors, Vectors)
        assert np.array_equal(vectors.matrix, expected)
        assert vectors.ids.tolist() == named.ids.tolist()
        assert vectors.metadata.equals(named.metadata)
        assert np.allclose(truncate(matrix.tolist(), 3), expected, atol=1e-6)

    def test_gradient_passes_through_a_tensor(self, matrix):
        tensor = torch.from_numpy(matrix).double().requires_grad_()
        assert torch.autograd.gradcheck(lambda x: truncate(x, 3), (tensor,))

    def test_result_does_not_share_memory(self, matrix):
        before = matrix.copy()
        for flag in (True, False):
            result = truncate(matrix, 3, normalize=flag)
            result[:] = 0
        assert np.array_equal(matrix, before)

    def test_zero_slices_stay_zero_with_a_warning(self, matrix):
        matrix[[2, 7], :3] = 0
        with pytest.warns(UserWarning, match="2 vectors are all zeros in their first 3"):
            result = truncate(matrix, 3)
        assert np.isfinite(result).all()
        assert np.array_equal(result[[2, 7]], np.zeros((2, 3)))
        with pytest.warns(UserWarning, match="2 vectors"):
            assert torch.equal(truncate(torch.from_numpy(matrix), 3)[2], torch.zeros(3))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            truncate(matrix, 4)

    def test_very_short_vectors_are_not_lost(self):
        tiny = np.full((1, 4), 1e-30, dtype=np.float32)
        assert np.allclose(truncate(tiny, 2), np.sqrt(0.5))

    @pytest.mark.usefixtures("own_messages")
    @pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy, Vectors])
    def test_bad_input(self, matrix, convert):
        given = convert(matrix)
        with pytest.raises(InvalidValueError, match="got 9, but the vectors have 8"):
            truncate(given, 9)
        with pytest.raises(InvalidValueError, match="at least 1"):
            truncate(given, 0)
        with pytest.raises(InvalidTypeError, match="integer"):
            truncate(given, 2.5)
        matrix[4, 7] = np.nan  # outside the slice, and still refused
        with pytest.raises(InvalidValueError, match="row 4 holds NaN"):
            truncate(convert(matrix), 2)

    @pytest.mark.usefixtures("own_messages")
    def test_bad_shapes(self):
        for one in (np.ones(4), torch.ones(4)):
            with pytest.raises(InvalidValueError, match="one vector"):
                truncate(one, 2)
        with pytest.raises(InvalidTypeError):
            truncate("vectors", 2)
        with pytest.raises(InvalidTypeError, match="floating"):
            truncate(torch.ones(4, 4, dtype=torch.int64), 2)


class TestTransformer:
    @pytest.mark.usefixtures("own_messages")
    def test_scikit_learn_checks(self):
        expected = {
            "check_complex_data": "refused as a type, not as a value",
            "check_dtype_object": "object arrays are refused",
            "check_estimators_empty_data_messages": "refused in other words",
            "check_fit2d_predict1d": "refused in other words",
        }
        for size, scaled in ((1, True), (2, False)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # some checks feed zeros
                outcome = check_estimator(
                    Truncate(size, scaled), expected_failed_checks=expected, on_fail=None, on_skip=None
                )
            failed = [check for check in outcome if check["status"] == "failed"]
            assert not failed, failed[0]
            assert len([check for check in outcome if check["status"] == "passed"]) > 35
            for check in outcome:
                if check["status"] == "xfail":
                    assert isinstance(check["exception"], (InvalidValueError, InvalidTypeError, AssertionError))

    def test_is_the_function(self, matrix):
        for scaled in (True, False):
            assert np.array_equal(Truncate(3, scaled).fit_transform(matrix), truncate(matrix, 3, scaled))
        assert Truncate(3).fit_transform(matrix.astype(np.float64)).dtype == np.float32

    def test_size_can_be_searched_in_a_pipeline(self):
        digits, labels = load_digits(return_X_y=True)
        pipeline = make_pipeline(Truncate(2), KNeighborsClassifier(1))
        search = GridSearchCV(pipeline, {"truncate__n_components": [8, 32, 64]}, cv=2).fit(digits[:400], labels[:400])
        scores = search.cv_results_["mean_test_score"]
        assert scores[0] < scores[1] <= scores[2] + 0.05
        assert search.best_params_["truncate__n_components"] in (32, 64)

    def test_frames_keep_names(self, matrix):
        frame = pandas.DataFrame(matrix, columns=list("abcdefgh"))
        transformer = Truncate(3).set_output(transform="pandas")
        result = transformer.fit_transform(frame)
        assert list(result.columns) == ["a", "b", "c"]
        assert np.array_equal(result.to_numpy(), truncate(matrix, 3))
        with pytest.raises(ValueError, match="feature names"):
            transformer.transform(frame.rename(columns={"a": "z"}))

    def test_inverse_pads_with_zeros(self, matrix):
        transformer = Truncate(3, normalize=False).fit(matrix)
        back = transformer.inverse_transform(transformer.transform(matrix))
        assert np.array_equal(back[:, :3], matrix[:, :3])
        assert not back[:, 3:].any()
        assert np.array_equal(transformer.transform(back), transformer.transform(matrix))

    def test_save_and_load(self, matrix, tmp_path):
        transformer = Truncate(3, normalize=False).fit(matrix)
        transformer.save(tmp_path / "truncate.json")
        again = Truncate.load(tmp_path / "truncate.json")
        assert again.get_params() == clone(transformer).get_params()
        assert np.array_equal(again.transform(matrix), transformer.transform(matrix))
        with pytest.raises(FileProblemError, match="no such file"):
            Truncate.load(tmp_path / "missing.json")
        state = json.loads((tmp_path / "truncate.json").read_text())
        damaged = [
            {"format": "else"},
            {"format": state["format"]},
            {**state, "n_components": 9},
            {**state, "n_features_in": "8"},
        ]
        for content in ("not json", "[1]", *map(json.dumps, damaged)):
            (tmp_path / "bad.json").write_text(content)
            with pytest.raises(FormatError):
                Truncate.load(tmp_path / "bad.json")

    @pytest.mark.usefixtures("own_messages")
    def test_bad_input(self, matrix):
        with pytest.raises(InvalidValueError, match="n_components: got 9, but the vectors have 8"):
            Truncate(9).fit(matrix)
        with pytest.raises(InvalidTypeError, match="n_components"):
            Truncate("3").fit(matrix)
        with pytest.raises(NotFittedError):
            Truncate(3).transform(matrix)
        fitted = Truncate(3).fit(matrix)
        with pytest.raises(InvalidValueError, match="expecting 8 features"):
            fitted.transform(matrix[:, :7])
        with pytest.raises(InvalidValueError, match="expecting 3 components"):
            fitted.inverse_transform(matrix)
        with pytest.raises(InvalidValueError, match="input_features"):
            fitted.get_feature_names_out(["a"])


class FakeEncoder:
    """Vectors from the letters of a text."""

    def __init__(self, sizes=None):
        self.dim = 8
        self.options = None
        if sizes is not None:
            self.matryoshka_sizes = sizes

    def encode(self, sentences, *, batch_size=32, **options):
        self.options = {"batch_size": batch_size, **options}
        one = isinstance(sentences, str)
        texts = [sentences] if one else sentences
        vectors = np.array([[1.0 + ord(text[i % len(text)]) % 7 for i in range(8)] for text in texts], dtype=np.float32)
        return vectors[0] if one else vectors


class TestEncoder:
    def test_vectors_are_truncated_and_options_pass(self):
        inner = FakeEncoder([4, 8])
        encoder = TruncatedEncoder(inner, 4)
        texts = ["vector", "search"]
        assert np.array_equal(
            encoder.encode(texts, batch_size=7, show_progress=False), truncate(inner.encode(texts), 4)
        )
        encoder.encode(texts, batch_size=7, show_progress=False)
        assert inner.options == {"batch_size": 7, "show_progress": False}
        assert encoder.dim == 4
        assert encoder.matryoshka_sizes == (4,)
        assert np.array_equal(encoder.encode("vector"), encoder.encode(["vector"])[0])

    def test_warns_only_when_the_size_was_not_trained(self):
        with pytest.warns(UserWarning, match="not trained for prefixes"):
            TruncatedEncoder(FakeEncoder(), 4)
        with pytest.warns(UserWarning, match=r"not trained for prefixes.*\[2, 8\]"):
            TruncatedEncoder(FakeEncoder([2, 8]), 4)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            TruncatedEncoder(FakeEncoder([4, 8]), 4)
            TruncatedEncoder(FakeEncoder(), 4, trained_sizes=[4])
            TruncatedEncoder(FakeEncoder(), 8)  # nothing is cut off

    @pytest.mark.usefixtures("own_messages")
    def test_bad_input(self):
        with pytest.raises(InvalidTypeError, match="encode"):
            TruncatedEncoder("minilm", 4)
        with pytest.raises(InvalidValueError, match="got 9, but the vectors have 8"):
            TruncatedEncoder(FakeEncoder(), 9)
