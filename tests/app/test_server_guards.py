"""Each guard of the server: what it refuses, and that nothing else does."""

import asyncio
import hmac
import json
import threading
import time

import httpx
import pytest
from server_testing import BASE, JSON, body, client, make_store
from store_testing import HashEncoder

from polyvec.app.server import ServerLimits, create_app
from polyvec.app.server.guards import SECURITY_HEADERS
from polyvec.app.server.pages import MISSING, read_page
from polyvec.core.errors import InvalidValueError
from polyvec.data.documents import Document
from polyvec.search import Store

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("guarded") / "index")
    store.add([Document(f'"><b>{SCRIPT}', f"zap {SCRIPT}", title=SCRIPT, source=SCRIPT, metadata={SCRIPT: SCRIPT})])
    return store


@pytest.fixture(scope="module")
def web(store):
    return client(store)


def problem(answer, status, code):
    """The message of an error that has the API's one form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert list(told) == ["error"]
    assert told["error"]["code"] == code
    assert "\n" not in told["error"]["message"]
    return told["error"]["message"]


# -- what leaves the server ---------------------------------------------------------------------------------------


def test_script_in_a_document_stays_data(web):
    for path, params in (
        ("/api/search", {"q": "zap", "mode": "keyword"}),
        ("/api/document", {"id": f'"><b>{SCRIPT}'}),
        ("/api/facets", {"column": SCRIPT}),
        ("/api/search", {"q": SCRIPT}),
        ("/api/document", {"id": SCRIPT}),
        (f"/api/{SCRIPT}", {}),
        (f"/{SCRIPT}", {}),
    ):
        answer = web.get(path, params=params)
        assert answer.headers["content-type"] == "application/json"  # never a type that a browser would run
        assert answer.headers["x-content-type-options"] == "nosniff"
        json.loads(answer.text)


@pytest.mark.parametrize("path", ["/", "/api/info", "/api/nothing", "/healthz", "/nothing", "/api/search"])
def test_every_answer_carries_the_security_headers(web, path):
    for headers in ({}, {"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        answer = web.get(path, headers=headers)
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value


def test_the_policy_lets_no_foreign_or_inline_script_run():
    rules = dict(rule.split(" ", 1) for rule in SECURITY_HEADERS["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == rules["script-src"] == rules["connect-src"] == "'self'"
    assert rules["object-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in SECURITY_HEADERS["Content-Security-Policy"]


def test_a_defect_tells_nothing(store, monkeypatch):
    web = client(store)
    monkeypatch.setattr(web.app.state.service.store, "get", lambda key: 1 / 0, raising=False)
    message = problem(web.get("/api/document", params={"id": "doc1"}), 500, "internal")
    assert "division" not in message


# -- what may come in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/%2e%2e/__init__.py",
        "/..%5c..%5cetc%5cpasswd",
        "/assets//etc/passwd",
        "/%2fetc%2fpasswd",
        "/assets/%00",
        "/index.html%00.js",
        "/api/systems/..%2f..%2frankme",
        "/api/systems/%2e%2e%2frankme/plot.png",
        "/api/systems/rankme%2fsmall.json/plot.png",
        "/api/systems/RANKME",
    ],
)
def test_no_path_reaches_the_file_system(web, monkeypatch, path):
    opened = []
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda self: opened.append(self) or b"")
    monkeypatch.setattr("pathlib.Path.exists", lambda self: opened.append(self) or True)
    assert web.get(path).status_code == 404
    assert opened == []


def test_the_page_is_read_once_and_served_from_memory(tmp_path, store, monkeypatch):
    folder = tmp_path / "web"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>hello")
    (folder / "assets" / "a.js").write_text("1")
    (folder / ".secret").write_text("no")
    page = read_page(folder)
    assert set(page) == {"/", "/index.html", "/assets/a.js"}
    monkeypatch.setattr("polyvec.app.server.application.read_page", lambda: page)
    web = client(store)
    (folder / "assets" / "a.js").write_text("2")
    answer = web.get("/assets/a.js")
    assert answer.text == "1"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert web.get("/assets/a.js", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert web.get("/").text == "<!doctype html>hello"
    assert web.head("/").status_code == 200
    assert web.get("/.secret").status_code == 404
    monkeypatch.setattr("polyvec.app.server.application.read_page", dict)
    missing = client(store).get("/")
    assert (missing.status_code, missing.text) == (404, MISSING)


def test_bodies_that_are_too_large(store):
    web = client(store, limits=ServerLimits(body_bytes=1000))
    count = len(store)
    large = body([{"id": "large", "text": "x" * 2000}])
    problem(web.post("/api/documents", content=large, headers=JSON), 413, "too_large")
    read = []

    def parts():
        for part in range(1000):
            read.append(part)
            yield b" " * 400

    async def chunked():  # no length is announced
        sent = parts()

        async def receive():
            return {"type": "http.request", "body": next(sent), "more_body": True}

        answers = []

        async def send(message):
            answers.append(message)

        headers = [(b"host", b"127.0.0.1"), (b"transfer-encoding", b"chunked"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/api/documents", "raw_path": b"/api/documents"}
        scope |= {"query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1", "headers": headers}
        await web.app(scope, receive, send)
        return answers[0]["status"]

    assert asyncio.run(chunked()) == 413
    assert len(read) == 3  # given up as soon as there was too much
    web.post("/api/documents", content=body([{"id": "doc1", "text": "x" * 500}]), headers=JSON)
    assert len(store) == count
    fits = web.post("/api/documents", content=body([{"id": "fits", "text": "x" * 500}]), headers=JSON)
    assert fits.json() == {"written": 1}
    store.delete(["fits"])


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"k": 0}, "k"), ({"k": 201}, "k"), ({"k": -1}, "k"), ({"k": "x"}, "k"), ({"k": 1e30}, "k"),
        ({"offset": -1}, "offset"), ({"offset": 10_001}, "offset"), ({"q": ""}, "q"), ({"q": "   "}, "query"),
        ({"q": "x" * 4097}, "q"), ({"mode": "exact"}, "mode"), ({"where": "x" * 8193}, "where"),
    ],
)  # fmt: skip
def test_arguments_have_bounds(web, params, name):
    message = problem(web.get("/api/search", params={"q": "bax", **params}), 422, "invalid_value")
    assert message.startswith(name)


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "null", '"text"', "{}", '{"documents": []}', '{"documents": [{"id": "a"}]}',
        '{"documents": [{"id": "", "text": "x"}]}', '{"documents": [{"id": 1, "text": "x"}]}',
        '{"documents": [{"id": "a", "text": "x", "vector": [1]}]}', '{"documents": [{"id": "a", "text": null}]}',
        '{"documents": [{"id": "a", "text": "x", "metadata": {"k": [1]}}]}',
        '{"documents": [{"id": "a", "text": "\\ud800"}]}', '{"documents": [{"id": "\\ud800", "text": "x"}]}',
        '{"documents": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}',
        '{"documents": [{"id": "a", "text": "x"}], "on_conflict": "overwrite"}', "\xff", "[" * 100_000,
    ],
)  # fmt: skip
def test_bad_bodies(web, store, content):
    count = len(store)
    answer = web.post("/api/documents", content=content.encode("latin-1"), headers=JSON)
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code, "invalid_value")
    assert len(store) == count


@pytest.mark.parametrize(
    "where",
    [
        "1=1; DROP TABLE documents", "1=1) OR (1=1", "year > 2000 -- ", "year > 2000 /* */", "'", "secret = 1",
        "id IN (SELECT id FROM documents)", "read_csv('/etc/passwd') IS NULL", "year = ", "((((", "\x00", "vector > 1",
        "(" * 50 + "1=1" + ")" * 50, "position >= 0", "`content_hash` != ''",
    ],
)  # fmt: skip
def test_filters_are_parsed_and_not_pasted(web, store, where):
    count = len(store)
    for path, params in (("/api/search", {"q": "bax"}), ("/api/similar", {"id": "doc1"})):
        problem(web.get(path, params={**params, "where": where}), 422, "invalid_value")
    assert len(store) == count


# -- who may ask --------------------------------------------------------------------------------------------------


def test_the_token(store, monkeypatch):
    web = client(store, token="geheim-123")
    for headers in (
        {}, {"Authorization": "geheim-123"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer geheim-12"},
        {"Authorization": "Bearer geheim-1234"}, {"Authorization": "Basic geheim-123"},
        {"Authorization": b"Bearer \xff\xfe"}, {"X-Token": "geheim-123"}, {"Cookie": "token=geheim-123"},
    ):  # fmt: skip
        for path in ("/api/info", "/api/search?q=bax", "/api/openapi.json", "/api/map/points", "/api", "/api/nothing"):
            answer = web.get(path, headers=headers)
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        problem(web.post("/api/documents", content=body([]), headers={**JSON, **headers}), 401, "unauthorized")
    assert web.get("/api/info?token=geheim-123").status_code == 401  # addresses end up in logs
    for path in ("/healthz", "/"):
        assert web.get(path).status_code in (200, 404)
    compared = []
    original = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda *given: compared.append(given) or original(*given))
    told = web.get("/api/info", headers={"Authorization": "bearer geheim-123"})
    assert told.json()["token_required"] is True
    assert compared == [(b"geheim-123", b"geheim-123")]
    web.get("/api/info", headers={"Authorization": "Bearer wrong"})
    assert compared[1:] == [(b"wrong", b"geheim-123")]  # in constant time, also when it is wrong


def test_an_empty_token_is_no_token(store):
    with pytest.raises(InvalidValueError, match="token"):
        create_app(store, token=" ")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "192.168.1.5", "[::2]"]
)
def test_other_names_are_refused(web, host):
    for path in ("/", "/healthz", "/api/info"):
        problem(web.get(path, headers={"Host": host}), 400, "invalid_value")


def test_names_that_are_allowed(store):
    web = client(store, hosts={"search.example", "127.0.0.1"}, any_address=True)
    for host in ("search.example", "SEARCH.example:80", "127.0.0.1:1", "192.168.1.5:8000", "[fe80::1]:8000"):
        assert web.get("/healthz", headers={"Host": host}).status_code == 200
    assert web.get("/healthz", headers={"Host": "localhost"}).status_code == 400
    own = client(store)
    for host in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000"):
        assert own.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://127.0.0.1"}, {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "file://"}, {"Origin": "http://["},
    ],
)  # fmt: skip
def test_other_sites_pages_are_refused(web, store, headers):
    count = len(store)
    new = body([{"id": "foreign", "text": "x"}])
    problem(web.post("/api/documents", content=new, headers={**JSON, **headers}), 403, "unauthorized")
    problem(web.post("/api/prices", headers=headers), 403, "unauthorized")
    problem(web.get("/api/search?q=bax", headers=headers), 403, "unauthorized")
    assert len(store) == count
    assert not web.app.state.service.prices._busy


def test_the_own_page_is_let_in(web):
    for headers in ({"Origin": BASE, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": BASE}):
        assert web.get("/api/search?q=bax", headers=headers).status_code == 200
    assert "access-control-allow-origin" not in web.get("/api/info", headers={"Origin": BASE}).headers


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/json"]
)
def test_bodies_are_json(web, store, kind):
    count = len(store)
    for path in ("/api/documents", "/api/documents/delete"):
        content = body([{"id": "form", "text": "x"}])
        problem(web.post(path, content=content, headers={"Content-Type": kind}), 415, "invalid_value")
    assert len(store) == count


@pytest.mark.parametrize("way", ["argument", "store"])
def test_read_only(tmp_path, way):
    make_store(tmp_path / "index", 5)
    store = Store.open(tmp_path / "index", encoder=HashEncoder(), read_only=way == "store")
    web = client(store, read_only=way == "argument")
    new = body([{"id": "new", "text": "x"}])
    problem(web.post("/api/documents", content=new, headers=JSON), 403, "read_only")
    problem(web.post("/api/documents/delete", json={"ids": ["doc1"]}), 403, "read_only")
    problem(web.post("/api/prices"), 403, "read_only")
    assert web.get("/api/info").json()["read_only"] is True
    assert web.get("/api/search?q=bax").status_code == 200
    assert len(store) == 5


# -- how much -----------------------------------------------------------------------------------------------------


class Slow:
    """An encoder that waits."""

    def __init__(self):
        self.inner, self.release, self.started = HashEncoder(), threading.Event(), threading.Semaphore(0)
        self.fingerprint = self.inner.fingerprint

    def encode(self, texts):
        if texts[0].startswith("slow"):
            self.started.release()
            self.release.wait(20)
        return self.inner.encode(texts)


@pytest.fixture
def slow(tmp_path):
    make_store(tmp_path / "index", 10)
    encoder = Slow()
    yield Store.open(tmp_path / "index", encoder=encoder), encoder
    encoder.release.set()


def ask(app, *queries):
    """All queries at once."""

    async def all_of_them():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as web:
            return await asyncio.gather(*(web.get("/api/search", params={"q": query}) for query in queries))

    return asyncio.run(all_of_them())


def test_slow_requests_are_given_up(slow):
    store, encoder = slow
    app = create_app(store, limits=ServerLimits(seconds=0.3))
    started = time.monotonic()
    (answer,) = ask(app, "slow one")
    problem(answer, 504, "timeout")
    assert time.monotonic() - started < 10  # the encoder would wait for 20
    encoder.release.set()
    statuses = (ask(app, "quick")[0].status_code for _ in range(20))  # on a busy machine not the first in time
    assert 200 in statuses


def test_a_body_that_never_ends_is_given_up(store):
    app = create_app(store, limits=ServerLimits(seconds=0.3, write_seconds=60))

    async def trickle():
        yield b"{"
        await asyncio.sleep(20)

    async def send():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as web:
            headers = {**JSON, "Transfer-Encoding": "chunked"}
            return await asyncio.wait_for(web.post("/api/documents", content=trickle(), headers=headers), 10)

    problem(asyncio.run(send()), 504, "timeout")


def test_bodies_that_are_being_received_count_too(store):
    app = create_app(store, limits=ServerLimits(requests=2, seconds=2))

    async def trickle():
        yield b"{"
        await asyncio.sleep(20)

    async def send_three():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as web:
            headers = {**JSON, "Transfer-Encoding": "chunked"}
            posts = [web.post("/api/documents", content=trickle(), headers=headers) for _ in range(3)]
            return await asyncio.gather(*posts)

    assert sorted(answer.status_code for answer in asyncio.run(send_three())) == [503, 504, 504]


def test_too_many_at_once_are_sent_away(slow):
    store, encoder = slow
    app = create_app(store, limits=ServerLimits(requests=3, threads=1))
    threading.Timer(1.5, encoder.release.set).start()
    answers = ask(app, *(f"slow {number}" for number in range(8)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 3 + [503] * 5
    for answer in answers:
        if answer.status_code == 503:
            problem(answer, 503, "busy")
            assert answer.headers["retry-after"] == "1"
    assert ask(app, "quick")[0].status_code == 200


def test_work_that_was_given_up_still_counts(slow):
    store, encoder = slow
    app = create_app(store, limits=ServerLimits(requests=2, threads=2, seconds=0.2))
    answers = ask(app, "slow 1", "slow 2")
    assert [answer.status_code for answer in answers] == [504, 504]
    problem(ask(app, "quick")[0], 503, "busy")  # both threads are still at it
    encoder.release.set()
    until = time.monotonic() + 10
    while ask(app, "quick")[0].status_code != 200:
        assert time.monotonic() < until


@pytest.mark.parametrize("field", ["body_bytes", "seconds", "requests", "threads"])
def test_limits_are_checked(field):
    with pytest.raises(InvalidValueError, match=field):
        ServerLimits(**{field: 0})
