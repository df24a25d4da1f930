import datetime
import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_testing import HashEncoder, make_documents

from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFoundError, StoreError
from polyvec.core.vectors import Vectors
from polyvec.data.documents import Document
from polyvec.search.store import Store
from polyvec.search.store.columns import MAX_COLUMNS, column_name, filter_columns, parse_column


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "index", encoder=HashEncoder())


def test_what_is_added_comes_back_as_it_was(store):
    documents = make_documents(50)
    assert store.add(documents) == 50
    assert list(store.documents()) == documents
    assert store.ids() == [document.id for document in documents]
    assert store.get("doc7") == documents[7]
    assert (len(store), store.count("year = 2010"), "doc7" in store, "x" in store, 7 in store) == (
        50,
        4,
        True,
        False,
        False,
    )
    reopened = Store.open(store.path)
    assert list(reopened.documents()) == documents


def test_vectors_come_back_as_they_were(tmp_path):
    store = Store.create(tmp_path / "index", dim=3)
    matrix = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32) * 7
    store.add(make_documents(20), Vectors(matrix, ids=[f"v{number}" for number in range(20)]))
    vectors = store.vectors()
    assert vectors.ids.tolist() == [f"doc{number}" for number in range(20)]
    np.testing.assert_array_equal(vectors.matrix, matrix)  # cosine compares directions, but lengths are kept
    some = store.vectors("year = 2012", metadata=True)
    assert some.ids.tolist() == ["doc2", "doc17"]
    assert some.metadata.column_names == ["title", "source", "score", "section", "year"]
    assert some.metadata["year"].to_pylist() == [2012, 2012]
    assert (store.nbytes, store.dim, store.metric) == (240, 3, "cosine")


def test_texts_are_encoded_with_their_titles(store):
    store.add([Document("a", "body", title="Head"), Document("b", "body")])
    assert store.encoder.encoded == ["Head\nbody", "body"]


@pytest.mark.parametrize("kind", ["list", "float64", "torch"])
def test_vectors_of_every_kind_are_taken(tmp_path, kind):
    matrix = np.eye(3, dtype=np.float32)
    given_vectors = matrix.tolist() if kind == "list" else matrix.astype(np.float64)
    if kind == "torch":
        import torch

        given_vectors = torch.eye(3)
    store = Store.create(tmp_path / "index", dim=3)
    assert store.add(make_documents(3), given_vectors) == 3
    np.testing.assert_array_equal(store.vectors().matrix, matrix)


def test_paging_through_documents(store):
    documents = make_documents(2500)
    store.add(documents, np.ones((2500, 32)))
    assert list(store.documents(limit=5, offset=1500)) == documents[1500:1505]
    assert list(store.documents(offset=2490)) == documents[2490:]
    assert list(store.documents(limit=0)) == []
    assert list(store.documents("year = 2013", limit=2, offset=1)) == [documents[18], documents[33]]
    assert list(store.documents()) == documents
    for bad in ({"limit": -1}, {"offset": -1}):
        with pytest.raises(InvalidValueError, match="needs at least 0"):
            store.documents(**bad)


def test_update_and_upsert_keep_the_order(store):
    documents = make_documents(10)
    store.add(documents)
    changed = Document("doc3", "entirely new words", metadata={"year": 1})
    assert store.update([changed]) == 1
    assert store.upsert([Document("doc5", "five"), Document("extra", "six")]) == 2
    assert store.ids() == [*(f"doc{number}" for number in range(10)), "extra"]
    assert store.get("doc3") == changed
    assert store.search("entirely new words", k=1)[0].id == "doc3"
    assert [hit.id for hit in store.search("entirely", mode="keyword")] == ["doc3"]
    assert store.get("doc5").text == "five"
    assert store.ids("year = 1") == ["doc3"]
    with pytest.raises(NotFoundError, match=r"documents: not in .*'nobody'"):
        store.update([Document("doc1", "never written"), Document("nobody", "x")])
    assert store.get("doc1") == documents[1]


