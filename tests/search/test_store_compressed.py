"""A store whose vectors are codes: it searches, changes, remembers, goes back, and survives kill -9."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from store_testing import HashEncoder, make_documents, ranked, similarities

from polyvec.compress import HalfPrecision, OptimizedProductQuantizer, ScalarQuantizer, SignBinarizer, Truncate
from polyvec.core.errors import InvalidTypeError, InvalidValueError, StoreError
from polyvec.data.documents import Document
from polyvec.search import Store, index_sources
from polyvec.search.store import compressing

COUNT, DIM = 600, 32


def made(path, metric="cosine", count=COUNT):
    encoder = HashEncoder(dim=DIM)
    store = Store.create(path, encoder=encoder, metric=metric)
    store.add(make_documents(count))
    return store


@pytest.fixture
def store(tmp_path):
    return made(tmp_path / "index")


def ids(hits):
    return [hit.id for hit in hits]


KINDS = {
    "8 bits": (ScalarQuantizer(8), None),
    "4 bits, finer half": (ScalarQuantizer(4), HalfPrecision()),
    "signs, finer full": (SignBinarizer(), "full"),
    "groups": (OptimizedProductQuantizer(8, bits=8), None),
    "prefix": (Truncate(16), None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_hits_are_those_of_the_decoded_vectors(tmp_path, kind):
    store = made(tmp_path / "index")
    compressor, finer = KINDS[kind]
    whole = store.vectors().matrix.copy()
    store.shrink(compressor, finer)
    told = store.compression
    kept = sum(part["bytes"] for part in told.values())
    assert store.nbytes == COUNT * kept == store.stats().nbytes
    assert store.snapshot().memory().codes.nbytes == COUNT * told["code"]["bytes"]
    assert store.snapshot().memory().matrix.nbytes == 0
    decoded = store.vectors()
    assert ids([store.get(key) for key in decoded.ids[:3]]) == ["doc0", "doc1", "doc2"]
    if finer == "full":
        assert np.array_equal(decoded.matrix, whole)
    documents = {document.id: document for document in store.documents()}
    for number in (3, 44, 101):
        query = store.encoder.encode([f"{documents[f'doc{number}'].text} bax"])[0]
        scores = similarities(decoded.matrix, query, "cosine")
        best = ranked(scores, 10)
        found = store.search(query, k=10, exact=True)
        assert [hit.score for hit in found] == pytest.approx(scores[best], abs=1e-5)
        quick = store.search(query, k=10)
        assert len(set(ids(quick)) & set(ids(found))) >= 9  # the scan passes on a hundred of six hundred
        for hit in quick:
            assert hit.score == pytest.approx(scores[int(hit.id[3:])], abs=1e-5)
        narrow = store.search(query, k=10, where="section = 'games' AND year > 2015")
        allowed = [
            row for row in ranked(scores)
            if documents[f"doc{row}"].metadata["section"] == "games" and documents[f"doc{row}"].metadata["year"] > 2015
        ]  # fmt: skip
        assert [hit.score for hit in narrow] == pytest.approx(scores[allowed[:10]], abs=1e-5)


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_other_metrics(tmp_path, metric):
    generator = np.random.default_rng(0)
    matrix = (generator.normal(size=(300, DIM)) * generator.uniform(0.5, 2, (300, 1))).astype(np.float32)
    store = Store.create(tmp_path / "index", dim=DIM, metric=metric)
    store.add([Document(f"d{row}", "x") for row in range(300)], matrix)
    store.shrink(ScalarQuantizer(8))
    for query in generator.normal(size=(5, DIM)).astype(np.float32):
        truth = similarities(store.vectors().matrix, query, metric)
        hits = store.search(query, k=10)
        assert [hit.score for hit in hits] == pytest.approx(truth[ranked(truth, 10)], rel=1e-4, abs=1e-4)


def test_pages_hybrid_similar_and_keyword(store):
    store.shrink(ScalarQuantizer(8))
    query = store.get("doc5").text
    whole = ids(store.search(query, k=40))
    assert [key for start in range(0, 40, 8) for key in ids(store.search(query, k=8, offset=start))] == whole
    assert len(set(whole)) == 40
    assert ids(store.search(query, k=5, mode="keyword"))[0] == "doc5"
    assert "doc5" in ids(store.search(query, k=5, mode="hybrid"))
    near = ids(store.similar("doc5", k=5))
    assert "doc5" not in near
    assert near[0] in ids(store.search(query, k=5))


def test_changing_a_compressed_store(store, tmp_path):
    store.shrink(ScalarQuantizer(8), HalfPrecision())
    store.add([Document("new", "zub zom zax", metadata={"section": "fresh", "extra": 1})])
    assert ids(store.search("zub zom zax", k=1)) == ["new"]
    store.update([Document("doc9", "zub zom zax")])
    assert set(ids(store.search("zub zom zax", k=2))) == {"new", "doc9"}
    store.delete(["new"])
    store.optimize()
    assert ids(store.search("zub zom zax", k=1)) == ["doc9"]
    assert store.build_vector_index(force=True) is None
    assert store.count() == COUNT
    again = Store.open(store.path, encoder=HashEncoder(dim=DIM))
    assert again.compression == store.compression
    assert ids(again.search("zub zom zax", k=1)) == ["doc9"]
    store.save(tmp_path / "copy")
    assert ids(Store.open(tmp_path / "copy", encoder=HashEncoder(dim=DIM)).search("zub zom zax", k=1)) == ["doc9"]


def test_indexing_into_a_compressed_store(tmp_path):
    encoder = HashEncoder(dim=DIM)
    documents = make_documents(300)
    store = index_sources(documents, tmp_path / "index", encoder=encoder, origin="test", show_progress=False).store
    store.shrink(ScalarQuantizer(8))
    changed = [Document(f"doc{n}", "zub zom zax") if n == 7 else document for n, document in enumerate(documents[:-20])]
    encoder.calls.clear()
    report = index_sources(changed, store, origin="test", show_progress=False)
    assert (report.updated, report.removed, report.unchanged) == (1, 20, 279)
    assert encoder.encoded == ["zub zom zax"]
    assert store.compression is not None
    assert ids(store.search("zub zom zax", k=1)) == ["doc7"]


def test_a_reader_that_was_open_sees_the_codes(store):
    reader = Store.open(store.path, encoder=HashEncoder(dim=DIM), read_only=True)
    before = ids(reader.search("bax dox", k=5))
    store.shrink(ScalarQuantizer(8))
    assert reader.compression is not None
    assert ids(reader.search("bax dox", k=5))[0] == before[0]
    store.undo_shrink()
    assert reader.compression is None
    assert ids(reader.search("bax dox", k=5)) == before


def test_more_vectors_than_memory(store):
    store.shrink(ScalarQuantizer(8), HalfPrecision())
    small = Store.open(store.path, encoder=HashEncoder(dim=DIM), memory_limit=0)
    for options in ({}, {"where": "section = 'utils'"}):
        assert ids(small.search("bax dox", k=9, **options)) == ids(store.search("bax dox", k=9, exact=True, **options))
    assert small.search("bax", where="section = 'none'") == []


class TestUndo:
    def test_untouched_vectors_come_back_bit_by_bit(self, store):
        before = store.vectors(metadata=True)
        hits = [store.search("bax dox mub", k=20, mode=mode) for mode in ("dense", "keyword", "hybrid")]
        store.shrink(SignBinarizer())
        assert store.undo_shrink() == (COUNT, 0)
        assert store.vectors(metadata=True) == before
        assert [store.search("bax dox mub", k=20, mode=mode) for mode in ("dense", "keyword", "hybrid")] == hits
        assert store.stats().format == 1
        assert set(lancedb.connect(store.path).list_tables().tables) == {"documents", "compressors"}

    def test_documents_that_came_or_changed_since_are_kept_and_encoded_by_the_next_run(self, tmp_path):
        encoder = HashEncoder(dim=DIM)
        documents = make_documents(300)
        store = index_sources(documents, tmp_path / "index", encoder=encoder, origin="o", show_progress=False).store
        store.shrink(SignBinarizer())
        documents = [*documents[:-1], Document("later", "zub zom zax")]
        documents[4] = Document("doc4", "mub mox max")
        index_sources(documents, store, origin="o", show_progress=False)
        assert store.undo_shrink() == (298, 2)
        encoder.calls.clear()
        report = index_sources(documents, store, origin="o", show_progress=False)
        assert sorted(encoder.encoded) == ["mub mox max", "zub zom zax"]
        assert (report.updated, report.unchanged) == (2, 298)
        exact = encoder.encode([document.embedding_text for document in documents])
        found = store.vectors()
        assert np.array_equal(np.stack([found[document.id] for document in documents]), exact)

    def test_finish_frees_the_disk(self, tmp_path):
        store = Store.create(tmp_path / "index", dim=256)
        vectors = np.random.default_rng(0).normal(size=(2000, 256)).astype(np.float32)
        store.add([Document(str(row), "x") for row in range(2000)], vectors)
        store.optimize()
        before = store.stats().bytes_on_disk
        store.shrink(ScalarQuantizer(4))
        store.finish_shrink()
        after = store.stats().bytes_on_disk
        assert before - after > 0.9 * 2000 * (256 * 4 - 128) - 100_000
        with pytest.raises(StoreError, match="given up by --finish"):
            store.undo_shrink()
        assert len(store.search(vectors[0], k=3)) == 3
        store.finish_shrink()  # again is no error

    def test_what_is_refused(self, store, tmp_path):
        for action in (store.undo_shrink, store.finish_shrink):
            with pytest.raises(StoreError, match="is not compressed"):
                action()
        with pytest.raises(InvalidTypeError, match="object is not registered"):
            store.shrink(object())
        with pytest.raises(InvalidValueError, match="bits: got 3"):
            store.shrink(ScalarQuantizer(3))
        assert store.compression is None
        store.shrink(HalfPrecision())
        with pytest.raises(StoreError, match=r"is compressed already; run polyvec shrink .* --undo first"):
            store.shrink(ScalarQuantizer(8))
        with pytest.raises(StoreError, match="read_only"):
            Store.open(store.path, read_only=True).shrink(ScalarQuantizer(8))


def test_an_older_polyvec_refuses_it_by_its_format(store):
    from polyvec.search.store.layout import SCHEMA_KEY

    plain = json.loads(lancedb.connect(store.path).open_table("documents").schema.metadata[SCHEMA_KEY])
    assert plain["format"] == 1
    assert "compression" not in plain  # a field that it would not know
    store.shrink(HalfPrecision())
    told = json.loads(lancedb.connect(store.path).open_table("documents").schema.metadata[SCHEMA_KEY])
    assert told["format"] == 2


def test_missing_or_damaged_parameters_are_named(store):
    from polyvec.search.store import codec

    store.shrink(ScalarQuantizer(8))
    connection = lancedb.connect(store.path)
    codec._KNOWN.clear()
    kept = connection.open_table("compressors").to_arrow()
    connection.create_table(
        "compressors", kept.set_column(1, "content", pa.array([b"damaged"], pa.large_binary())), mode="overwrite"
    )
    with pytest.raises(StoreError, match="parameters of its codes are damaged"):
        Store.open(store.path, encoder=HashEncoder(dim=DIM)).search("bax")
    connection.drop_table("compressors")
    with pytest.raises(StoreError, match="parameters of its codes are missing"):
        Store.open(store.path, encoder=HashEncoder(dim=DIM)).search("bax")


# -- crashes ------------------------------------------------------------------------------------------------------

STEPS = {
    "copy of the vectors": (compressing, "_copied"),
    "parameters": (compressing.Place, "keep_parameters"),
    "the commit": (compressing, "_replace"),
    "keyword index": (compressing.Writer, "build_keyword_index"),
}


class StopError(RuntimeError):
    pass


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_leaves_the_old_store_or_the_new(store, monkeypatch, step):
    def stop(*_args, **_options):
        raise StopError

    before, truth = ids(store.search("bax dox mub", k=10)), store.vectors()
    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[step], stop)
        with pytest.raises((StopError, StoreError)):
            store.shrink(ScalarQuantizer(8))
    reopened = Store.open(store.path, encoder=HashEncoder(dim=DIM))
    assert (reopened.compression is not None) == (step == "keyword index")
    assert reopened.count() == COUNT
    assert len(set(ids(reopened.search("bax dox mub", k=10))) & set(before)) >= 9
    assert ids(reopened.search(reopened.get("doc5").text, k=1, mode="keyword")) == ["doc5"]
    if reopened.compression is None:
        reopened.shrink(ScalarQuantizer(8))
    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[step], stop)
        if step in ("the commit", "keyword index"):
            with pytest.raises((StopError, StoreError)):
                reopened.undo_shrink()
    if reopened.compression is not None:
        assert reopened.undo_shrink() == (COUNT, 0)
    assert Store.open(store.path).vectors() == truth
    reopened.shrink(ScalarQuantizer(8))  # whatever an interrupted undo left behind
    assert reopened.undo_shrink() == (COUNT, 0)


WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
from store_testing import HashEncoder
from polyvec.compress import ScalarQuantizer
from polyvec.search import Store
store = Store.open(sys.argv[2], encoder=HashEncoder(dim=32))
store.snapshot()
print("ready", flush=True)
while True:
    store.shrink(ScalarQuantizer(8))
    store.undo_shrink()
"""


def test_kill_at_any_moment(store):
    truth = store.vectors()
    states = set()
    generator = np.random.default_rng(0)
    for _ in range(4):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(Path(__file__).parent), store.path],
            stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert worker.stdout.readline() == "ready\n"
        time.sleep(float(generator.uniform(0.02, 0.6)))
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        after = Store.open(store.path, encoder=HashEncoder(dim=DIM))
        assert after.count() == COUNT
        found = after.vectors()
        assert found.ids.tolist() == truth.ids.tolist()
        states.add(after.compression is not None)
        if after.compression is None:
            assert np.array_equal(found.matrix, truth.matrix)
        else:
            assert np.abs(found.matrix - truth.matrix).max() < 0.02
            assert after.undo_shrink() == (COUNT, 0)
            assert np.array_equal(after.vectors().matrix, truth.matrix)
        assert ids(after.search(after.get("doc5").text, k=1)) == ids(
            after.search(after.get("doc5").text, k=1, exact=True)
        )
    assert states
