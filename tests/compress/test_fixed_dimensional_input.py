"""Fixed dimensional encodings: what is accepted and refused, files, determinism."""

import json

import numpy as np
import pytest
import torch
from fixed_dimensional_testing import random_sets
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from polyvec.compress import FixedDimensionalEncoding, VectorSets
from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError, NotFittedError


@pytest.fixture
def documents():
    return random_sets(0)


@pytest.fixture
def encoder(documents):
    return FixedDimensionalEncoding(3, 2, 4).fit(documents)


def test_every_way_to_give_sets_is_the_same(documents, encoder):
    wanted = encoder.transform_documents(documents)
    lengths = [len(one) for one in documents]
    values, offsets = np.concatenate(documents), np.concatenate([[0], np.cumsum(lengths)])
    padded = np.full((len(documents), max(lengths), 12), np.nan)
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    padded[mask] = values
    for sets in ((values, offsets), VectorSets(values, offsets), VectorSets.from_padded(padded, mask)):
        assert np.array_equal(encoder.transform_documents(sets), wanted)
    nested = [one.astype(float).tolist() for one in documents]
    assert np.allclose(encoder.transform_documents(nested), wanted, atol=1e-6)
    tensors = encoder.transform_documents([torch.from_numpy(one) for one in documents])
    assert isinstance(tensors, torch.Tensor)
    assert np.array_equal(tensors.numpy(), wanted)
    from_tensors = VectorSets.from_padded(torch.from_numpy(padded), torch.from_numpy(mask))
    assert np.allclose(encoder.transform(from_tensors), wanted, atol=1e-6)
    cube = np.stack([one[:1] for one in documents])
    assert np.array_equal(encoder.transform_queries(cube), encoder.transform_queries(list(cube)))


def test_sets_can_be_taken_apart(documents):
    sets = VectorSets.from_list(documents)
    assert [len(one) for one in sets] == [len(one) for one in documents] == sets.lengths.tolist()
    assert np.array_equal(sets[-1], documents[-1])
    assert len(sets[4:2]) == 0
    for key in (slice(1, 4), [4, 0, 2], np.arange(6) % 2 == 1, slice(None, None, 2)):
        wanted = [documents[i] for i in np.arange(6)[key]]
        part = sets[key]
        assert len(part) == len(wanted)
        assert all(np.array_equal(one, other) for one, other in zip(part, wanted, strict=True))


def test_same_seed_same_result_and_another_seed_another(documents, encoder):
    again = FixedDimensionalEncoding(3, 2, 4).fit(documents)
    assert np.array_equal(again.transform_queries(documents), encoder.transform_queries(documents))
    assert again.fingerprint == encoder.fingerprint
    other = FixedDimensionalEncoding(3, 2, 4, random_state=1).fit(documents)
    assert not np.allclose(other.transform_queries(documents), encoder.transform_queries(documents))
    assert other.fingerprint != encoder.fingerprint
    drawn = [FixedDimensionalEncoding(3, 2, 4, random_state=None).fit(documents) for _ in range(2)]
    assert drawn[0].fingerprint != drawn[1].fingerprint


@pytest.mark.parametrize("change", [{"fill_empty": False}, {"center": True}, {"final_dim": 16}, {"n_bits": 3}])
def test_every_parameter_counts_in_the_fingerprint(documents, encoder, change):
    assert FixedDimensionalEncoding(**{**encoder.get_params(), **change}).fit(documents).fingerprint != (
        encoder.fingerprint
    )


def test_scikit_learn_contract(documents, encoder):
    assert clone(encoder).get_params() == encoder.get_params()
    assert np.array_equal(clone(encoder).fit_transform(documents), encoder.transform_documents(documents))
    assert make_pipeline(clone(encoder)).fit(documents).transform(documents).shape == (6, encoder.n_features_out_)
    before = [one.copy() for one in documents]
    FixedDimensionalEncoding(3, 2, None, center=True).fit(documents).transform(documents)
    assert all(np.array_equal(one, other) for one, other in zip(documents, before, strict=True))


@pytest.mark.parametrize(
    "parameters", [{}, {"projection_dim": None}, {"center": True, "final_dim": 7}, {"random_state": None, "n_bits": 0}]
)
def test_save_and_load(tmp_path, documents, parameters):
    encoder = FixedDimensionalEncoding(**{"n_repetitions": 3, "n_bits": 2, "projection_dim": 4, **parameters})
    encoder.fit(documents).save(tmp_path / "encoding.safetensors")
    again = FixedDimensionalEncoding.load(tmp_path / "encoding.safetensors")
    assert again.get_params() == encoder.get_params()
    assert again.fingerprint == encoder.fingerprint
    assert (again.seed_, again.maxsim_spread_, again.n_features_out_) == (
        encoder.seed_, encoder.maxsim_spread_, encoder.n_features_out_,
    )  # fmt: skip
    assert np.array_equal(again.transform_documents(documents), encoder.transform_documents(documents))
    assert np.array_equal(again.transform_queries(documents), encoder.transform_queries(documents))