def test_conflicts(store):
    store.add(make_documents(5))
    with pytest.raises(InvalidValueError, match=r"already in .*'doc4'; use upsert"):
        store.add([Document("new", "x"), Document("doc4", "y")])
    assert "new" not in store
    assert store.add([Document("new", "x"), Document("doc4", "y")], on_conflict="skip") == 1
    assert store.get("doc4").text != "y"
    assert store.encoder.encoded[-1] == "x"  # what is skipped is not encoded
    assert store.add([Document("doc4", "y")], on_conflict="skip") == 0
    assert store.add([Document("doc4", "y")], on_conflict="replace") == 1
    assert store.get("doc4").text == "y"
    with pytest.raises(InvalidValueError, match="on_conflict: got 'merge'"):
        store.add([], on_conflict="merge")


def test_duplicates_in_one_call_are_named(store):
    documents = [Document(key, "x") for key in ("a", "b", "a", "c", "b")]
    for method in (store.add, store.upsert, store.update):
        with pytest.raises(InvalidValueError, match="occur more than once: 'a', 'b'; ids must be unique"):
            method(documents)
    with pytest.raises(InvalidValueError, match="occur more than once: 'a'"):
        store.delete(["a", "a"])
    assert len(store) == 0


def test_delete(store):
    store.add(make_documents(400), np.ones((400, 32)))
    assert store.delete(["doc3", "doc5"]) == 2
    assert (len(store), "doc3" in store) == (398, False)
    with pytest.raises(NotFoundError, match=r"ids: not in .*'doc3', 'nobody'"):
        store.delete(["doc1", "doc3", "nobody"])
    assert "doc1" in store
    assert store.delete(["doc1", "doc3", "nobody"], missing="ignore") == 1
    assert store.delete([f"doc{number}" for number in range(100, 350)]) == 250
    assert store.delete([]) == 0
    assert len(store) == 147
    with pytest.raises(InvalidTypeError, match="got one str"):
        store.delete("doc7")
    store.add([Document("doc3", "back again")])
    assert store.ids()[-1] == "doc3"  # a new document, at the end


IDS = [
    "it's", 'say "hi"', "back`tick", "per%cent_", "new\nline", "naïve/中文/🙂", "x" * 5000, " ",
    "'; DROP TABLE documents; --", "a\\b", "null", "\x00",
]  # fmt: skip


def test_odd_ids(store):
    store.add([Document(key, f"text {number}") for number, key in enumerate(IDS)])
    for number, key in enumerate(IDS):
        assert store.get(key).text == f"text {number}", key
        assert key in store
    store.upsert([Document(key, f"new {number}") for number, key in enumerate(IDS)])
    assert store.ids() == IDS
    assert [store.get(key).text for key in IDS] == [f"new {number}" for number in range(len(IDS))]
    for key in IDS:
        assert store.delete([key]) == 1
    assert len(store) == 0


@settings(max_examples=25, deadline=None)
@given(
    metadata=st.lists(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False),
                      st.text(st.characters(exclude_categories=["Cs"]), max_size=8)),
            max_size=4,
        ),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_any_metadata_comes_back_exactly(tmp_path_factory, metadata):
    store = Store.create(tmp_path_factory.mktemp("any") / "index", dim=1)
    for number, values in enumerate(metadata):
        store.add([Document(f"d{number}", "x", metadata=values)], [[1.0]])
    for number, values in enumerate(metadata):
        found = store.get(f"d{number}").metadata
        assert found == values
        assert [type(value) for value in found.values()] == [type(value) for value in values.values()]
    assert len(store.ids()) == len(metadata)


def test_column_names_round_trip():
    for key in ("a", "a b", "a:int", "a.b", "%3A", "`", "'", "ü", "id", "a/b"):
        for kind in ("bool", "int", "float", "text"):
            assert parse_column(column_name(key, kind)) == (key, kind)
    assert parse_column("vector") is None
    assert filter_columns(["id", "a:int", "a:text", "b:float"]) == ({"a": "text", "b": "float"}, ["a:int"])


