"""The server as a process: how it starts and ends, many clients at once, and death while it writes."""

import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from server_testing import JSON, body, make_store, server, stored_ids, wait_for
from store_testing import HashEncoder, make_documents

from polyvec.app.main import main
from polyvec.app.server.serving import application, checked_token, listen, url_of
from polyvec.core.errors import FileProblemError, InvalidValueError
from polyvec.search import Store


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("process") / "index"
    make_store(folder, 200)
    return folder


@pytest.fixture(scope="module")
def running(index):
    """A server for the tests that leave it as it is."""
    with server(index) as told:
        yield told


# -- starting and ending ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(index, number):
    with server(index) as (address, process):
        assert httpx.get(f"{address}/healthz").json() == {"status": "ok"}
        httpx.get(f"{address}/api/health")  # something is being computed in the background
        process.send_signal(number)
        assert process.wait(30) in (0, -signal.SIGTERM if number == signal.SIGTERM else 0)
        assert process.stderr.read() == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/healthz")


def test_a_request_that_is_being_answered_is_finished(tmp_path):
    make_store(tmp_path / "index", 5)
    begun = tmp_path / "begun"
    with server(tmp_path / "index", "--slow", begun) as (address, process), ThreadPoolExecutor(1) as pool:
        assert wait_for(begun.exists, bool)  # the server has loaded its encoder
        begun.unlink()
        content = body([{"id": f"n{number}", "text": "bax"} for number in range(1000)])
        answer = pool.submit(httpx.post, f"{address}/api/documents", content=content, headers=JSON, timeout=60)
        assert wait_for(begun.exists, bool)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert answer.result().json() == {"written": 1000}
    assert len(Store.open(tmp_path / "index")) == 1005


def test_bad_calls_are_one_line_and_exit_code_2(index, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("POLYVEC_TOKEN", raising=False)
    for arguments, said in (
        ((), "DIR"),
        ((tmp_path / "none",), "no such folder"),
        ((index, "--host", "0.0.0.0"), "--token"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["serve", *map(str, arguments)])
        told = capsys.readouterr()
        assert stopped.value.code == 2
        assert said in told.err
        assert told.err.count("\n") == 1
        assert told.out == ""


def test_the_socket():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert url_of(first, "127.0.0.1") == f"http://127.0.0.1:{port}/"
        with pytest.raises(FileProblemError, match="in use"):
            listen("127.0.0.1", port)
    for host, port, said in (
        ("no.such.host.invalid", 0, "no name or address"),
        ("203.0.113.7", 0, "no address of this machine"),
        ("127.0.0.1", 70_000, "65535"),
        ("127.0.0.1", -1, "65535"),
    ):
        with pytest.raises(InvalidValueError, match=said):
            listen(host, port)


def test_other_machines_need_a_token(index):
    store = Store.open(index, encoder=HashEncoder())
    options = {"read_only": True, "allow_hosts": (), "docs": False}
    with listen("0.0.0.0", 0) as everywhere, listen("127.0.0.1", 0) as here:
        with pytest.raises(InvalidValueError, match="needs --token"):
            application(store, everywhere, "0.0.0.0", token=None, **options)
        application(store, everywhere, "0.0.0.0", token="geheim", **options)
        application(store, here, "127.0.0.1", token=None, **options)
    for token in ("", "  ", "two words", "tab\t.", "ümlaut"):
        with pytest.raises(InvalidValueError, match="--token"):
            checked_token(token)
    assert checked_token(" geheim\n") == "geheim"


def test_the_token_of_a_process(index):
    with server(index, "--token", "geheim") as (address, _):
        assert httpx.get(f"{address}/api/info").status_code == 401
        told = httpx.get(f"{address}/api/info", headers={"Authorization": "Bearer geheim"}).json()
        assert told["token_required"] is True
        assert httpx.get(f"{address}/healthz").status_code == 200


def test_what_is_no_http_does_no_harm(running):
    address, process = running
    port = int(address.rpartition(":")[2])
    for raw in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"a" * 200_000, b"\r\n" * 1000, b""):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(raw)
    head = b"POST /api/documents HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"
    twice = head + b"\r\n\r\n0\r\n\r\n"  # two lengths that contradict each other
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(twice)
        assert b" 4" in connection.recv(100)[:20]
    assert httpx.get(f"{address}/healthz").status_code == 200
    assert process.poll() is None


# -- many at once -------------------------------------------------------------------------------------------------


def load(address, requests, clients=32):
    """`requests` searches by `clients` threads; the times in milliseconds and what was no 200."""
    times, failures = [], []
    numbers = iter(range(requests))
    lock = threading.Lock()

    def work():
        with httpx.Client(timeout=60) as web:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                params = {"q": f"bax {'dox' if number % 2 else 'fum'} w{number % 97}", "k": 5}
                params["mode"] = ("dense", "keyword", "hybrid")[number % 3]
                started = time.perf_counter()
                answer = web.get(f"{address}/api/search", params=params)
                times.append((time.perf_counter() - started) * 1e3)
                if answer.status_code != 200 or len(answer.json()["hits"]) == 0:
                    failures.append(answer.text)

    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(work) for _ in range(clients)]:
            done.result()
    return sorted(times), failures


