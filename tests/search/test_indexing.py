import json
import logging

import numpy as np
import pytest
from store_testing import HashEncoder, make_documents

from polyvec.core.errors import (
    EncoderMismatchError,
    FileProblemError,
    FormatError,
    InvalidTypeError,
    InvalidValueError,
    StoreError,
)
from polyvec.data.documents import Document
from polyvec.search import IndexReport, Store, index_sources


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    for number in range(6):
        (folder / f"note{number}.txt").write_text(f"note number{number} about bax dox\n")
    (folder / "deep" / "inner.md").write_text("# Inner\n\nzom tax\n")
    return folder


def index(sources, tmp_path, **options):
    encoder = options.pop("encoder", None) or HashEncoder()
    report = index_sources(sources, tmp_path / "index", encoder=encoder, show_progress=False, **options)
    return report, encoder


def counts(report):
    return (report.added, report.updated, report.metadata_updated, report.unchanged, report.removed)


def test_a_folder_is_indexed_and_found(notes, tmp_path):
    report, encoder = index(notes, tmp_path)
    assert isinstance(report, IndexReport)
    assert (report.seen, counts(report)) == (7, (7, 0, 0, 0, 0))
    assert (report.encoded, len(encoder.encoded), report.commits) == (7, 7, 1)
    assert report.store.search("zom tax", k=1)[0].source == "deep/inner.md"
    assert report.store.search("number3", mode="keyword")[0].id == "note3.txt"
    stats = report.store.stats()
    assert (stats.documents, stats.fragments, stats.unindexed_documents, stats.encoder["name"]) == (
        7,
        1,
        0,
        "hash-encoder",
    )
    told = report.to_dict()
    assert json.loads(json.dumps(told)) == told
    assert told["documents_per_second"] > 0
    assert "store" not in told
    assert report.seconds >= report.encode_seconds > 0


def test_only_what_changed_is_encoded_again(notes, tmp_path):
    index(notes, tmp_path)
    report, encoder = index(notes, tmp_path)
    assert (counts(report), report.commits, encoder.calls) == ((0, 0, 0, 7, 0), 0, [])
    version = report.store.stats().version

    (notes / "note1.txt").write_text("changed words\n")
    (notes / "new.txt").write_text("brand new\n")
    (notes / "note2.txt").unlink()
    report, encoder = index(notes, tmp_path)
    assert (counts(report), sorted(encoder.encoded)) == ((1, 1, 0, 5, 1), ["brand new", "changed words"])
    store = report.store
    assert store.stats().version > version
    assert "note2.txt" not in store
    assert store.get("note1.txt").text == "changed words"
    assert store.search("changed words", k=1)[0].id == "note1.txt"
    assert [hit.id for hit in store.search("changed", mode="keyword")] == ["note1.txt"]
    assert len(store) == 7


def test_an_unchanged_run_leaves_the_store_alone(notes, tmp_path):
    first, _ = index(notes, tmp_path)
    version = first.store.stats().version
    again, _ = index(notes, tmp_path)
    assert again.store.stats().version == version


