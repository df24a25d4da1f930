import logging
from itertools import pairwise

import numpy as np
import pytest
from store_testing import WORDS, HashEncoder, bm25, make_documents, ranked, similarities

from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFoundError, StoreError
from polyvec.data.documents import Document
from polyvec.search.store import Store

COUNT, DIM = 300, 16


def vectors_of(count=COUNT, dim=DIM, seed=1):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


@pytest.fixture(scope="module", params=["cosine", "dot", "l2"])
def filled(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "index"
    documents, vectors = make_documents(COUNT), vectors_of()
    store = Store.create(path, dim=DIM, metric=request.param)
    for start in range(0, COUNT, 70):  # several fragments
        store.add(documents[start : start + 70], vectors[start : start + 70])
    return store, documents, vectors


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "index"
    documents = make_documents(COUNT, seed=3)
    store = Store.create(path, encoder=HashEncoder())
    store.add(documents)
    store.optimize()
    return store, documents, HashEncoder().encode([document.embedding_text for document in documents])


@pytest.mark.parametrize("in_memory", [True, False])
def test_dense_equals_brute_force(filled, in_memory):
    store, documents, vectors = filled
    reopened = Store.open(store.path, memory_limit=1 << 30 if in_memory else 0)
    for seed in range(5):
        query = np.random.default_rng(100 + seed).normal(size=DIM).astype(np.float32)
        truth = similarities(vectors, query, store.metric)
        hits = reopened.search(query, k=25)
        assert [hit.id for hit in hits] == [documents[row].id for row in ranked(truth, 25)]
        assert [hit.rank for hit in hits] == list(range(1, 26))
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(truth)[::-1][:25], atol=1e-5)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_filter_is_applied_before_ranking(filled, in_memory):
    store, documents, vectors = filled
    reopened = Store.open(store.path, memory_limit=1 << 30 if in_memory else 0)
    query = vectors_of(1, seed=9)[0]
    truth = similarities(vectors, query, store.metric)
    allowed = [row for row, document in enumerate(documents)
               if document.metadata["section"] == "games" and document.metadata["year"] > 2021]  # fmt: skip
    assert 5 < len(allowed) < 40
    hits = reopened.search(query, k=100, where="section = 'games' AND year > 2021")
    assert [hit.id for hit in hits] == [documents[row].id for row in allowed if row in set(allowed)][:0] + [
        documents[allowed[place]].id for place in ranked(truth[allowed])
    ]


def test_hits_hold_the_document(filled):
    store, documents, vectors = filled
    hit = store.search(vectors[7] * 2, k=300)[0] if store.metric == "dot" else store.search(vectors[7], k=1)[0]
    document = next(document for document in documents if document.id == hit.id)
    assert (hit.title, hit.text, hit.source, hit.metadata) == (
        document.title, document.text, document.source, document.metadata,
    )  # fmt: skip
    assert hit.to_dict() == {
        "id": document.id, "score": hit.score, "rank": 1, "title": document.title, "text": document.text,
        "source": document.source, "metadata": document.metadata,
    }  # fmt: skip


def test_queries_may_be_lists_tensors_and_rows(filled):
    torch = pytest.importorskip("torch")
    store, _, vectors = filled
    expected = [hit.id for hit in store.search(vectors[3], k=5)]
    for query in (
        vectors[3].tolist(),
        torch.from_numpy(vectors[3]),
        vectors[3][None, :],
        vectors[3].astype(np.float64),
    ):
        assert [hit.id for hit in store.search(query, k=5)] == expected


def test_similar_leaves_itself_out(filled):
    store, documents, vectors = filled
    truth = similarities(vectors, vectors[5], store.metric)
    truth[5] = -np.inf
    assert [hit.id for hit in store.similar("doc5", k=8)] == [documents[row].id for row in ranked(truth, 8)]
    allowed = [row for row, document in enumerate(documents) if document.metadata["section"] == "utils" and row != 5]
    best = [documents[allowed[place]].id for place in ranked(truth[allowed], 4)]
    assert [hit.id for hit in store.similar("doc5", k=4, where="section = 'utils'")] == best
    with pytest.raises(NotFoundError, match="no document with the id 'nobody'"):
        store.similar("nobody")


