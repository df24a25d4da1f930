"""An index on object storage: all that works in a folder, on an S3-compatible server that the test starts."""

import json
import time

import numpy as np
import pytest
from object_storage_testing import BUCKET, SECRET, options, s3_server, variables
from store_testing import HashEncoder, make_documents, similarities

from polyvec.core.errors import InvalidTypeError, InvalidValueError, StoreError
from polyvec.data.documents import Document
from polyvec.search import Store, index_sources


@pytest.fixture(scope="module")
def url():
    with s3_server() as url:
        yield url


@pytest.fixture
def address(request):
    return f"s3://{BUCKET}/{request.node.name.replace('[', '-').replace(']', '')}"


def make(url, address, documents, **more):
    store = Store.create(address, encoder=HashEncoder(), storage_options=options(url), **more)
    store.add(documents)
    return store


def test_write_and_read_as_in_a_folder(url, address, tmp_path):
    documents = make_documents(60)
    store = make(url, address, documents)
    local = Store.create(tmp_path / "index", encoder=HashEncoder())
    local.add(documents)
    matrix = HashEncoder().encode([document.embedding_text for document in documents])
    again = Store.open(address, encoder=HashEncoder(), read_only=True, storage_options=options(url))
    for query in ("bax dox", "games gub"):
        wanted = np.sort(similarities(matrix, HashEncoder().encode([query])[0], "cosine"))[::-1][:10]
        np.testing.assert_allclose([hit.score for hit in store.search(query)], wanted, atol=1e-6)
        for mode in ("dense", "keyword", "hybrid"):
            assert again.search(query, mode=mode) == local.search(query, mode=mode)
    word = documents[7].text.split()[0]
    assert {hit.id for hit in again.search(word, k=60, mode="keyword")} == {
        document.id for document in documents if word in document.embedding_text.split()
    }
    assert list(again.documents("year > 2020")) == [one for one in documents if one.metadata["year"] > 2020]
    assert again.similar("doc3", k=3)[0].id != "doc3"
    store.delete(["doc3"])
    store.upsert([Document("doc4", "changed")])
    store.optimize()
    assert len(again) == 59
    assert again.get("doc4").text == "changed"
    stats = again.stats()
    assert (stats.documents, stats.bytes_on_disk, stats.nbytes) == (59, None, 59 * 32 * 4)
    with pytest.raises(StoreError, match="there is an index already"):
        Store.create(address, dim=3, storage_options=options(url))
    with pytest.raises(StoreError, match="is not in a folder"):
        again.save("elsewhere")


def test_indexing_again_encodes_what_changed(url, address, monkeypatch):
    for name, value in variables(url).items():
        monkeypatch.setenv(name, value)
    documents = make_documents(50)
    report = index_sources(documents, address, encoder=HashEncoder(), origin="here", show_progress=False)
    assert (report.added, len(report.store)) == (50, 50)
    changed = [Document("doc0", "a new text"), *documents[1:40]]
    encoder = HashEncoder()
    report = index_sources(changed, address, encoder=encoder, origin="here", show_progress=False)
    assert (report.updated, report.unchanged, report.removed) == (1, 39, 10)
    assert encoder.encoded == ["a new text"]
    assert sorted(Store.open(address).ids()) == sorted(document.id for document in changed)


def test_the_command_line(url, address, tmp_path, monkeypatch, capsys):
    from polyvec.app.main import main

    for name, value in variables(url).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "notes").mkdir()
    for number, text in enumerate(["a cat on a mat", "stock markets fell", "dogs and puppies"]):
        (tmp_path / "notes" / f"{number}.txt").write_text(text)

    def polyvec(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments])
        out, errors = capsys.readouterr()
        assert SECRET not in out + errors
        return stopped.value.code, out, errors

    code, out, errors = polyvec("index", str(tmp_path / "notes"), "--to", address, "--json")
    assert (code, errors) == (0, "")
    assert json.loads(out)["documents"] == 3
    code, out, _ = polyvec("search", address, "animals", "--json", "-k", "3")
    found = [hit["id"] for hit in json.loads(out)]
    assert (code, len(found)) == (0, 3)
    assert found[-1].endswith("1.txt")
    _, out, _ = polyvec("similar", address, found[-1], "--json")
    assert {hit["id"] for hit in json.loads(out)} == set(found[:-1])
    assert json.loads(polyvec("info", address, "--json")[1])["path"] == address
    code, out, errors = polyvec("search", f"s3://no-such-bucket/{address.rpartition('/')[2]}", "animals")
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert "there is no bucket 'no-such-bucket'" in errors


UNREACHABLE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("place", "changes", "message"),
    [
        ("s3://no-such-bucket/index", {}, "there is no bucket 'no-such-bucket' at http://127.0.0.1"),
        (f"s3://{BUCKET}/index", {"endpoint": UNREACHABLE}, f"the storage at {UNREACHABLE} does not answer"),
        (f"s3://{BUCKET}/index", {"endpoint": "http://nowhere.invalid:1"}, "nowhere.invalid:1 does not answer"),
        (f"s3://{BUCKET}/index", {"allow_http": False}, "is not encrypted; use https, or allow it"),
        (f"s3://{BUCKET}/nothing-here", {}, "holds no index; check the path, or create one with"),
        ("ftp://bucket/index", {}, "use s3://, gs:// or az://"),
    ],
)
def test_what_is_wrong_is_said_soon_and_in_one_line(url, place, changes, message):
    started = time.monotonic()
    for action in (Store.open, Store.create):
        if "nothing-here" in place and action == Store.create:
            continue
        more = {"dim": 2} if action == Store.create else {}
        with pytest.raises(StoreError, match=message) as caught:
            action(place, storage_options={**options(url), **changes}, **more)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300
        assert SECRET not in str(caught.value)
    assert time.monotonic() - started < 60


def test_no_credentials(url, monkeypatch, tmp_path):
    for name in variables(url):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreError, match="there are no credentials; set AWS_ACCESS_KEY_ID"):
        Store.open(f"s3://{BUCKET}/index", storage_options={"endpoint": url, "region": "us-east-1"})


def test_addresses_and_options_that_cannot_be():
    with pytest.raises(InvalidValueError, match="an address with a password in it") as caught:
        Store.open(f"s3://key:{SECRET}@bucket/index")
    assert SECRET not in str(caught.value)
    with pytest.raises(InvalidValueError, match="needs a bucket, as in s3://bucket/index"):
        Store.open("s3://")
    with pytest.raises(InvalidTypeError, match="storage_options: got str"):
        Store.open("s3://bucket/index", storage_options="region=x")
    with pytest.raises(InvalidTypeError, match="'secret' has a value of bytes") as caught:
        Store.open("s3://bucket/index", storage_options={"secret": SECRET.encode()})
    assert SECRET not in str(caught.value)


def test_a_server_that_stops_while_a_store_is_open():
    with s3_server() as url:
        store = make(url, f"s3://{BUCKET}/index", make_documents(5))
        assert len(store.search("bax")) == 5
    for action in (lambda: store.search("bax"), lambda: store.add([Document("x", "y")]), lambda: len(store)):
        with pytest.raises(StoreError, match="does not answer") as caught:
            action()
        assert "\n" not in str(caught.value)


def test_vectors_come_back_bit_by_bit(url, address):
    matrix = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    store = Store.create(address, dim=8, storage_options=options(url))
    store.add([Document(str(row), "") for row in range(30)], matrix)
    found = store.vectors()
    np.testing.assert_array_equal(found.matrix, matrix)
    assert list(found.ids) == [str(row) for row in range(30)]