@pytest.mark.parametrize(
    ("first", "second", "kind", "checks"),
    [
        (1, 2.5, "float", {"k = 1": ["d0"], "k > 2": ["d1"]}),
        (2.5, 1, "float", {"k = 1": ["d1"], "k > 2": ["d0"]}),
        (1, "x", "text", {"k = '1'": ["d0"], "k = 'x'": ["d1"]}),
        ("x", 1, "text", {"k = '1'": ["d1"], "k = 'x'": ["d0"]}),
        (True, "x", "text", {"k = 'true'": ["d0"]}),
        ("x", True, "text", {"k = 'true'": ["d1"]}),
        (True, 1, "text", {"k = 'true'": ["d0"], "k = '1'": ["d1"]}),
        (1.5, "x", "text", {"k = '1.5'": ["d0"]}),
        (1, 10**30, "float", {"k > 1e29": ["d1"], "k = 1": ["d0"]}),
        (None, 5, "int", {"k = 5": ["d1"], "k IS NULL": ["d0"]}),
        (False, True, "bool", {"k": ["d1"], "NOT k": ["d0"]}),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_types_that_disagree_widen_the_column(tmp_path, first, second, kind, checks, together):
    store = Store.create(tmp_path / "index", dim=1)
    documents = [Document("d0", "x", metadata={"k": first}), Document("d1", "y", metadata={"k": second})]
    if together:
        store.add(documents, [[1.0], [1.0]])
    else:
        store.add(documents[:1], [[1.0]])
        store.add(documents[1:], [[1.0]])
    assert store.columns["k"] == kind
    for where, expected in checks.items():
        assert store.ids(where) == expected, where
    assert [document.metadata["k"] for document in store.documents()] == [first, second]
    names = store.snapshot().schema.names
    assert sum(name.startswith("k:") for name in names) == 1  # the narrow column is gone


def test_a_writer_that_died_between_widening_and_dropping_is_cleaned_up_after(tmp_path):
    store = Store.create(tmp_path / "index", dim=1)
    store.add([Document("d0", "x", metadata={"k": 7})], [[1.0]])
    with store.writer() as writer:
        writer.table.add_columns({"k:text": "cast(`k:int` as string)"})
    assert {"k:int", "k:text"} <= set(store.snapshot().schema.names)
    assert (store.columns["k"], store.ids("k = '7'")) == ("text", ["d0"])
    store.add([Document("d1", "y", metadata={"k": 8})], [[1.0]])
    assert "k:int" not in store.snapshot().schema.names
    assert store.ids("k = '8'") == ["d1"]


def test_a_store_whose_creation_died_before_the_keyword_index_is_completed(tmp_path):
    store = Store.create(tmp_path / "index", encoder=HashEncoder())
    with store.writer() as writer:
        writer.table.drop_index(store.snapshot().keyword_index.name)
    assert store.search("bax", mode="keyword") == []
    store.add([Document("a", "bax")])
    assert [hit.id for hit in store.search("bax", mode="keyword")] == ["a"]


def test_too_many_keys_are_stored_but_get_no_column(tmp_path, caplog):
    store = Store.create(tmp_path / "index", dim=1)
    metadata = {f"key{number:04}": number for number in range(MAX_COLUMNS + 20)}
    with caplog.at_level(logging.WARNING, logger="polyvec.search"):
        store.add([Document("d", "x", metadata=metadata)], [[1.0]])
    assert "more than 256 keys; 20 of them" in caplog.text
    assert store.get("d").metadata == metadata
    assert store.ids("key0255 = 255") == ["d"]
    with pytest.raises(InvalidValueError, match="no column 'key0270'"):
        store.ids("key0270 = 270")


def test_values_of_other_kinds(tmp_path):
    store = Store.create(tmp_path / "index", dim=1)
    day = datetime.date(2026, 11, 23)
    values = {"n": np.int64(3), "f": np.float32(0.5), "day": day, "b": np.bool_(True)}
    store.add([Document("d", "x", metadata=values)], [[1]])
    assert json.dumps(store.get("d").metadata) == '{"n": 3, "f": 0.5, "day": "2026-11-23", "b": true}'
    assert store.ids("day > '2026-01-01' AND n = 3 AND b") == ["d"]
    for value in ([1], {"a": 1}, b"x", object()):
        with pytest.raises(InvalidTypeError, match=r"metadata of document 'e': 'tags' is .*join lists"):
            store.add([Document("e", "x", metadata={"tags": value})], [[1.0]])
    with pytest.raises(InvalidTypeError, match="key 3 is int"):
        store.add([Document("e", "x", metadata={3: "x"})], [[1.0]])
    assert store.ids() == ["d"]


@pytest.mark.parametrize(
    ("documents", "error", "message"),
    [
        ([Document("", "x")], InvalidValueError, "an id is empty"),
        ([Document(None, "x")], InvalidTypeError, "got None of type NoneType"),
        ([Document(3, "x")], InvalidTypeError, "got 3 of type int"),
        ([Document("a", None)], InvalidTypeError, "document 'a': text is NoneType"),
        ([Document("a", "x", title=4)], InvalidTypeError, "document 'a': title is int"),
        ([Document("a", "x", source=None)], InvalidTypeError, "document 'a': source is NoneType"),
        ([Document("a", "x\ud800y")], InvalidValueError, "character 2 is half of a surrogate pair"),
        ([Document("\ud800", "x")], InvalidValueError, "half of a surrogate pair"),
        (["text"], InvalidTypeError, "got str, needs polyvec.data.Document"),
        ([{"id": "a"}], InvalidTypeError, "got dict, needs polyvec.data.Document"),
        ("text", InvalidTypeError, "got one str"),
        (Document("a", "x"), InvalidTypeError, "got one Document"),
    ],
)
def test_bad_documents_are_refused_and_nothing_is_written(store, documents, error, message):
    good = [Document("good", "x")]
    for given_documents in (documents, [*good, *documents] if isinstance(documents, list) else documents):
        with pytest.raises(error, match=message):
            store.add(given_documents)
    assert len(store) == 0


@pytest.mark.parametrize(
    ("vectors", "error", "message"),
    [
        (np.ones((1, 32)), InvalidValueError, "vectors: got 1 for 2 documents"),
        (np.ones((2, 31)), InvalidValueError, "vectors: got 31 dimensions, needs 32"),
        (np.full((2, 32), np.nan), InvalidValueError, "row 0 holds NaN"),
        (np.full((2, 32), 1e300), InvalidValueError, "does not fit in float32"),
        (np.ones(32), InvalidValueError, "needs two dimensions"),
        ([["a"] * 32] * 2, InvalidTypeError, "needs real numbers"),
    ],
)
def test_bad_vectors_are_refused(store, vectors, error, message):
    with pytest.raises(error, match=message):
        store.add([Document("a", "x"), Document("b", "y")], vectors)
    assert len(store) == 0


def test_nothing_to_add_is_fine(store):
    version = store.stats().version
    assert store.add([]) == store.upsert([]) == store.update([]) == 0
    assert store.stats().version == version


def test_read_only_refuses_changes(store):
    store.add(make_documents(3))
    reader = Store.open(store.path, read_only=True)
    for change in (
        lambda: reader.add([Document("x", "y")]), lambda: reader.delete(["doc1"]), lambda: reader.optimize(),
        lambda: reader.build_vector_index(),
    ):  # fmt: skip
        with pytest.raises(StoreError, match="read_only=True"):
            change()
    assert len(reader) == 3


def test_a_store_without_an_encoder_needs_vectors(tmp_path):
    store = Store.create(tmp_path / "index", dim=4)
    with pytest.raises(StoreError, match="made without an encoder"):
        store.add([Document("a", "x")])
    assert len(store) == 0


def test_long_and_empty_texts(store):
    long = "bax dox\n" * 200_000
    store.add([Document("long", long), Document("empty", ""), Document("titled", "", title="")])
    assert store.get("long").text == long
    assert store.get("empty") == Document("empty", "")
    assert store.get("titled").title == ""
    assert [hit.id for hit in store.search("bax", mode="keyword")] == ["long"]


def test_many_small_commits_are_joined(store):
    for number in range(25):
        store.add([Document(f"d{number}", f"word{number}")])
    assert store.stats().fragments == 25
    store.optimize()
    stats = store.stats()
    assert (stats.fragments, stats.documents, stats.unindexed_documents) == (1, 25, 0)
    before = stats.bytes_on_disk
    store.optimize(keep_versions=datetime.timedelta(milliseconds=1))
    assert store.stats().bytes_on_disk < before
    assert store.ids() == [f"d{number}" for number in range(25)]