@pytest.mark.parametrize("query", ["bax", "bax dox nub", "zom zom", "LUB tax"])
def test_keyword_scores_are_bm25(texts, query):
    store, documents, _ = texts
    truth = bm25(documents, query)
    hits = store.search(query, k=COUNT, mode="keyword")
    assert len(hits) == (truth > 0).sum() > 3
    found = {hit.id: hit.score for hit in hits}
    for document, score in zip(documents, truth, strict=True):
        assert found.get(document.id, 0.0) == pytest.approx(score, abs=1e-4)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)


def test_keyword_reads_titles_stems_and_ignores_stop_words(tmp_path):
    store = Store.create(tmp_path / "index", encoder=HashEncoder())
    store.add([
        Document("title", "nothing here", title="Compressing vectors"),
        Document("text", "we compress a vector"),
        Document("other", "the cat and the hat"),
    ])  # fmt: skip
    assert {hit.id for hit in store.search("compressed", mode="keyword")} == {"title", "text"}
    assert store.search("the and of", mode="keyword") == []
    assert store.search("?! ...", mode="keyword") == []
    assert [hit.id for hit in store.search("HATS", mode="keyword")] == ["other"]


def test_hybrid_is_the_sum_of_reciprocal_ranks(texts):
    store, documents, vectors = texts
    for query in ("bax dox nub", "zom", "tax lub gax rom"):
        dense = [hit.id for hit in store.search(query, k=COUNT)]
        keyword = [hit.id for hit in store.search(query, k=COUNT, mode="keyword")]
        truth = similarities(vectors, HashEncoder().encode([query])[0], "cosine")
        assert dense[:3] == [documents[row].id for row in ranked(np.round(truth, 5), 3)]
        assert len(keyword) == (bm25(documents, query) > 0).sum()
        expected = dict.fromkeys([document.id for document in documents], 0.0)
        for ranking in (dense, keyword):
            for rank, key in enumerate(ranking, start=1):
                expected[key] += 1 / (60 + rank)
        order = ranked(np.round(list(expected.values()), 12))
        hits = store.search(query, k=40, mode="hybrid")
        names = list(expected)
        assert [hit.id for hit in hits] == [names[row] for row in order[:40]]
        np.testing.assert_allclose([hit.score for hit in hits], sorted(expected.values(), reverse=True)[:40], rtol=1e-9)


def test_hybrid_with_a_filter_fuses_filtered_rankings(texts):
    store, documents, _ = texts
    where, query = "section != 'utils' AND score > 0", "bax dox nub"
    dense = [hit.id for hit in store.search(query, k=COUNT, where=where)]
    keyword = [hit.id for hit in store.search(query, k=COUNT, mode="keyword", where=where)]
    expected = {}
    for ranking in (dense, keyword):
        for rank, key in enumerate(ranking, start=1):
            expected[key] = expected.get(key, 0) + 1 / (60 + rank)
    hits = store.search(query, k=COUNT, mode="hybrid", where=where)
    assert {hit.id: pytest.approx(hit.score) for hit in hits} == expected
    right = {document.id for document in documents
             if document.metadata["section"] != "utils" and document.metadata.get("score", -1) > 0}  # fmt: skip
    assert {hit.id for hit in hits} == right


@pytest.mark.parametrize("mode", ["dense", "keyword", "hybrid"])
@pytest.mark.parametrize("where", [None, "year < 2020"])
def test_pages_together_are_one_long_search(tmp_path, mode, where):
    # many equal texts: ties everywhere, in the middle of pages and across their borders
    documents = [
        Document(f"d{number:03}", f"{WORDS[number % 5]} {WORDS[5 + number % 3]}", metadata={"year": 2010 + number % 14})
        for number in range(120)
    ]
    store = Store.create(tmp_path / "index", encoder=HashEncoder(dim=8))
    for start in range(0, 120, 31):
        store.add(documents[start : start + 31])
    store.update(documents[3:6])  # replaced rows lie elsewhere but keep their place in the order
    query = f"{WORDS[0]} {WORDS[6]}"
    whole = store.search(query, k=120, mode=mode, where=where)
    pages = [
        hit for start in range(0, 120, 7) for hit in store.search(query, k=7, offset=start, mode=mode, where=where)
    ]
    assert pages == whole
    assert len({hit.id for hit in pages}) == len(pages) > 20
    scores = [hit.score for hit in whole]
    assert scores == sorted(scores, reverse=True)
    if mode == "keyword":
        for first, second in pairwise(whole):
            assert first.score > second.score or first.id < second.id
    store.memory_limit = 0
    if mode == "dense":
        pages = [hit.id for start in range(0, 120, 7) for hit in store.search(query, k=7, offset=start, where=where)]
        assert len(set(pages)) == len(pages) == len(whole)