def test_metadata_alone_is_updated_without_encoding(tmp_path):
    rows = [{"id": number, "text": f"text number{number}", "year": 2000 + number} for number in range(10)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report, _ = index(file, tmp_path)
    vectors = report.store.vectors()
    rows[4]["year"] = 1999
    rows[5]["lang"] = "en"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report, encoder = index(file, tmp_path)
    assert (counts(report), encoder.calls) == ((0, 0, 2, 8, 0), [])
    store = report.store
    assert len(store.ids("year = 1999")) == len(store.ids("lang = 'en'")) == 1
    assert store.ids() == vectors.ids.tolist()
    np.testing.assert_array_equal(store.vectors().matrix, vectors.matrix)


def test_renamed_files_and_equal_texts_are_not_encoded_again(notes, tmp_path):
    index(notes, tmp_path)
    (notes / "note3.txt").rename(notes / "renamed.txt")
    (notes / "copy.txt").write_text("note number0 about bax dox\n")
    report, encoder = index(notes, tmp_path)
    assert (counts(report), encoder.calls) == ((2, 0, 0, 6, 1), [])
    assert report.store.search("note number3 about bax dox", k=1)[0].id == "renamed.txt"
    vectors = report.store.vectors()
    np.testing.assert_array_equal(vectors["copy.txt"], vectors["note0.txt"])


def test_texts_that_trade_places_get_their_own_vectors(tmp_path):
    words = [f"word{number} bax" for number in range(40)]
    documents = [Document(f"d{number}", text) for number, text in enumerate(words)]
    index(documents, tmp_path, origin="set")
    swapped = [Document(f"d{number}", words[(number + 1) % 40]) for number in range(40)]
    report, _ = index(swapped, tmp_path, origin="set", commit_documents=7)
    assert report.updated == 40
    expected = HashEncoder().encode([document.text for document in swapped])
    np.testing.assert_allclose(report.store.vectors().matrix, expected, atol=1e-6)


def test_equal_texts_of_one_run_are_encoded_once(tmp_path):
    documents = [Document(f"d{number}", f"same text {number % 3}") for number in range(30)]
    report, encoder = index(documents, tmp_path)
    assert (report.added, report.encoded, len(encoder.encoded)) == (30, 3, 3)
    expected = HashEncoder().encode([document.text for document in documents])
    np.testing.assert_array_equal(report.store.vectors().matrix, expected)


def test_another_folder_does_not_touch_the_first(notes, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "page.txt").write_text("gax rom\n")
    index(notes, tmp_path)
    report, _ = index(other, tmp_path)
    assert (counts(report), len(report.store)) == ((1, 0, 0, 0, 0), 8)
    (other / "page.txt").unlink()
    (other / "page2.txt").write_text("gax rom\n")
    report, _ = index(other, tmp_path)
    assert (counts(report), len(report.store)) == ((1, 0, 0, 0, 1), 8)
    report, _ = index([notes, other], tmp_path)
    assert counts(report) == (0, 0, 0, 8, 0)


def test_a_folder_whose_name_begins_like_another_is_another(tmp_path):
    for name in ("notes", "notes2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(f"{name} bax")
    index(tmp_path / "notes2", tmp_path)
    report, _ = index(tmp_path / "notes", tmp_path)
    assert sorted(report.store.ids()) == ["notes.txt", "notes2.txt"]


def test_without_prune_nothing_is_dropped(notes, tmp_path):
    index(notes, tmp_path)
    (notes / "note2.txt").unlink()
    report, _ = index(notes, tmp_path, prune=False)
    assert (report.removed, "note2.txt" in report.store) == (0, True)


def test_choosing_fewer_files_drops_the_others(notes, tmp_path):
    index(notes, tmp_path)
    report, _ = index(notes, tmp_path, include="*.md")
    assert (report.removed, report.store.ids()) == (6, ["deep/inner.md"])


def test_a_pattern_drops_only_what_is_gone(notes, tmp_path):
    index(notes, tmp_path)
    (notes / "note5.txt").unlink()
    report, _ = index(str(notes / "*.txt"), tmp_path)
    assert (report.removed, "deep/inner.md" in report.store, "note5.txt" in report.store) == (1, True, False)


def test_a_file_that_cannot_be_read_loses_nothing(notes, tmp_path, caplog):
    bad = notes / "table.jsonl"
    bad.write_text("".join(json.dumps({"id": f"r{number}", "text": f"row{number} bax"}) + "\n" for number in range(5)))
    report, _ = index(notes, tmp_path)
    assert len(report.store) == 12
    bad.write_bytes(b"\x00\x01\x02\xff" * 100)
    with caplog.at_level(logging.ERROR):
        report, _ = index(notes, tmp_path)
    assert (report.skipped, report.removed, len(report.store)) == (1, 0, 12)
    assert any("table.jsonl" in line for line in report.left_out)
    bad.unlink()
    report, _ = index(notes, tmp_path)
    assert (report.removed, len(report.store)) == (5, 7)


def test_a_row_that_vanished_from_a_file_is_dropped(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"id": f"r{number}", "text": f"row{number} bax"}) + "\n" for number in range(5)))
    index(file, tmp_path)
    file.write_text(
        "".join(json.dumps({"id": f"r{number}", "text": f"row{number} bax"}) + "\n" for number in (0, 1, 4))
    )
    report, _ = index(file, tmp_path)
    assert (counts(report), len(report.store)) == ((0, 0, 0, 3, 2), 3)


