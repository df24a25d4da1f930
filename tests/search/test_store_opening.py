import json
import os
import shutil
import subprocess
import sys

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from store_testing import HashEncoder, make_documents

import polyvec
from polyvec.core.errors import EncoderMismatchError, FileProblemError, InvalidTypeError, InvalidValueError, StoreError
from polyvec.data.documents import Document
from polyvec.search.store import Store
from polyvec.search.store.fingerprint import encoder_fingerprint, same_encoder
from polyvec.search.store.layout import StoreInfo, new_schema


@pytest.fixture
def filled(tmp_path):
    store = Store.create(tmp_path / "index", encoder=HashEncoder())
    store.add(make_documents(20))
    return store


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def manifests(path):
    return sorted((path / "documents.lance" / "_versions").glob("*.manifest"))


# -- what may lie at a path ---------------------------------------------------------------------------------------


def test_a_path_without_a_store_is_explained(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for name, message in (
        ("missing", "there is no such folder"), ("empty", "is an empty folder"), ("other", "holds no index"),
        ("file", "is a file, and an index is a folder"), ("file/inside", "there is no such folder"),
    ):  # fmt: skip
        with pytest.raises(StoreError, match=message) as caught:
            Store.open(tmp_path / name)
        assert "polyvec index SOURCE --to" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(InvalidTypeError, match="path: got int"):
        Store.open(3)
    assert names(tmp_path / "other") == ["notes.txt"]  # looking leaves nothing behind
    assert names(tmp_path / "empty") == []


def test_create_refuses_what_is_there(tmp_path, filled):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"holds other files \(notes.txt\)"):
        Store.create(tmp_path / "other", dim=2)
    with pytest.raises(StoreError, match="is a file"):
        Store.create(tmp_path / "file", dim=2)
    with pytest.raises(StoreError, match="there is an index already"):
        Store.create(filled.path, dim=2)
    assert len(filled) == 20
    assert names(tmp_path / "other") == ["notes.txt"]


def test_overwrite_replaces(filled):
    new = Store.create(filled.path, dim=3, overwrite=True)
    assert (len(new), new.dim, new.encoder_fingerprint) == (0, 3, None)
    new.add([Document("a", "bax")], [[1, 0, 0]])
    assert Store.open(filled.path).search([1, 0, 0])[0].id == "a"
    with pytest.raises(StoreError, match="was replaced by another index meanwhile"):
        filled.search("bax")


def test_open_or_create(tmp_path):
    path = tmp_path / "new" / "index"
    first = Store.open_or_create(path, encoder=HashEncoder(), metric="dot")
    first.add(make_documents(3))
    again = Store.open_or_create(path, encoder=HashEncoder(), metric="cosine", lock_timeout=1)
    assert (len(again), again.metric) == (3, "dot")


@pytest.mark.parametrize("name", ["with space", "a#b", "per%20cent", "naïve 🙂", "q?x=1&y", "-dash", "x" * 200])
def test_odd_folder_names(tmp_path, name):
    store = Store.create(tmp_path / name, encoder=HashEncoder())
    store.add(make_documents(2))
    assert names(tmp_path) == [name]
    assert len(Store.open(tmp_path / name)) == 2


def test_home_and_relative_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Store.create("~/in-home", dim=1).add([Document("a", "x")], [[1.0]])
    store = Store.create("relative", dim=1)
    monkeypatch.chdir("/")
    store.add([Document("a", "x")], [[1.0]])
    assert names(tmp_path) == ["in-home", "relative"]
    assert len(Store.open("~/in-home")) == len(Store.open(tmp_path / "relative")) == 1


def test_bad_arguments_of_create(tmp_path):
    for arguments, error, message in (
        ({"dim": 0}, InvalidValueError, "dim: got 0"),
        ({"dim": 2.0}, InvalidTypeError, "dim: got float"),
        ({"dim": 3, "metric": "hamming"}, InvalidValueError, "metric: got 'hamming'"),
        ({"encoder": HashEncoder(), "dim": 5}, InvalidValueError, "dim: got 5, but the encoder gives 32"),
        ({"encoder": HashEncoder}, InvalidTypeError, "encoder: got type"),
        ({"encoder": 5}, InvalidTypeError, "encoder: got int"),
        ({"encoder": {"name": "x"}}, InvalidValueError, "dim=None"),
        ({"dim": 2, "language": "Klingon"}, StoreError, "Klingon"),
    ):
        with pytest.raises(error, match=message) as caught:
            Store.create(tmp_path / "index", **arguments)
        assert "\n" not in str(caught.value)


def test_other_languages_stem_their_own_words(tmp_path):
    store = Store.create(tmp_path / "index", dim=1, language="German")
    store.add([Document("a", "die Häuser sind alt")], [[1.0]])
    assert [hit.id for hit in store.search("Haus der", mode="keyword")] == ["a"]
    assert store.search("der die das", mode="keyword") == []