def test_new_documents_are_found_before_and_after_optimize(texts, tmp_path):
    store = Store.create(tmp_path / "index", encoder=HashEncoder())
    old, new = make_documents(60, seed=5), make_documents(40, seed=6, prefix="new")
    store.add(old)
    store.optimize()
    store.add([*new, Document("needle", "haystack quux")])
    assert store.stats().unindexed_documents == 41
    assert [hit.id for hit in store.search("quux", mode="keyword")] == ["needle"]
    assert store.search("haystack quux", k=1)[0].id == "needle"
    store.upsert([Document("needle", "changed entirely"), Document("doc3", "quux again")])
    assert [hit.id for hit in store.search("quux", mode="keyword")] == ["doc3"]
    store.delete(["doc3"])
    assert store.search("quux", mode="keyword") == []
    before = {hit.id for hit in store.search("bax", k=200, mode="keyword")}
    store.optimize()
    assert store.stats().unindexed_documents == 0
    after = store.search("bax", k=200, mode="keyword")
    assert {hit.id for hit in after} == before
    kept = [document for document in old if document.id != "doc3"] + new + [Document("needle", "changed entirely")]
    truth = {document.id: score for document, score in zip(kept, bm25(kept, "bax"), strict=True) if score > 0}
    assert {hit.id: pytest.approx(hit.score, abs=1e-4) for hit in after} == truth  # deletions count, too


def test_more_hits_than_documents_and_pages_beyond_the_end(texts):
    store, _, _ = texts
    assert len(store.search("bax", k=10_000)) == COUNT
    assert store.search("bax", k=5, offset=COUNT) == []
    assert store.search("bax", k=5, offset=10_000, mode="keyword") == []
    assert len(store.search("bax", k=50, offset=COUNT - 3)) == 3
    assert len(store.search("bax", k=COUNT, mode="hybrid", candidates=10)) <= 20


def test_an_empty_store_finds_nothing(tmp_path):
    store = Store.create(tmp_path / "index", encoder=HashEncoder())
    for mode in ("dense", "keyword", "hybrid"):
        assert store.search("bax", mode=mode) == []
    assert (len(store), store.ids(), list(store.documents()), store.vectors().shape) == (0, [], [], (0, 32))
    store.optimize()
    assert store.build_vector_index() is None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"query": ""}, InvalidValueError, "query: is empty"),
        ({"query": " \n\t"}, InvalidValueError, "query: is empty"),
        ({"query": "bax", "k": 0}, InvalidValueError, "k: got 0"),
        ({"query": "bax", "k": -3}, InvalidValueError, "k: got -3"),
        ({"query": "bax", "k": 2.5}, InvalidTypeError, "k: got float"),
        ({"query": "bax", "k": True}, InvalidTypeError, "k: got bool"),
        ({"query": "bax", "offset": -1}, InvalidValueError, "offset: got -1"),
        ({"query": "bax", "candidates": 0}, InvalidValueError, "candidates: got 0"),
        ({"query": "bax", "mode": "fuzzy"}, InvalidValueError, "mode: got 'fuzzy'"),
        ({"query": None}, InvalidTypeError, "needs a text or a vector"),
        ({"query": 5}, InvalidValueError, "query: got shape"),
        ({"query": ["a", "b"]}, InvalidTypeError, "query: got elements"),
        ({"query": np.zeros(32)}, InvalidValueError, "vector of zeros"),
        ({"query": np.ones(31)}, InvalidValueError, "query: got 31 dimensions, needs 32"),
        ({"query": np.full(32, np.nan)}, InvalidValueError, "NaN"),
        ({"query": np.full(32, np.inf)}, InvalidValueError, "infinity"),
        ({"query": np.ones((2, 32))}, InvalidValueError, "got 2 vectors"),
        ({"query": np.ones(32), "mode": "keyword"}, InvalidTypeError, "needs a text"),
        ({"query": np.ones(32), "mode": "hybrid"}, InvalidTypeError, "needs a text"),
        ({"query": "bax", "vector": np.ones(3)}, InvalidValueError, "got 3 dimensions"),
    ],
)
def test_bad_queries_are_refused(texts, arguments, error, message):
    store, _, _ = texts
    with pytest.raises(error, match=message) as caught:
        store.search(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["dense", "keyword", "hybrid"])
