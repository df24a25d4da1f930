import logging

import numpy as np
import pytest
from store_testing import ranked, similarities

from polyvec.core.errors import InvalidValueError
from polyvec.data.documents import Document
from polyvec.search.store import Store
from polyvec.search.store.searching import index_parameters

COUNT, DIM = 6000, 32


def clustered(count, seed):
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(60, DIM))
    return (centres[generator.integers(0, 60, count)] + 0.6 * generator.normal(size=(count, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def matrix():
    return clustered(COUNT, 1)


@pytest.fixture(scope="module", params=["cosine", "dot", "l2"])
def indexed(request, tmp_path_factory, matrix):
    store = Store.create(tmp_path_factory.mktemp("store") / "index", dim=DIM, metric=request.param)
    documents = [Document(f"d{number}", "x", metadata={"part": number % 10}) for number in range(COUNT)]
    store.add(documents, matrix)
    assert store.build_vector_index() is None  # 768 kB: exact search in memory is as quick
    assert store.build_vector_index(force=True) in ("IvfRq", "IvfSq")
    return store


def recall(store, matrix, queries, **options):
    found = total = 0
    for query in queries:
        truth = set(ranked(similarities(matrix, query, store.metric), 10))
        hits = store.search(query, k=10, **options)
        found += len(truth & {int(hit.id[1:]) for hit in hits})
        total += 10
    return found / total


def test_recall_of_queries_that_were_not_tuned_on(indexed, matrix):
    queries = clustered(50, 2)
    assert recall(indexed, matrix, queries) >= 0.95
    assert recall(indexed, matrix, queries, exact=True) >= 0.999  # ties apart
    probes, refine = index_parameters(indexed.snapshot().schema)
    assert probes >= 10
    assert refine >= 10
    assert indexed.stats().vector_index == str(indexed.snapshot().vector_index.index_type)


def test_scores_of_the_index_are_true_similarities(indexed, matrix):
    query = clustered(1, 3)[0]
    truth = similarities(matrix, query, indexed.metric)
    for hit in indexed.search(query, k=20):
        assert hit.score == pytest.approx(truth[int(hit.id[1:])], rel=1e-4, abs=1e-4)


def test_a_narrow_filter_still_fills_the_page(indexed, matrix):
    query = clustered(1, 4)[0]
    hits = indexed.search(query, k=50, where="part = 3 AND id LIKE 'd1%'")
    assert len(hits) == 50
    assert all(hit.metadata["part"] == 3 and hit.id.startswith("d1") for hit in hits)


def test_new_changed_and_deleted_documents(tmp_path, matrix):
    store = Store.create(tmp_path / "index", dim=DIM, memory_limit=0)
    store.add([Document(f"d{number}", "x") for number in range(COUNT)], matrix)
    kind = store.build_vector_index()
    assert kind is not None  # the memory limit is exceeded: it pays
    far = np.full(DIM, 9.0, dtype=np.float32)
    store.add([Document("new", "x")], far[None, :])
    assert store.search(far, k=1)[0].id == "new"
    store.upsert([Document("d7", "x")], far[None, :])
    assert {hit.id for hit in store.search(far, k=2)} == {"new", "d7"}
    store.delete(["new"])
    assert store.search(far, k=1)[0].id == "d7"
    store.optimize()
    assert store.search(far, k=1)[0].id == "d7"
    version = store.stats().version
    assert store.build_vector_index() == kind
    assert store.stats().version == version  # nothing to do: it has not doubled
    assert recall(store, np.vstack([matrix[:7], far[None], matrix[8:]]), clustered(30, 5)) >= 0.95
    roomy = Store.open(store.path, memory_limit=1 << 30)
    assert roomy.build_vector_index() == kind  # one that is there stays
    roomy.add([Document(f"more{number}", "x") for number in range(COUNT)], clustered(COUNT, 6))
    version = roomy.stats().version
    assert roomy.build_vector_index() is not None
    assert roomy.stats().version > version  # trained anew: the store has doubled


def test_an_index_that_misses_too_much_is_not_kept(tmp_path, caplog):
    noise = np.random.default_rng(0).normal(size=(5000, DIM)).astype(np.float32)  # no structure to partition by
    store = Store.create(tmp_path / "index", dim=DIM)
    store.add([Document(f"d{number}", "x") for number in range(5000)], noise)
    from polyvec.search.store import vector_index

    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING, logger="polyvec.search"):
        patch.setattr(vector_index, "_tune", lambda *_: None)
        assert store.build_vector_index(force=True, recall=0.99) is None
    assert "no vector index reached a recall of 0.99" in caplog.text
    assert store.stats().vector_index is None
    for value in (0, 1.5, -1):
        with pytest.raises(InvalidValueError, match="recall: got"):
            store.build_vector_index(recall=value)


def test_few_documents_get_no_index(tmp_path):
    store = Store.create(tmp_path / "index", dim=DIM, memory_limit=0)
    store.add([Document(f"d{number}", "x") for number in range(100)], clustered(100, 1))
    assert store.build_vector_index(force=True) is None
    assert len(store.search(clustered(1, 2)[0])) == 10


def test_dimensions_that_do_not_fill_bytes(tmp_path):
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(5000, 13)).astype(np.float32)
    store = Store.create(tmp_path / "index", dim=13, memory_limit=0)
    store.add([Document(f"d{number}", "x") for number in range(5000)], matrix)
    assert store.build_vector_index() == "IvfSq"
    assert recall(store, matrix, generator.normal(size=(20, 13))) >= 0.95