def test_a_folder_that_was_moved_is_known_again(notes, tmp_path):
    index(notes, tmp_path)
    notes.rename(tmp_path / "elsewhere")
    report, encoder = index(tmp_path / "elsewhere", tmp_path)
    assert (counts(report), encoder.calls) == ((0, 0, 7, 0, 0), [])
    report, _ = index(tmp_path / "elsewhere", tmp_path)
    assert counts(report) == (0, 0, 0, 7, 0)


def test_an_id_of_another_source_is_a_clear_error(notes, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "note1.txt").write_text("something else\n")
    report, _ = index(notes, tmp_path)
    message = r"the id 'note1.txt' of .*other/note1.txt belongs to .*notes/note1.txt already"
    with pytest.raises(InvalidValueError, match=message) as caught:
        index(other, tmp_path)
    assert "\n" not in str(caught.value)
    assert report.store.get("note1.txt").text.startswith("note number1")
    assert len(report.store) == 7
    both, _ = index([notes, other], tmp_path)  # in one run the reader keeps them apart
    assert len(both.store) == 8


def test_duplicate_ids_in_one_run_are_a_clear_error_and_lose_nothing(tmp_path):
    documents = make_documents(50)
    index(documents, tmp_path, origin="first")
    changed = [Document(document.id, "changed", metadata={}) for document in documents]
    with pytest.raises(InvalidValueError, match="the id 'doc3' occurs twice: from first and from first"):
        index([*changed, changed[3]], tmp_path, origin="first", commit_documents=1000)
    store = Store.open(tmp_path / "index")
    assert list(store.documents()) == documents


def test_documents_from_memory(tmp_path):
    documents = make_documents(20)
    report, _ = index(documents, tmp_path)
    assert counts(report) == (20, 0, 0, 0, 0)
    report, _ = index(iter(documents[:5]), tmp_path)
    assert (counts(report), len(report.store)) == ((0, 0, 0, 5, 0), 20)  # no origin: nothing is dropped
    report, _ = index(documents[:5], tmp_path / "b", origin="mine")
    report, _ = index(documents[1:5], tmp_path / "b", origin="mine")
    assert counts(report) == (0, 0, 0, 4, 1)
    report, _ = index([Document("x", "y")], tmp_path / "b", origin="yours")
    assert len(report.store) == 5


def test_documents_that_were_added_by_hand_are_left_alone(notes, tmp_path):
    report, _ = index(notes, tmp_path)
    report.store.add([Document("by-hand", "bax")])
    report, _ = index(notes, tmp_path)
    assert (counts(report), "by-hand" in report.store) == ((0, 0, 0, 7, 0), True)
    report.store.upsert([Document("note1.txt", "changed by hand")])
    report, _ = index(notes, tmp_path)
    assert counts(report) == (0, 1, 0, 6, 0)
    assert report.store.get("note1.txt").text.startswith("note number1")