def test_damaged_files_are_refused(tmp_path, encoder):
    path = tmp_path / "encoding.safetensors"
    with pytest.raises(FileProblemError, match="no such file"):
        FixedDimensionalEncoding.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="not a safetensors file"):
        FixedDimensionalEncoding.load(path)
    save_file({"x": np.zeros(1)}, path)
    with pytest.raises(FormatError, match="not a saved"):
        FixedDimensionalEncoding.load(path)
    encoder.save(path)
    arrays, state = load_file(path), json.loads(path.read_bytes()[8:].split(b"}}", 1)[0] + b"}}")["__metadata__"]
    for name, array in arrays.items():
        save_file({**arrays, name: np.ascontiguousarray(array[..., :-1])}, path, metadata=state)
        with pytest.raises(FormatError, match="damaged"):
            FixedDimensionalEncoding.load(path)
    save_file(arrays, path, metadata={**state, "parameters": json.dumps({"n_bits": 99})})
    with pytest.raises(FormatError, match="damaged"):
        FixedDimensionalEncoding.load(path)


def broken(documents, number, row, value):
    changed = [one.copy() for one in documents]
    changed[number][row, 3] = value
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: [*d[:2], d[2][:0]], "document 2 has no vectors"),
        (lambda d: [], "got none"),
        (lambda d: broken(d, 3, 0, np.nan), "document 3: vector 0 holds NaN"),
        (lambda d: broken(d, 4, 0, np.inf), "document 4: vector 0 holds NaN or infinity"),
        (lambda d: [d[0], d[1][:, :-1]], "document 1: got 11 dimensions, needs 12"),
        (lambda d: d[0], r"one array of 2 dimensions.*give \[x\]"),
        (lambda d: (np.zeros((4, 12)), [0, 3, 2, 4]), "offsets"),
        (lambda d: (np.zeros((4, 12)), [0, 3]), "offsets"),
        (lambda d: (np.zeros((4, 12)), [0, 2, 2, 4]), "document 1 has no vectors"),
    ],
)
def test_bad_documents(documents, encoder, change, message, own_messages):
    with pytest.raises(InvalidValueError, match=message) as caught:
        encoder.transform_documents(change(documents))
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidValueError, match=message):
        FixedDimensionalEncoding(3, 2, 4).fit(change(documents))


def test_queries_are_named_as_such(documents, encoder):
    with pytest.raises(InvalidValueError, match="query 1 has no vectors"):
        encoder.transform_queries([documents[0], documents[1][:0]])
    with pytest.raises(InvalidValueError, match=r"query: got vectors of 11 dimensions, but .* fitted on 12"):
        encoder.transform_queries([documents[0][:, :-1]])
    with pytest.raises(TypeError, match="fill"):  # there is no way to fill a query
        encoder.transform_queries(documents, fill_empty=True)


@pytest.mark.parametrize("what", ["a text", {"a": 1}, 5, [["a", "b"]]])
def test_things_that_are_no_sets(encoder, what, own_messages):
    with pytest.raises((InvalidTypeError, InvalidValueError)):
        encoder.transform_documents(what)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_bits": -1}, "n_bits: got -1, needs 0 to 24"),
        ({"n_bits": 25}, "n_bits: got 25, needs 0 to 24"),
        ({"n_bits": 2.0}, "n_bits: got float"),
        ({"n_bits": 24}, "encodings of .* numbers"),
        ({"n_repetitions": 0}, "n_repetitions: got 0"),
        ({"projection_dim": 13}, "projection_dim: got 13, but the vectors have 12 dimensions"),
        ({"projection_dim": 0}, "projection_dim: got 0"),
        ({"final_dim": 0}, "final_dim: got 0"),
        ({"random_state": -1}, "random_state: got -1"),
        ({"random_state": "x"}, "random_state: got 'x'"),
    ],
)
def test_bad_parameters(documents, parameters, message, own_messages):
    with pytest.raises((InvalidValueError, InvalidTypeError), match=message):
        FixedDimensionalEncoding(**parameters).fit(documents)


def test_not_fitted_or_changed_since(documents, encoder):
    for method in ("transform", "transform_documents", "transform_queries"):
        with pytest.raises(NotFittedError, match="call fit first"):
            getattr(FixedDimensionalEncoding(), method)(documents)
    encoder.set_params(n_bits=3)
    with pytest.raises(NotFittedError, match="changed since fit"):
        encoder.transform(documents)


def test_many_bits_with_fill_warn(documents):
    with pytest.warns(UserWarning, match="copies of the same few vectors"):
        FixedDimensionalEncoding(1, 9, 1).fit(documents)


def test_zero_vectors_warn_and_padding_is_dropped_by_the_mask(documents, encoder, recwarn):
    padded = [np.concatenate([one, np.zeros((2, 12), np.float32)]) for one in documents]
    encoder.transform_documents(documents)
    assert not recwarn
    with pytest.warns(UserWarning, match=r"12 of \d+ vectors are all zeros, the first in document 0.*from_padded"):
        dragged = encoder.transform_documents(padded)
    assert not np.allclose(dragged, encoder.transform_documents(documents))
