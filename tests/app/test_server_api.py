"""What the server answers: the same as the store, with snippets, highlights, facets, and what is derived."""

import json
import math

import numpy as np
import pytest
from server_testing import WordEncoder, client, make_documents, make_store, wait_for
from store_testing import HashEncoder

from polyvec.core.registry import systems
from polyvec.data.documents import Document
from polyvec.reproduce.runner import committed_report
from polyvec.search import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("served") / "index")


@pytest.fixture(scope="module")
def web(store):
    return client(store)


@pytest.fixture
def quick_maps(monkeypatch):
    """Maps by the method that takes no time."""
    monkeypatch.setattr("polyvec.assess.map.mapping.choose", lambda method, rows: ("pca", ()))


def test_info(web, store):
    told = web.get("/api/info").json()
    stats = store.stats()
    assert told["documents"] == 60
    assert told["dim"] == 32
    assert told["version"] == stats.version
    assert told["encoder"]["name"] == "hash-encoder"
    assert told["modes"] == ["dense", "keyword", "hybrid"]
    assert told["columns"] == store.columns
    assert told["columns"]["year"] == "int"
    assert told["read_only"] is told["token_required"] is False


@pytest.mark.parametrize("mode", ["dense", "keyword", "hybrid"])
def test_hits_are_the_stores(web, store, mode):
    for query, where in (("bax dox", None), ("fum", "year > 2015"), ("bax", "section = 'games'")):
        params = {"q": query, "mode": mode, "k": 7, "offset": 2, **({"where": where} if where else {})}
        found = web.get("/api/search", params=params).json()
        expected = store.search(query, 7, mode=mode, offset=2, where=where)
        assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in expected]
        for hit, other in zip(found["hits"], expected, strict=True):
            assert hit["score"] == pytest.approx(other.score, abs=1e-6)
            told = hit["rank"], hit["title"], hit["source"], hit["metadata"]
            assert told == (other.rank, other.title, other.source, other.metadata)
        assert found["query"] == query
        assert found["mode"] == mode
        assert found["took_ms"] > 0


def test_pages_fit_together(web):
    pages = [
        web.get("/api/search", params={"q": "bax", "k": 5, "offset": 5 * page}).json()["hits"] for page in range(12)
    ]
    whole = web.get("/api/search", params={"q": "bax", "k": 60}).json()["hits"]
    assert [hit for page in pages for hit in page] == whole
    assert len(whole) == 60


def test_similar_and_document(web, store):
    found = web.get("/api/similar", params={"id": "doc3", "k": 4}).json()
    assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in store.similar("doc3", 4)]
    assert found["query"] is None
    whole = web.get("/api/document", params={"id": "doc3"}).json()
    kept = store.get("doc3")
    assert (whole["text"], whole["title"], whole["metadata"]) == (kept.text, kept.title, kept.metadata)
    assert web.get("/api/document", params={"id": "nothing"}).status_code == 404
    assert web.get("/api/similar", params={"id": "nothing"}).json()["error"]["code"] == "not_found"


def test_facets_count_what_brute_force_counts(web, store):
    documents = list(store.documents())
    counts = {}
    for document in documents:
        counts[document.metadata["section"]] = counts.get(document.metadata["section"], 0) + 1
    told = web.get("/api/facets", params={"column": "section", "limit": 2}).json()
    order = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    assert [(value["value"], value["count"]) for value in told["values"]] == order[:2]
    assert told["other"] == order[2][1]
    years = [document.metadata["year"] for document in documents]
    told = web.get("/api/facets", params={"column": "year"}).json()
    assert (told["kind"], told["min"], told["max"], told["missing"]) == ("int", min(years), max(years), 0)
    told = web.get("/api/facets", params={"column": "score"}).json()
    scores = [document.metadata["score"] for document in documents if "score" in document.metadata]
    assert (told["min"], told["max"], told["missing"]) == (min(scores), max(scores), 60 - len(scores))
    assert web.get("/api/facets", params={"column": "none"}).status_code == 404
    assert web.get("/api/facets", params={"column": "text"}).status_code == 422