def memory(process):
    import psutil

    return psutil.Process(process.pid).memory_info().rss / 2**20


@pytest.mark.parametrize(("requests", "growth"), [(2_000, 60.0), pytest.param(20_000, 40.0, marks=pytest.mark.slow)])
def test_many_clients(running, requests, growth):
    address, process = running
    load(address, 600)
    before = memory(process)
    times, failures = load(address, requests)
    grown = memory(process) - before
    assert failures == []
    assert len(times) == requests
    assert grown < growth, f"{grown:.0f} MiB more after {requests} requests"


def test_readers_see_whole_commits_while_somebody_writes(tmp_path):
    make_store(tmp_path / "index", 20)
    failures, seen = [], []
    with server(tmp_path / "index") as (address, _):
        stop = threading.Event()

        def read():
            with httpx.Client(timeout=60) as web:
                while not stop.is_set():
                    answer = web.get(f"{address}/api/search", params={"q": "pair", "mode": "keyword", "k": 200})
                    if answer.status_code != 200:
                        failures.append(answer.text)
                        continue
                    ids = [hit["id"] for hit in answer.json()["hits"]]
                    seen.append(len(ids))
                    if len(ids) % 2 or len(set(ids)) != len(ids):  # pairs are written in one commit
                        failures.append(ids)

        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read) for _ in range(4)]
            for number in range(25):
                pair = [{"id": f"{number}{side}", "text": f"pair number{number}"} for side in "ab"]
                answer = httpx.post(f"{address}/api/documents", content=body(pair), headers=JSON, timeout=60)
                assert answer.json() == {"written": 2}
            stop.set()
            for reader in readers:
                reader.result()
        assert sorted(set(stored_ids(address))) == sorted(stored_ids(address))
    assert failures == []
    assert max(seen) >= 2
    assert len(Store.open(tmp_path / "index")) == 70


# -- death ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_what_was_acknowledged_survives_kill_9_and_nothing_is_doubled(tmp_path, kills):
    folder = tmp_path / "index"
    make_store(folder, 10)
    kept = {document.id for document in make_documents(10)}
    tried = set(kept)
    number = 0
    for round_ in range(kills):
        with server(folder) as (address, process):
            timer = threading.Timer(0.4 + 0.13 * (round_ % 7), process.kill)
            with httpx.Client(timeout=30) as web:
                web.get(f"{address}/api/search", params={"q": "bax"})
                timer.start()
                while True:
                    batch = [{"id": f"n{number}-{row}", "text": f"bax number{number}"} for row in range(3)]
                    tried |= {document["id"] for document in batch}
                    try:
                        answer = web.post(f"{address}/api/documents", content=body(batch), headers=JSON)
                    except httpx.TransportError:
                        break  # killed: whether this one is there, nobody has promised
                    assert answer.json() == {"written": 3}
                    kept |= {document["id"] for document in batch}
                    number += 1
            timer.join()
            process.wait(10)
            number += 1
    with server(folder) as (address, _):
        found = stored_ids(address)
        again = httpx.post(f"{address}/api/documents", content=body([{"id": "last", "text": "bax"}]), headers=JSON)
        assert again.json() == {"written": 1}
    assert len(found) == len(set(found))
    assert kept <= set(found) <= tried
    unsure = set(found) - kept
    assert len(unsure) % 3 == 0  # a commit is there as a whole or not at all
    assert len(kept) > 10 + 3 * kills
