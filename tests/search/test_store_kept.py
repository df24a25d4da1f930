"""What a store keeps in memory and beside the table: the same answers as from the disk, and never an old version."""

import numpy as np
import pytest
from store_testing import HashEncoder, make_documents

from polyvec.core.errors import StoreError
from polyvec.data.documents import Document
from polyvec.search import Store
from polyvec.search.store import snapshot as snapshots
from polyvec.search.store.layout import HIT_COLUMNS
from polyvec.search.store.opening import DERIVED_FOLDER


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "index", encoder=HashEncoder())
    store.add(make_documents(60))
    store.upsert(make_documents(20, seed=1))  # rows that were replaced lie elsewhere
    return store


def test_content_in_memory_is_that_on_the_disk(store, monkeypatch):
    kept, fresh = store.snapshot(), Store.open(store.path).snapshot()
    row_ids = kept.memory().row_ids
    for _ in range(snapshots.KEEP_CONTENT_AFTER + 1):
        kept.rows(row_ids[:3], HIT_COLUMNS)
    monkeypatch.setattr(kept, "table", None)  # from here on nothing can be read
    generator = np.random.default_rng(0)
    for _ in range(5):
        wanted = generator.permutation(row_ids)[:7]
        assert kept.rows(wanted, HIT_COLUMNS).to_pylist() == fresh.rows(wanted, HIT_COLUMNS).to_pylist()
    assert kept.rows([], HIT_COLUMNS).num_rows == 0


def test_content_that_does_not_fit_is_read_as_it_is_asked_for(store, monkeypatch):
    monkeypatch.setattr(snapshots, "CONTENT_LIMIT", 100)
    snapshot = store.snapshot()
    row_ids = snapshot.memory().row_ids
    for _ in range(snapshots.KEEP_CONTENT_AFTER + 3):
        found = snapshot.rows(row_ids[[5, 2]], ["id"])
    assert snapshot._content is None
    assert found["id"].to_pylist() == [store.ids()[5], store.ids()[2]]


def test_a_commit_through_another_handle_is_seen_at_once(store):
    other = Store.open(store.path, encoder=HashEncoder())
    for number in range(30):
        other.upsert([Document("changing", f"edition number{number}")])
        for _ in range(3):
            assert store.get("changing").text == f"edition number{number}"
    other.optimize()
    assert store.get("changing").text == "edition number29"


def test_the_folder_of_derived_files_is_no_obstacle(store, tmp_path):
    folder = tmp_path / "index" / DERIVED_FOLDER
    folder.mkdir()
    (folder / "map.arrow").write_bytes(b"anything")
    assert len(Store.open(store.path)) == 60
    store.save(tmp_path / "copy")
    assert not (tmp_path / "copy" / DERIVED_FOLDER).exists()
    (tmp_path / "new" / DERIVED_FOLDER).mkdir(parents=True)
    assert len(Store.create(tmp_path / "new", dim=2)) == 0
    (tmp_path / "other" / "notes").mkdir(parents=True)
    with pytest.raises(StoreError, match="other files"):
        Store.create(tmp_path / "other", dim=2)