def test_odd_metadata_is_json_all_the_same(tmp_path):
    store = Store.create(tmp_path / "odd", encoder=HashEncoder())
    odd = {"nan": math.nan, "inf": math.inf, "flag": True, "big": 2**70, "key with 'quotes'": "1"}
    store.add([Document("a\0'\"<&\u2028", "bax", metadata=odd), Document("b", "bax", metadata={"nan": 1.0})])
    web = client(store)
    found = web.get("/api/search", params={"q": "bax"})
    metadata = json.loads(found.text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["hits"][0][
        "metadata"
    ]
    assert metadata == {**odd, "nan": None, "inf": None}
    assert web.get("/api/document", params={"id": "a\0'\"<&\u2028"}).json()["text"] == "bax"
    assert web.get("/api/facets", params={"column": "nan"}).json()["max"] == 1.0
    assert web.get("/api/facets", params={"column": "flag"}).json()["values"] == [{"value": True, "count": 1}]


def test_writing(tmp_path):
    store = make_store(tmp_path / "index", 5)
    web = client(store)
    new = {"id": "new", "text": "gox gox", "title": "t", "metadata": {"year": 1999}}
    assert web.post("/api/documents", json={"documents": [new]}).json() == {"written": 1}
    assert web.get("/api/search", params={"q": "gox", "mode": "keyword"}).json()["hits"][0]["id"] == "new"
    refused = web.post("/api/documents", json={"documents": [new]})
    assert refused.status_code == 422
    assert "already" in refused.json()["error"]["message"]
    assert str(tmp_path) not in refused.text  # where the index lies is nobody's business
    skipped = {"documents": [{**new, "text": "x"}, {"id": "n2", "text": "y"}], "on_conflict": "skip"}
    assert web.post("/api/documents", json=skipped).json() == {"written": 1}
    web.post("/api/documents", json={"documents": [{**new, "text": "mux"}], "on_conflict": "replace"})
    assert store.get("new").text == "mux"
    assert store.get("new").metadata == {"year": 1999}
    assert len(store) == 7
    unknown = web.post("/api/documents/delete", json={"ids": ["new", "never"]})
    assert unknown.status_code == 404
    assert "new" in store
    gone = web.post("/api/documents/delete", json={"ids": ["new", "never"], "missing": "ignore"})
    assert gone.json() == {"deleted": 1}
    assert "new" not in store


def test_many_small_commits_are_tidied_up(tmp_path, monkeypatch):
    monkeypatch.setattr("polyvec.app.server.service.OPTIMIZE_AFTER", 5)
    store = make_store(tmp_path / "index", 5)
    web = client(store)
    for number in range(5):
        web.post("/api/documents", json={"documents": [{"id": f"n{number}", "text": "bax"}]})
    assert wait_for(lambda: store.stats().fragments, lambda count: count == 1) == 1
    assert len(store) == 10


def test_an_index_without_an_encoder_is_searched_by_words(tmp_path):
    store = Store.create(tmp_path / "bare", dim=2)
    store.add([Document("a", "red apple"), Document("b", "blue sky")], [[1, 0], [0, 1]])
    web = client(store)
    assert web.get("/api/info").json()["modes"] == ["keyword"]
    assert web.get("/api/search", params={"q": "sky", "mode": "keyword"}).json()["hits"][0]["id"] == "b"
    assert web.get("/api/search", params={"q": "sky"}).status_code == 422
    assert web.get("/api/similar", params={"id": "a"}).json()["hits"][0]["id"] == "b"


def test_an_empty_index(tmp_path):
    web = client(Store.create(tmp_path / "empty", encoder=HashEncoder()))
    assert web.get("/api/search", params={"q": "sky", "mode": "hybrid"}).json()["hits"] == []
    assert web.get("/api/info").json()["documents"] == 0
    state = wait_for(lambda: web.get("/api/map").json(), lambda told: told["status"] != "computing")
    assert state["status"] == "failed"
    assert "no documents" in state["message"]


def ready(web, path):
    told = wait_for(lambda: web.get(path).json(), lambda found: found["status"] not in ("computing", "none"))
    assert told["status"] == "ready", told
    return told


def test_the_health_report_is_computed_once_for_each_version(tmp_path, monkeypatch):
    import polyvec.assess.health as health

    calls = []
    original = health.health_report
    monkeypatch.setattr(health, "health_report", lambda *given, **more: calls.append(1) or original(*given, **more))
    store = make_store(tmp_path / "index")
    web = client(store)
    assert web.get("/api/health").json()["status"] == "computing"
    report = ready(web, "/api/health")["report"]
    expected = original(store.vectors(), name="index").to_dict()
    assert [finding["value"] for finding in report["findings"]] == pytest.approx(
        [finding["value"] for finding in json.loads(json.dumps(expected))["findings"]]
    )
    ready(web, "/api/health")
    again = client(Store.open(store.path, encoder=HashEncoder()))
    assert wait_for(lambda: len(calls), lambda count: count > 1, 0.2) == 1
    assert again.get("/api/health").json()["report"] == report  # read from the file, at the first request
    assert (tmp_path / "index" / ".polyvec" / "health.json").exists()
    store.upsert(make_documents(3, prefix="more"))
    assert web.get("/api/health").json()["status"] == "computing"
    assert ready(web, "/api/health")["report"]["rows"] == 63
    assert len(calls) == 2


def test_a_damaged_or_foreign_file_is_made_anew(tmp_path, quick_maps):
    store = make_store(tmp_path / "index")
    folder = tmp_path / "index" / ".polyvec"
    folder.mkdir()
    stamp = {"version": 1, "created": "then", "documents": 60}
    (folder / "health.json").write_text(json.dumps({"made_from": stamp, "value": {"rows": 1}}))
    (folder / "map.arrow").write_bytes(b"ARROW1 not really")
    web = client(store)
    assert ready(web, "/api/health")["report"]["rows"] == 60
    assert ready(web, "/api/map")["map"]["count"] == 60


def test_the_map(tmp_path, quick_maps):
    store = make_store(tmp_path / "index")
    web = client(store)
    assert web.get("/api/map/points").status_code == 404
    assert web.get("/api/map/point", params={"index": 0}).status_code == 404
    assert web.get("/api/search", params={"q": "bax"}).json()["hits"][0]["point"] is None
    told = ready(web, "/api/map")["map"]
    assert told["count"] == 60
    answer = web.get("/api/map/points")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert len(answer.content) == 60 * 10
    points = np.frombuffer(answer.content, "<f4", 120).reshape(60, 2)
    clusters = np.frombuffer(answer.content, "<u2", 60, offset=480)
    assert points.min(axis=0) == pytest.approx([told["x"][0], told["y"][0]])
    assert points.max(axis=0) == pytest.approx([told["x"][1], told["y"][1]])
    for cluster in told["clusters"]:
        assert (clusters == cluster["number"]).sum() == cluster["count"]
    assert web.get("/api/map/points", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    for hit in web.get("/api/search", params={"q": "bax", "k": 20}).json()["hits"]:
        point = web.get("/api/map/point", params={"index": hit["point"]}).json()
        assert point["id"] == hit["id"]
        assert point["cluster"] == (None if clusters[hit["point"]] == 65535 else clusters[hit["point"]])
    assert web.get("/api/map/point", params={"index": 60}).status_code == 404
    store.delete(["doc0"])
    assert web.get("/api/map/points", headers={"If-None-Match": answer.headers["etag"]}).status_code == 404
    assert ready(web, "/api/map")["map"]["count"] == 59


def test_the_price_list(tmp_path, monkeypatch):
    from polyvec.search.prices import measuring

    few = measuring.settings
    monkeypatch.setattr(measuring, "settings", lambda *given, **more: few(*given, **more)[:2])
    store = make_store(tmp_path / "index", 120)
    web = client(store)
    assert web.get("/api/prices").json()["status"] == "none"  # it takes minutes: only when it is asked for
    assert web.post("/api/prices").json()["status"] == "computing"
    second = web.post("/api/prices")
    assert second.status_code in (200, 409)  # 409 while the first is at it
    prices = ready(web, "/api/prices")["prices"]
    assert prices["full_bytes"] == 4 * 32
    for row in prices["rows"]:
        assert row["kept_bytes"] >= row["bytes"]
        assert 0 <= row["recall_10"][1] <= row["recall_10"][0] <= row["recall_10"][2] <= 1
    again = client(Store.open(store.path, encoder=HashEncoder()))
    assert (
        wait_for(lambda: again.get("/api/prices").json(), lambda told: told["status"] == "ready", 5)["prices"] == prices
    )
    store.delete(["doc0"])
    assert web.get("/api/prices").json()["status"] == "none"


def test_a_price_list_that_is_being_measured_is_not_begun_again(store):
    web = client(store)
    web.app.state.service.background.start = lambda work, name: None
    assert web.post("/api/prices").json()["status"] == "computing"
    refused = web.post("/api/prices")
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "busy"


def test_progress_rises(store, monkeypatch):
    from polyvec.app.server.derived import Background, Derived
    from polyvec.core.progress import progress

    seen = []

    def compute(snapshot):
        for _ in range(2):
            with progress("a step", 4, show=False) as handle:
                for _ in range(4):
                    handle.advance()
                    seen.append(made.state(snapshot).progress)
        return "done"

    background = Background()
    monkeypatch.setattr(background, "start", lambda work, name: work())
    made = Derived("thing", compute=compute, read=dict, keep=lambda *_: None, background=background, steps=2)
    made._lock = __import__("threading").RLock()  # here all of it runs in one thread
    assert made.state(store.snapshot()).value == "done"
    assert seen == [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.99]


def test_systems(web):
    listed = web.get("/api/systems").json()["systems"]
    assert [entry["slug"] for entry in listed] == [entry.slug for entry in systems()]
    told = web.get("/api/systems/rankme").json()
    report = committed_report("rankme")
    assert told["verdict"] == report.verdict
    assert told["report"]["verdicts"] == json.loads(json.dumps(report.to_dict()))["verdicts"]
    assert told["command"] == "polyvec reproduce rankme"
    assert any("import" in line for line in told["python"])
    for line in told["python"]:
        compile(line, "example", "exec") if not line.startswith((" ", "for", "with")) else None
    picture = web.get(told["plot"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    assert web.get("/api/systems/nothing").status_code == 404


def test_systems_are_found_by_what_they_are_about(web, monkeypatch):
    monkeypatch.setattr("polyvec.encode.text.TextEncoder", WordEncoder)
    entry = systems()[7]
    found = web.get("/api/systems", params={"q": entry.description[:400]}).json()["systems"]
    assert found[0]["slug"] == entry.slug
    assert len(found) == len(systems())
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