def test_a_name_of_the_catalogue(tmp_path, monkeypatch):
    from polyvec.data import catalogue

    page = tmp_path / "page.txt"
    page.write_text("unused")
    documents = make_documents(10)
    monkeypatch.setattr(catalogue, "catalogue", lambda: {"my-texts": object()})
    monkeypatch.setattr(catalogue, "load", lambda name: documents)
    report, _ = index("my-texts", tmp_path)
    assert counts(report) == (10, 0, 0, 0, 0)
    assert set(report.store.snapshot().scan(["origin"])["origin"].to_pylist()) == {"catalogue:my-texts"}
    documents = documents[2:]
    monkeypatch.setattr(catalogue, "load", lambda name: documents)
    report, _ = index(["my-texts", page], tmp_path)
    assert counts(report) == (1, 0, 0, 8, 2)
    monkeypatch.setattr(catalogue, "load", lambda name: {"table": 1})
    monkeypatch.setattr(catalogue, "entry", lambda name: type("Entry", (), {"kind": "tables"}))
    with pytest.raises(InvalidValueError, match="catalogue's 'my-texts' holds tables"):
        index("my-texts", tmp_path)


@pytest.mark.parametrize(
    ("sources", "error", "message"),
    [
        ([], InvalidValueError, "no documents"),
        (iter([]), InvalidValueError, "no documents"),
        ("missing-folder", FileProblemError, "no such file"),
        ("", InvalidValueError, "source"),
        (None, InvalidTypeError, "sources: got NoneType"),
        (5, InvalidTypeError, "sources: got int"),
        ({"a": 1}, InvalidTypeError, "sources: got dict"),
        (Document("a", "b"), InvalidTypeError, "got one Document"),
        ([Document("a", "b"), "c"], InvalidTypeError, "got str among the documents"),
        ([3], InvalidTypeError, "a source must be a path"),
    ],
)
def test_bad_sources_are_refused_and_an_index_is_untouched(notes, tmp_path, monkeypatch, sources, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        index(sources if not hasattr(sources, "__next__") else iter([]), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    report, _ = index(notes, tmp_path)
    version = report.store.stats().version
    with pytest.raises(error, match=message):
        index(sources if not hasattr(sources, "__next__") else iter([]), tmp_path)
    assert report.store.stats().version == version


def test_folders_without_documents(notes, tmp_path):
    report, _ = index(notes, tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FormatError, match="no documents"):
        index(empty, tmp_path)
    for file in notes.rglob("*.*"):
        file.unlink()
    with pytest.raises(FormatError, match="no documents"):  # an emptied folder looks like a mount that is missing
        index(notes, tmp_path)
    assert len(report.store) == 7


def test_another_encoder_is_refused_before_anything_is_written(notes, tmp_path):
    report, _ = index(notes, tmp_path)
    (notes / "note1.txt").write_text("changed\n")
    with pytest.raises(EncoderMismatchError, match="was made with hash-encoder, 32"):
        index(notes, tmp_path, encoder=HashEncoder(dim=8))
    with pytest.raises(EncoderMismatchError):
        index_sources(notes, report.store, encoder=HashEncoder(name="other"), show_progress=False)
    assert report.store.get("note1.txt").text != "changed"


def test_an_open_store_can_be_given(notes, tmp_path):
    store = Store.create(tmp_path / "index", encoder=HashEncoder(), metric="dot")
    report = index_sources(notes, store, show_progress=False)
    assert report.store is store
    assert len(store) == 7


def test_batches_are_committed_and_told(tmp_path):
    committed = []
    report, _ = index(make_documents(100), tmp_path, commit_documents=30, on_commit=committed.append)
    assert [len(ids) for ids in committed] == [30, 30, 30, 10]
    assert [key for ids in committed for key in ids] == report.store.ids() == [f"doc{number}" for number in range(100)]
    assert report.commits == 4
    assert report.store.stats().fragments == 1


def test_a_slow_encoder_is_committed_by_time(tmp_path):
    class Slow(HashEncoder):
        def encode(self, texts, **options):
            import time

            time.sleep(0.002 * len(texts))
            return super().encode(texts, **options)

    committed = []
    index(
        make_documents(400),
        tmp_path,
        encoder=Slow(),
        commit_seconds=0.1,
        on_commit=lambda ids: committed.append(len(ids)),
    )
    assert len(committed) >= 4
    assert sum(committed) == 400


def test_an_encoder_that_fails_half_way_leaves_what_was_committed(tmp_path):
    class Failing(HashEncoder):
        def encode(self, texts, **options):
            if len(self.encoded) >= 256:
                raise RuntimeError("out of memory")
            return super().encode(texts, **options)

    with pytest.raises(RuntimeError, match="out of memory"):
        index(make_documents(600), tmp_path, encoder=Failing(), commit_documents=50)
    store = Store.open(tmp_path / "index")
    assert store.ids() == [f"doc{number}" for number in range(250)]
    report, encoder = index(make_documents(600), tmp_path)
    assert (counts(report), len(encoder.encoded)) == ((350, 0, 0, 250, 0), 350)
    assert list(report.store.documents()) == make_documents(600)


def test_a_reader_that_fails_half_way_drops_nothing(tmp_path):
    index(make_documents(300), tmp_path, origin="mine")

    def failing():
        yield from make_documents(100)
        raise FileProblemError("cannot read page 101")

    with pytest.raises(FileProblemError, match="page 101"):
        index(failing(), tmp_path, origin="mine")
    assert len(Store.open(tmp_path / "index")) == 300


def test_options_reach_the_encoder(notes, tmp_path):
    seen = []

    class Recording(HashEncoder):
        chunking = None

        def encode_document(self, texts, batch_size=None, show_progress_bar=None, chunking=None, engine="local"):
            seen.append((batch_size, show_progress_bar, chunking, engine))
            return self.encode(texts)

    index(notes, tmp_path, encoder=Recording())
    index(notes, tmp_path, encoder=Recording(), batch_size=7, chunking="by 64", engine="ray")
    assert seen == [(None, False, None, "local"), (7, False, "by 64", "ray")]  # other chunking: encoded anew
    report, _ = index(notes, tmp_path, encoder=Recording(), chunking="by 64")
    assert (counts(report), len(seen)) == ((0, 0, 0, 7, 0), 2)
    with pytest.raises(InvalidValueError, match="engine: got 'ray', but HashEncoder does not know this option"):
        index(notes, tmp_path / "other", engine="ray")


def test_chunks_without_pooling_are_refused(notes, tmp_path):
    from polyvec.encode.text.chunking import Chunking

    with pytest.raises(InvalidValueError, match="choose pooling='mean'"):
        index(notes, tmp_path, chunking=Chunking(pooling="none"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "dask"}, "engine: got 'dask'"),
        ({"commit_documents": 0}, "commit_documents"),
        ({"commit_seconds": 0}, "commit_seconds"),
        ({"origin": "x"}, "origin: is for documents"),
        ({"on_error": "ignore"}, "on_error"),
    ],
)
def test_bad_options_are_refused(notes, tmp_path, options, message):
    with pytest.raises(InvalidValueError, match=message):
        index(notes, tmp_path, **options)
    assert not (tmp_path / "index").exists()


def test_a_file_as_target_is_refused(notes, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        index_sources(notes, tmp_path / "file", encoder=HashEncoder(), show_progress=False)
    with pytest.raises(StoreError, match="holds other files"):
        index_sources(notes, notes, encoder=HashEncoder(), show_progress=False)
    assert sorted(entry.name for entry in notes.iterdir())[0] == "deep"


def test_the_progress_bar_counts_all_documents(notes, tmp_path, capsys):
    index_sources(notes, tmp_path / "index", encoder=HashEncoder(), show_progress=True)
    shown = capsys.readouterr()
    assert "7/7" in shown.err
    assert shown.out == ""


def test_texts_of_files_that_are_not_utf8_can_be_stored(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "latin.txt").write_bytes("Überfluß an Größe in der Straße bei Köln".encode("latin-1"))
    (folder / "binary.txt").write_bytes(bytes(range(256)) * 10)
    (folder / "odd\udcff.txt").write_bytes(b"odd name bax")
    report, _ = index(folder, tmp_path)
    assert len(report.store) == report.seen >= 2
    assert report.store.search("bax", mode="keyword")
