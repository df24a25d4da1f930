"""The store with the real default text model, once."""

import numpy as np
import pytest

from polyvec.core.errors import EncoderMismatchError
from polyvec.data.documents import Document
from polyvec.encode.text import TextEncoder
from polyvec.search import Store, index_sources

TEXTS = {
    "cats": "A kitten sleeps on the sofa.",
    "stocks": "Shares fell as investors sold bonds.",
    "python": "The interpreter raises an exception when a key is missing.",
    "bread": "Knead the dough and let it rise before baking.",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("default") / "index"
    report = index_sources([Document(key, text) for key, text in TEXTS.items()], path, show_progress=False)
    assert report.added == 4
    return report.store


def test_a_new_store_takes_the_default_model_and_finds_by_meaning(store):
    assert store.search("a small cat is napping", k=1)[0].id == "cats"
    assert store.search("the market went down", k=1, mode="hybrid")[0].id == "stocks"
    assert store.similar("python", k=3)
    expected = TextEncoder().encode(list(TEXTS.values()))
    similarity = (store.vectors().matrix * expected).sum(axis=1)
    assert similarity.min() > 0.999
    assert np.allclose(np.linalg.norm(store.vectors().matrix, axis=1), 1, atol=1e-3)


def test_opening_without_an_encoder_loads_the_remembered_one(store):
    reopened = Store.open(store.path)
    assert reopened.given_encoder is None
    assert reopened.search("how to bake", k=1)[0].id == "bread"
    assert reopened.encoder.fingerprint["sha256"] == store.encoder_fingerprint["sha256"]


def test_another_precision_is_the_same_encoder_and_other_dimensions_are_not(store):
    assert Store.open(store.path, encoder=TextEncoder(precision="exact")).search("how to bake", k=1)[0].id == "bread"
    with pytest.raises(EncoderMismatchError, match="128 dimensions"):
        Store.open(store.path, encoder=TextEncoder(dims=128))


def test_a_shortened_encoder_is_loaded_with_its_dimensions(tmp_path):
    documents = [Document(key, text) for key, text in TEXTS.items()]
    index_sources(documents, tmp_path / "short", encoder=TextEncoder(dims=64), show_progress=False)
    store = Store.open(tmp_path / "short")
    assert store.search("how to bake", k=1)[0].id == "bread"
    assert (store.dim, store.encoder.dim) == (64, 64)


def test_a_sentence_transformer_and_the_text_encoder_of_one_model_are_the_same(store):
    from sentence_transformers import SentenceTransformer

    from polyvec.encode.text.bundled import DEFAULT_MODEL, bundled_folder

    assert DEFAULT_MODEL
    model = SentenceTransformer(str(bundled_folder()), device="cpu")
    assert Store.open(store.path, encoder=model).search("how to bake", k=1)[0].id == "bread"
