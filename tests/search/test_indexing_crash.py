"""Whatever happens to an indexing process, the store opens, holds every committed document, and resumes."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from store_testing import HashEncoder
from store_worker import corpus

from polyvec.core.errors import FileProblemError, PolyvecError
from polyvec.search import Store, index_sources

WORKER = Path(__file__).with_name("store_worker.py")


class Server:
    """The forking worker; runs one request at a time."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "serving\n"

    def run(self, log, commits=None, delay=0.0, **request):
        """Run a request; kill it `delay` seconds after so many `commits` were noted (`None`: never). Its exit code."""
        before = size(log)
        self.process.stdin.write(json.dumps({**request, "log": str(log)}) + "\n")
        self.process.stdin.flush()
        lines = {}
        while len(lines) < 2:
            word, *rest = self.process.stdout.readline().split()
            assert word in ("started", "ready"), "the worker died before it began"
            lines[word] = rest
        child = int(lines["started"][0])
        ended = threading.Event()

        def kill():
            while size(log) < before + commits and not ended.is_set():
                time.sleep(0.001)
            if not ended.wait(delay):
                os.kill(child, signal.SIGKILL)

        killer = threading.Thread(target=kill if commits is not None else lambda: None)
        killer.start()
        word, code = self.process.stdout.readline().split()
        ended.set()
        killer.join()
        assert word == "ended"
        return int(code)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


