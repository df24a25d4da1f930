import pytest
from store_testing import HashEncoder

from polyvec.core.errors import InvalidValueError
from polyvec.data.documents import Document
from polyvec.search import index_sources


def test_limit_reads_so_many_and_drops_nothing(tmp_path):
    documents = [Document(str(number), f"text {number}") for number in range(10)]
    index_sources(documents, tmp_path / "i", encoder=HashEncoder(), origin="memory", show_progress=False)
    report = index_sources(
        documents, tmp_path / "i", encoder=HashEncoder(), origin="memory", limit=3, show_progress=False
    )
    assert report.seen == report.unchanged == 3
    assert report.removed == 0
    assert report.store.count() == 10
    fewer = index_sources(documents, tmp_path / "j", encoder=HashEncoder(), limit=4, show_progress=False)
    assert fewer.store.ids() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("limit", [0, -1, True, 2.5])
def test_a_limit_that_is_none_is_refused(tmp_path, limit):
    with pytest.raises(InvalidValueError, match="limit"):
        index_sources([Document("a", "text")], tmp_path / "i", encoder=HashEncoder(), limit=limit)
    assert not (tmp_path / "i").exists()


def test_index_gives_the_store(tmp_path):
    import polyvec

    store = polyvec.index([Document("a", "text")], to=tmp_path / "i", encoder=HashEncoder(), show_progress=False)
    assert isinstance(store, polyvec.Store)
    assert store.ids() == ["a"]
