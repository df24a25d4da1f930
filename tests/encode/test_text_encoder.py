"""The default model against sentence-transformers, and everything a caller can pass."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from text_support import cosines, default_encoder, oracle, sample_texts

from polyvec.core.errors import DataUnavailableError, InvalidTypeError, InvalidValueError
from polyvec.core.protocols import Encoder
from polyvec.encode import TextEncoder

LONG = " ".join(sample_texts(40, seed=5))
ODD = ["", " ", "\n\t", "naïve café ☕", "漢字とかな", "a" * 300, "e\u0301", "\x00 control \x07", "x", LONG, "🧪" * 50]


def test_exact_mode_gives_the_vectors_of_sentence_transformers():
    texts = [*sample_texts(40), *ODD]
    wanted = oracle().encode(texts)
    got = default_encoder("exact").encode(texts)
    assert got.dtype == np.float32
    assert got.shape == wanted.shape == (len(texts), 384)
    np.testing.assert_allclose(got, wanted, atol=2e-6)
    assert cosines(got, wanted).min() > 0.99999


@pytest.mark.parametrize("precision", ["auto", "bfloat16", "int8"])
def test_fast_modes_stay_close(precision):
    texts = [*sample_texts(40), *ODD]
    found = cosines(default_encoder(precision).encode(texts), default_encoder("exact").encode(texts))
    assert found.mean() >= 0.995
    assert found.min() >= (0.98 if precision == "int8" else 0.999)


def test_a_text_does_not_depend_on_its_company_in_exact_mode():
    texts = sample_texts(50, seed=3)
    encoder = default_encoder("exact")
    together = encoder.encode(texts)
    alone = np.stack([encoder.encode(text) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)
    few = encoder.encode(texts, batch_size=3)
    np.testing.assert_allclose(together, few, atol=1e-5, rtol=0)


def test_company_moves_bfloat16_vectors_only_a_little():
    texts = sample_texts(50, seed=3)
    encoder = default_encoder("auto")
    alone = np.stack([encoder.encode(text) for text in texts])
    assert cosines(encoder.encode(texts), alone).min() > 0.9995


def test_same_call_same_bits():
    texts = sample_texts(60, seed=4)
    for precision in ("exact", "auto"):
        encoder = default_encoder(precision)
        np.testing.assert_array_equal(encoder.encode(texts), encoder.encode(texts))


def test_kinds_of_input_and_output():
    encoder = default_encoder("exact")
    texts = ["one", "two words", "three more words"]
    wanted = encoder.encode(texts)
    single = encoder.encode("two words")
    assert single.shape == (384,)
    np.testing.assert_allclose(single, wanted[1], atol=1e-6)
    for items in (tuple(texts), np.array(texts), np.array(texts, object), pa.array(texts), iter(texts)):
        np.testing.assert_array_equal(encoder.encode(items), wanted)
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(encoder.encode(pandas.Series(texts, index=[7, 8, 9])), wanted)
    tensor = encoder.encode(texts, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), wanted)
    rows = encoder.encode(texts, convert_to_numpy=False)
    assert [type(row) for row in rows] == [torch.Tensor] * 3
    assert encoder.encode([]).shape == (0, 384)
    assert encoder.encode([]).dtype == np.float32
    assert encoder.encode(["x"]).shape == (1, 384)


def test_properties():
    encoder = default_encoder("exact")
    assert isinstance(encoder, Encoder)
    assert encoder.dim == encoder.get_sentence_embedding_dimension() == 384
    assert encoder.max_seq_length == oracle().max_seq_length == 256
    assert (encoder.runtime, encoder.precision, encoder.name) == ("openvino", "float32", "all-MiniLM-L6-v2")
    assert "all-MiniLM-L6-v2" in repr(encoder)


@pytest.mark.parametrize(
    ("items", "where"),
    [
        (["good", None], "sentences[1]"),
        (["good", 3.5], "sentences[1]"),
        ([float("nan")], "sentences[0]"),
        (["a", "b", b"bytes"], "sentences[2]"),
        ([["nested"]], "sentences[0]"),
        (b"bytes", "sentences"),
        (None, "sentences"),
        (7, "sentences"),
        ({"a": "b"}, "sentences"),
        ({"a", "b"}, "sentences"),
        (np.array([["a", "b"]]), "sentences"),
        (pa.table({"text": ["a"]}), "sentences"),
    ],
)
def test_what_is_not_text_is_refused_by_name(items, where):
    with pytest.raises(InvalidTypeError) as caught:
        default_encoder("exact").encode(items)
    assert str(caught.value).startswith(where + ":")
    assert "\n" not in str(caught.value)


def test_lone_surrogates_are_read_as_replacement_characters():
    encoder = default_encoder("exact")
    np.testing.assert_array_equal(encoder.encode("bad \ud800 text\udfff"), encoder.encode("bad \ufffd text\ufffd"))


def test_vectors_are_finite_and_of_unit_length_for_odd_texts():
    for precision in ("exact", "auto", "int8"):
        vectors = default_encoder(precision).encode(ODD)
        assert np.isfinite(vectors).all()
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("unit", ["word ", "a", "漢", " ", "\n", "a-", "𝕏"])
def test_a_megabyte_is_cut_as_sentence_transformers_cuts_it(unit):
    text = unit * (1_000_000 // len(unit))
    wanted = oracle().encode([text[:200_000]])[0] if unit != "a" else oracle().encode([text])[0]
    np.testing.assert_allclose(default_encoder("exact").encode(text), wanted, atol=2e-6)


def test_tokens_are_those_of_sentence_transformers():
    texts = [*sample_texts(8, seed=6), *ODD]
    wanted = oracle().encode(texts, output_value="token_embeddings")
    got = default_encoder("exact").encode(texts, output="tokens")
    for one, other in zip(got, wanted, strict=True):
        assert one.dtype == np.float32
        assert one.shape == tuple(other.shape)
        np.testing.assert_allclose(one, other.numpy(), atol=2e-5)
    bare = default_encoder("exact").encode(texts, output="tokens", special_tokens=False)
    for one, other in zip(bare, got, strict=True):
        np.testing.assert_array_equal(one, other[1:-1])
    assert bare[0].flags.owndata or bare[0].base is None or bare[0].flags.c_contiguous
    alone = default_encoder("exact").encode(texts[0], output="tokens")
    np.testing.assert_allclose(alone, got[0], atol=1e-5)
    assert default_encoder("exact").encode([], output="tokens") == []


def test_tokenize():
    texts = ["short", *sample_texts(3, seed=8), LONG]
    got = default_encoder("exact").tokenize(texts)
    wanted = oracle().preprocess(texts)
    for key in ("input_ids", "attention_mask"):
        np.testing.assert_array_equal(got[key], wanted[key].numpy())
    assert got["input_ids"].shape[1] == 256


def test_fewer_dimensions():
    full = default_encoder("exact")
    short = default_encoder("exact", dims=64)
    texts = sample_texts(9)
    wanted = full.encode(texts)[:, :64]
    wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(short.encode(texts), wanted, atol=1e-6)
    assert short.dim == 64
    assert short.encode([]).shape == (0, 64)
    assert short.fingerprint["dim"] == 64
    raw = default_encoder("exact", dims=64, normalize=False)
    np.testing.assert_allclose(raw.encode(texts), full.encode(texts)[:, :64], atol=1e-6)
    assert raw.fingerprint["normalize"] is False


def test_prompts():
    encoder = default_encoder("exact")
    texts = ["one", "two"]
    wanted = encoder.encode(["query: one", "query: two"])
    np.testing.assert_array_equal(encoder.encode(texts, prompt="query: "), wanted)
    np.testing.assert_array_equal(encoder.encode_query(texts), encoder.encode(texts))
    np.testing.assert_array_equal(encoder.encode_document(texts), encoder.encode(texts))
    with pytest.raises(InvalidValueError, match="prompt_name"):
        encoder.encode(texts, prompt_name="none of that name")


def test_max_length_cuts_like_sentence_transformers():
    model = oracle()
    before = model.max_seq_length
    try:
        model.max_seq_length = 16
        wanted = model.encode([LONG, "short"])
    finally:
        model.max_seq_length = before
    np.testing.assert_allclose(default_encoder("exact", max_length=16).encode([LONG, "short"]), wanted, atol=2e-6)
    # beyond the model's own limit, within its positions
    assert default_encoder("exact", max_length=512).tokenize(LONG)["input_ids"].shape == (1, 512)


def test_fingerprint_ignores_how_and_tells_what():
    exact, fast = default_encoder("exact").fingerprint, default_encoder("auto").fingerprint
    assert {**exact, "precision": ""} == {**fast, "precision": ""}
    assert exact["precision"] == "float32"
    assert exact["dim"] == 384
    assert exact["pooling"] == "mean"
    assert exact["normalize"] is True
    assert len(exact["sha256"]) == 64
    live = TextEncoder(oracle(), precision="exact")
    assert live.fingerprint["sha256"] == exact["sha256"]


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"precision": "float8"}, InvalidValueError, "precision"),
        ({"runtime": "onnx"}, InvalidValueError, "runtime"),
        ({"runtime": "openvino", "device": "cuda"}, InvalidValueError, "device"),
        ({"dims": 0}, InvalidValueError, "dims"),
        ({"dims": 385}, InvalidValueError, "dims"),
        ({"dims": 1.5}, InvalidTypeError, "dims"),
        ({"max_length": 2}, InvalidValueError, "max_length"),
        ({"max_length": 513}, InvalidValueError, "max_length"),
        ({"threads": 0}, InvalidValueError, "threads"),
        ({"token_budget": True}, InvalidTypeError, "token_budget"),
        ({"chunking": 256}, InvalidTypeError, "chunking"),
        ({"model": 7}, InvalidTypeError, "model"),
        ({"model": "no/such/place"}, DataUnavailableError, "no/such/place"),
        ({"model": "nobody/never-made-this"}, DataUnavailableError, "never-made-this"),
        ({"runtime": "torch", "precision": "int8"}, InvalidValueError, "int8"),
    ],
)
def test_bad_arguments(options, error, word):
    with pytest.raises(error, match=word) as caught:
        TextEncoder(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"output": "vectors"},
        {"engine": "spark"},
        {"batch_size": 0},
        {"engine": "ray", "output": "tokens"},
        {"engine": "ray", "ray_workers": 0},
    ],
)
def test_bad_arguments_of_encode(options):
    with pytest.raises(InvalidValueError, match=list(options)[-1]):
        default_encoder("exact").encode(["text"], **options)