def test_a_query_of_a_megabyte_is_cut_with_a_warning(texts, mode, caplog):
    store, _, _ = texts
    query = "bax dox " * 2000 + " ".join(f"word{number}" for number in range(120_000))
    assert len(query) > 1_000_000
    with caplog.at_level(logging.WARNING, logger="polyvec.search"):
        hits = store.search(query, k=5, mode=mode)
    assert len(hits) == 5
    assert "only the first 32768 of" in caplog.text


def test_many_different_words_are_cut_for_keyword_search(texts, caplog):
    store, _, _ = texts
    with caplog.at_level(logging.WARNING, logger="polyvec.search"):
        hits = store.search("bax " + " ".join(f"w{number}" for number in range(2000)), k=3, mode="keyword")
    assert [hit.id for hit in hits] == [hit.id for hit in store.search("bax", k=3, mode="keyword")]
    assert "512 of 2001 different words" in caplog.text


ODD = ["'; DROP TABLE documents; --", '"quoted" (brackets] AND OR *', "a\x00b bax", "naïve 中文 🙂", "\udc80 bax"]


@pytest.mark.parametrize("query", ODD)
def test_odd_query_texts_are_just_text(texts, query):
    store, _, _ = texts
    for mode in ("dense", "keyword", "hybrid"):
        store.search(query, mode=mode)
    assert len(store) == COUNT


def test_a_text_whose_vector_is_zero_resembles_nothing(texts):
    store, _, _ = texts

    class Silent(HashEncoder):
        def encode(self, texts, **options):
            return np.zeros((len(texts), self.dim), dtype=np.float32)

    silent = Store.open(store.path, encoder=Silent())
    assert silent.search("bax") == []
    assert [hit.id for hit in silent.search("bax", mode="hybrid")] == [
        hit.id for hit in silent.search("bax", mode="keyword")
    ]


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_stored_vector_of_zeros_has_similarity_zero(tmp_path, in_memory):
    store = Store.create(tmp_path / "index", dim=2, memory_limit=1 << 20 if in_memory else 0)
    store.add([Document("a", "x"), Document("zero", "y"), Document("b", "z")], [[1, 0], [0, 0], [-1, 0]])
    scores = {hit.id: hit.score for hit in store.search([1.0, 0.0])}
    assert scores["a"] == pytest.approx(1)
    assert scores["b"] == pytest.approx(-1)
    assert scores.get("zero", 0.0) == 0.0
    assert store.similar("zero") == []


def test_without_an_encoder_texts_are_refused_but_words_are_found(filled):
    store, _, vectors = filled
    with pytest.raises(StoreError, match="made without an encoder"):
        store.search("bax")
    assert store.search("bax", mode="keyword")
    assert store.search("bax", mode="hybrid", vector=vectors[0])[0].rank == 1


def test_encode_query_is_used_where_an_encoder_has_it(tmp_path):
    class Asymmetric(HashEncoder):
        def encode_query(self, texts):
            return self.encode([f"{text} {WORDS[0]}" for text in texts])

    store = Store.create(tmp_path / "index", encoder=Asymmetric())
    store.add([Document("a", "quux"), Document("b", f"quux {WORDS[0]}")])
    assert store.search("quux", k=1)[0].id == "b"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda texts: np.zeros((len(texts) + 1, 32)), "gave 2 vectors for 1 texts"),
        (lambda texts: np.zeros((len(texts), 31)), "got 31 dimensions, needs 32"),
        (lambda texts: np.full((len(texts), 32), np.nan), "NaN"),
    ],
)
def test_an_encoder_that_answers_wrongly_is_refused(texts, answer, message):
    store, _, _ = texts

    class Broken(HashEncoder):
        def encode(self, texts, **options):
            return answer(texts)

    broken = Store.open(store.path, encoder=Broken())
    with pytest.raises(InvalidValueError, match=message):
        broken.search("bax")
    with pytest.raises(InvalidValueError, match=message):
        broken.add([Document("new", "text")])
    assert "new" not in broken