# -- versions and damage ------------------------------------------------------------------------------------------


def write_table(path, metadata):
    info = StoreInfo.new(2, "cosine", None, "English")
    lancedb.connect(path).create_table("documents", schema=new_schema(info).with_metadata(metadata))


def test_a_store_of_a_newer_format_is_refused(tmp_path):
    told = {"format": 3, "written_by": "9.1.0", "something": "new"}
    write_table(tmp_path / "index", {b"polyvec": json.dumps(told).encode()})
    for opening in (Store.open, lambda path: Store.open_or_create(path, dim=2)):
        with pytest.raises(StoreError, match=r"format 3, written by polyvec 9.1.0; .*up to format 2. Upgrade: pip"):
            opening(tmp_path / "index")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "not one that polyvec made"),
        ({b"polyvec": b"not json"}, "damaged"),
        ({b"polyvec": b'{"format": 1}'}, "damaged"),
        ({b"polyvec": b"[]"}, "damaged"),
    ],
)
def test_a_table_of_somebody_else_is_refused(tmp_path, metadata, message):
    write_table(tmp_path / "index", metadata)
    with pytest.raises(StoreError, match=message):
        Store.open(tmp_path / "index")


@pytest.mark.parametrize("content", [b"", b"garbage" * 20, None])
def test_a_damaged_manifest_is_a_clear_error(filled, tmp_path, content):
    newest = manifests(tmp_path / "index")[0]
    whole = newest.read_bytes()
    newest.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(StoreError, match=r"damaged or missing .*restore the folder from a copy") as caught:
        Store.open(filled.path)
    assert "\n" not in str(caught.value)
    assert ".rs:" not in str(caught.value)
    newest.write_bytes(whole)
    assert len(Store.open(filled.path)) == 20


def test_damaged_or_missing_data_is_a_clear_error(filled, tmp_path):
    for file in (tmp_path / "index" / "documents.lance" / "data").iterdir():
        os.truncate(file, 40)
    store = Store.open(filled.path, encoder=HashEncoder())
    for reading in (
        lambda: store.search("bax"),
        lambda: store.get("doc1"),
        lambda: store.ids(),
        lambda: store.vectors(),
    ):
        with pytest.raises(StoreError, match="damaged or missing"):
            reading()
    shutil.rmtree(tmp_path / "index" / "documents.lance" / "data")
    store = Store.open(filled.path)
    with pytest.raises((StoreError, FileProblemError), match=r"damaged or missing|no such file"):
        store.ids()


def test_a_creation_that_was_interrupted_is_explained_and_can_be_repeated(tmp_path):
    (tmp_path / "index" / "documents.lance" / "_versions").mkdir(parents=True)
    (tmp_path / "index" / "documents.lance" / "_versions" / "1.manifest.tmp").write_bytes(b"half")
    (tmp_path / "index" / ".polyvec.lock").write_text("")
    with pytest.raises(StoreError, match="never finished"):
        Store.open(tmp_path / "index")
    store = Store.open_or_create(tmp_path / "index", encoder=HashEncoder())
    store.add(make_documents(3))
    assert len(Store.open(tmp_path / "index")) == 3


def test_no_permission_is_a_clear_error(tmp_path, filled, monkeypatch):
    with pytest.raises(FileProblemError, match="/proc/polyvec-index"):
        Store.create("/proc/polyvec-index", dim=2)
    real = os.open

    def refuse(path, *arguments, **options):
        if str(path).endswith(".polyvec.lock"):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FileProblemError, match="no permission; check the owner"):
        filled.add([Document("new", "x")])
    assert len(Store.open(filled.path, read_only=True)) == 20  # reading needs no lock


# -- the encoder --------------------------------------------------------------------------------------------------


def test_another_encoder_is_refused_and_both_are_named(filled):
    for other in (HashEncoder(name="other"), HashEncoder(dim=16), {"name": "hash-encoder", "dim": 16}):
        with pytest.raises(EncoderMismatchError, match="was made with hash-encoder, 32 dimensions") as caught:
            Store.open(filled.path, encoder=other)
        described = other if isinstance(other, dict) else other.fingerprint
        assert f"got {described['name']}, {described['dim']} dimensions" in str(caught.value)
        with pytest.raises(EncoderMismatchError):
            Store.open_or_create(filled.path, encoder=other)
        with pytest.raises(EncoderMismatchError):
            filled.bind(other)
    assert filled.search("bax")


def test_the_same_encoder_is_taken(filled):
    same = HashEncoder()
    store = Store.open(filled.path, encoder=same)
    assert [hit.id for hit in store.search("bax dox", k=20)] == [hit.id for hit in filled.search("bax dox", k=20)]
    assert same.encoded == ["bax dox"]
    assert Store.open(filled.path, encoder=same.fingerprint).dim == 32