def size(log):
    return log.read_bytes().count(b"\n") if log.exists() else 0


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def committed(log):
    """What the worker noted: id -> generation of its last commit."""
    found = {}
    if log.exists():
        for line in log.read_text().split("\n"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the last line, torn
            found |= dict.fromkeys(entry["ids"], entry["generation"])
    return found


def check(path, log, complete, current):
    """Open the store and compare it with what may be in it: `complete` was finished, `current` was going on."""
    store = Store.open(path, encoder=HashEncoder(dim=16))
    documents = {document.id: document for document in store.documents()}
    ids = store.ids()
    assert len(ids) == len(set(ids)) == len(documents) == len(store)
    old = {document.id: document for document in corpus(complete)} if complete is not None else {}
    new = {document.id: document for document in corpus(current)}
    known = committed(log)
    for key, document in documents.items():
        allowed = (
            [new[key]] if known.get(key) == current else [version[key] for version in (old, new) if key in version]
        )
        assert document in allowed
    missing = {key for key, generation in known.items() if generation == current} - set(documents)
    assert not missing, "committed documents are lost"
    for key in old:
        assert key in documents or key not in new, "a document that is in both generations is lost"
    if documents:
        some = sorted(documents)[:: max(1, len(documents) // 5)]
        for key in some:
            document = documents[key]
            word = document.text.split()[0]
            assert [hit.id for hit in store.search(word, mode="keyword")] == [key]
            assert key in {hit.id for hit in store.search(document.text, k=5)}
            assert store.ids(f"id = '{key}'") == [key]
        vectors = store.vectors()
        expected = HashEncoder(dim=16).encode([documents[key].embedding_text for key in vectors.ids])
        np.testing.assert_allclose(vectors.matrix, expected, atol=1e-6)
    return store


def kill_many(server, tmp_path, kills, seed):
    path, log = tmp_path / "index", tmp_path / "log"
    generator = random.Random(seed)
    complete, current, killed = None, 0, 0
    while killed < kills:
        commits, delay = generator.randrange(30), generator.uniform(0, 0.1)
        code = server.run(log, commits, delay, path=str(path), generation=current)
        assert code in (0, -signal.SIGKILL)
        killed += code != 0
        if code == 0:
            store = check(path, log, None, current)
            assert sorted(store.ids()) == sorted(document.id for document in corpus(current))
            complete, current = current, current + 1
        elif list((path / "documents.lance" / "_versions").glob("*.manifest")):
            check(path, log, complete, current)
        else:  # killed before there was a table
            assert committed(log) == {}
    assert server.run(log, path=str(path), generation=current) == 0
    store = check(path, log, None, current)
    assert sorted(store.documents(), key=lambda document: document.id) == corpus(current)
    assert store.stats().unindexed_documents == 0
    return current


def test_eight_kills(server, tmp_path):
    kill_many(server, tmp_path, kills=8, seed=8)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_kills(server, tmp_path):
    assert kill_many(server, tmp_path, kills=50, seed=50) >= 2  # whole generations were finished in between


def test_a_commit_that_was_never_finished_is_not_there(tmp_path):
    """The crash test in slow motion: the process is killed inside the very write of a batch."""
    path, log = tmp_path / "index", tmp_path / "log"
    index_sources(corpus(0)[:100], path, encoder=HashEncoder(dim=16), origin="worker", show_progress=False)
    versions = path / "documents.lance" / "_versions"
    before = set(versions.iterdir())
    (path / "documents.lance" / "data" / "half-written.lance").write_bytes(b"half")
    (versions / ".tmp_manifest").write_bytes(b"half")
    store = check(path, log, None, 0)
    assert len(store) == 100
    index_sources(corpus(0), path, encoder=HashEncoder(dim=16), origin="worker", show_progress=False)
    assert len(store) == len(corpus(0))
    assert set(versions.iterdir()) != before


def start(tmp_path, **request):
    request = {"path": str(tmp_path / "index"), "log": str(tmp_path / "log"), "generation": 0, **request}
    return subprocess.Popen(
        [sys.executable, str(WORKER), "index", json.dumps(request)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_control_c_keeps_what_is_done(tmp_path):
    process = start(tmp_path, pause=0.05)
    while len(committed(tmp_path / "log")) < 200:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert errors.strip().endswith("KeyboardInterrupt")
    known = committed(tmp_path / "log")
    store = check(tmp_path / "index", tmp_path / "log", None, 0)
    assert 200 <= len(known) <= len(store) < len(corpus(0))
    encoder = HashEncoder(dim=16)
    report = index_sources(corpus(0), tmp_path / "index", encoder=encoder, origin="worker", show_progress=False)
    assert report.unchanged == len(corpus(0)) - len(encoder.encoded) >= len(known)
    assert list(report.store.documents()) == corpus(0)


def test_a_disk_that_refuses_a_large_file(tmp_path):
    index_sources(corpus(0)[:50], tmp_path / "index", encoder=HashEncoder(dim=16), origin="worker", show_progress=False)
    process = start(tmp_path, commit_documents=1000, file_limit=20_000)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert last.startswith("polyvec.core.errors.FileProblemError: cannot index into")
    assert "File too large" in last
    assert committed(tmp_path / "log") == {}
    store = Store.open(tmp_path / "index", encoder=HashEncoder(dim=16))
    assert list(store.documents()) == corpus(0)[:50]
    assert store.search(corpus(0)[3].text, k=1)[0].id == corpus(0)[3].id
    report = index_sources(corpus(0), store, origin="worker", show_progress=False)
    assert (report.unchanged, len(store)) == (50, len(corpus(0)))


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (OSError(28, "No space left on device"), "no space left on the disk; free some space"),
        (RuntimeError("lance error: LanceError(IO): Generic LocalFileSystem error: Unable to copy data: No space left "
                      "on device (os error 28), /root/x.rs:1:2"), "no space left on the disk; free some space"),
        (RuntimeError("lance error: LanceError(IO): Permission denied (os error 13)"), "no permission; check"),
        (OSError(30, "Read-only file system"), "the file system is read-only"),
        (OSError(122, "Disk quota exceeded"), "quota is used up"),
    ],
)  # fmt: skip
def test_a_full_disk_is_told_clearly_and_the_store_stays_readable(tmp_path, monkeypatch, problem, message):
    from lancedb.table import LanceTable

    path = tmp_path / "index"
    index_sources(corpus(0)[:40], path, encoder=HashEncoder(dim=16), origin="worker", show_progress=False)
    real, calls = LanceTable.add, []

    def add(self, *arguments, **options):
        calls.append(1)
        if len(calls) > 3:
            raise problem
        return real(self, *arguments, **options)

    monkeypatch.setattr(LanceTable, "add", add)
    with pytest.raises(FileProblemError, match=message) as caught:
        index_sources(
            corpus(0)[:400],
            path,
            encoder=HashEncoder(dim=16),
            origin="worker",
            commit_documents=50,
            show_progress=False,
        )
    assert str(caught.value).startswith(f"cannot index into {path}: ")
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    store = Store.open(path, encoder=HashEncoder(dim=16))
    assert list(store.documents()) == corpus(0)[: 40 + 3 * 50]
    report = index_sources(corpus(0)[:400], store, origin="worker", show_progress=False)
    assert (report.added, len(store)) == (210, 400)


def test_two_runs_at_once_do_not_mix(tmp_path):
    process = start(tmp_path, pause=0.1)
    while len(committed(tmp_path / "log")) < 50:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    with pytest.raises(PolyvecError, match=f"process {process.pid} is writing to it"):
        index_sources(
            corpus(0),
            tmp_path / "index",
            encoder=HashEncoder(dim=16),
            origin="worker",
            show_progress=False,
            lock_timeout=0.3,
        )
    process.kill()
    process.communicate()
    report = index_sources(
        corpus(0), tmp_path / "index", encoder=HashEncoder(dim=16), origin="worker", show_progress=False
    )
    assert list(report.store.documents()) == corpus(0)