def test_what_makes_two_encoders_the_same():
    base = {"name": "m", "sha256": "aa", "dim": 4, "normalize": True, "precision": "fp32"}
    assert same_encoder(base, dict(base))
    assert same_encoder(base, {**base, "precision": "int8", "device": "cuda"})
    assert same_encoder(base, {**base, "name": "/elsewhere/m"})  # the same weights
    assert same_encoder({**base, "sha256": None}, base)
    assert not same_encoder(base, {**base, "sha256": "bb"})
    assert not same_encoder(base, {**base, "dim": 5})
    assert not same_encoder(base, {**base, "normalize": False})
    assert not same_encoder({**base, "sha256": None}, {**base, "name": "n"})


def test_fingerprints_of_other_objects():
    class Plain:
        def encode(self, texts):
            return np.zeros((len(texts), 7))

    told = encoder_fingerprint(Plain())
    assert told["dim"] == 7
    assert told["name"].endswith("Plain")

    class Fitted(Plain):
        dim = 9

    assert encoder_fingerprint(Fitted())["dim"] == 9
    assert not same_encoder(encoder_fingerprint(Fitted()), told)


def test_a_sentence_transformer_is_known_by_its_weights(tmp_path):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    def model(seed):
        torch.manual_seed(seed)
        tokenizer = Tokenizer(WordLevel({"bax": 0, "dox": 1, "[UNK]": 2}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = Whitespace()
        return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=6)], device="cpu")

    first, same, other = model(1), model(1), model(2)
    assert same_encoder(encoder_fingerprint(first), encoder_fingerprint(same))
    assert not same_encoder(encoder_fingerprint(first), encoder_fingerprint(other))
    store = Store.create(tmp_path / "index", encoder=first)
    store.add([Document("a", "bax"), Document("b", "dox")])
    assert Store.open(store.path, encoder=same).search("dox", k=1)[0].id == "b"
    with pytest.raises(EncoderMismatchError):
        Store.open(store.path, encoder=other)


def test_an_encoder_that_cannot_be_loaded_by_name_is_a_clear_error(filled):
    store = Store.open(filled.path)
    with pytest.raises(StoreError, match=r"cannot load its encoder, hash-encoder.*open the store with encoder="):
        store.search("bax")
    assert store.search("bax", mode="keyword")


def test_the_encoder_survives_every_kind_of_commit(filled):
    filled.upsert([Document("doc1", "x", metadata={"new": 1})])
    filled.delete(["doc2"])
    filled.upsert([Document("doc1", "x", metadata={"new": "text"})])
    filled.optimize()
    assert Store.open(filled.path).encoder_fingerprint == HashEncoder().fingerprint


# -- statistics and copies ----------------------------------------------------------------------------------------


def test_stats(filled):
    stats = filled.stats()
    told = stats.to_dict()
    assert json.loads(json.dumps(told)) == told
    assert (stats.documents, stats.dim, stats.metric, stats.format) == (20, 32, "cosine", 1)
    assert stats.encoder == HashEncoder().fingerprint
    assert stats.columns == {
        "id": "text", "title": "text", "text": "text", "source": "text", "origin": "text",
        "score": "float", "section": "text", "year": "int",
    }  # fmt: skip
    assert (stats.written_by, stats.vector_index, stats.nbytes) == (polyvec.__version__, None, 20 * 32 * 4)
    assert stats.bytes_on_disk > 20 * 32 * 4
    assert stats.created <= stats.updated
    assert stats.updated.endswith("+00:00")
    filled.delete(["doc1"])
    assert filled.stats().version > stats.version


def test_save_copies_a_store(filled, tmp_path):
    filled.save(tmp_path / "copy")
    filled.delete(["doc1"])
    copy = Store.open(tmp_path / "copy", encoder=HashEncoder())
    assert (len(copy), len(filled)) == (20, 19)
    copy.add([Document("new", "x")])
    with pytest.raises(StoreError, match="exists"):
        filled.save(tmp_path / "copy")


def test_a_store_is_a_context_and_can_be_used_after_closing(filled):
    with Store.open(filled.path, encoder=HashEncoder()) as store:
        first = store.search("bax")
    assert store.search("bax") == first
    assert repr(store).startswith("Store(")


def test_importing_the_room_loads_nothing_heavy():
    code = (
        "import sys, polyvec.search; from polyvec.search import Store, index_sources; "
        "print(sorted({'lancedb', 'torch', 'pandas', 'transformers'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_arrow_sees_an_ordinary_table(filled):
    table = lancedb.connect(filled.path).open_table("documents").to_arrow()
    assert table.column_names[:3] == ["id", "position", "title"]
    assert table["vector"].type == pa.list_(pa.float32(), 32)
    assert "year:int" in table.column_names
