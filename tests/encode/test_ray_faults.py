"""Indexing on Ray when workers die, and on a cluster that somebody else has started."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from text_support import sample_texts, session_cache, tiny_model

from polyvec.core.errors import PolyvecError
from polyvec.data import Document
from polyvec.encode import TextEncoder
from polyvec.encode.text import arguments, ray_engine
from polyvec.search import Store, index_sources


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "model"
    tiny_model(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYVEC_CACHE", session_cache())
        return TextEncoder(folder)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setattr(arguments, "WINDOW", 32)
    monkeypatch.setenv("POLYVEC_CACHE", session_cache())
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the actors import polyvec from where we did
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def actors():
    """The processes that encode and are alive."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # ended meanwhile
            if " ".join(child.cmdline()).startswith("ray::MapWorker"):
                found.append(child.pid)
    return found


class Killer:
    """In the place of the progress bar: kills an actor when the first vectors have come back."""

    def __init__(self):
        self.seen, self.killed = 0, []

    def advance(self, count=1):
        self.seen += count
        if not self.killed and (alive := actors()):
            os.kill(alive[0], signal.SIGKILL)
            self.killed.append((alive[0], self.seen))

    @contextmanager
    def progress(self, description, total=None, *, show=None):
        yield self


def documents(count):
    return [Document(f"d{number}", f"{number} {text}") for number, text in enumerate(sample_texts(count, seed=3))]


def test_a_killed_worker_loses_and_doubles_nothing(tiny, tmp_path, monkeypatch):
    import ray

    killer = Killer()
    monkeypatch.setattr("polyvec.encode.text.encoder.progress", killer.progress)
    monkeypatch.setattr(ray_engine, "WINDOWS_EACH", 100)  # all at once: starting actors takes longer than these texts
    wanted = documents(1200)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        report = index_sources(
            wanted, tmp_path / "ray", encoder=tiny, engine="ray", commit_documents=200, show_progress=False
        )
        assert ray.is_initialized()  # it was there before
    finally:
        ray.shutdown()
    assert len(killer.killed) == 1
    assert 0 < killer.killed[0][1] < 1200  # midway
    assert (report.added, report.encoded, report.commits) == (1200, 1200, 6)
    monkeypatch.undo()
    monkeypatch.setattr(arguments, "WINDOW", 32)
    store = Store.open(tmp_path / "ray", encoder=tiny)
    assert list(store.documents()) == wanted
    vectors = store.vectors()
    np.testing.assert_array_equal(vectors.matrix, tiny.encode([document.text for document in wanted]))
    again = index_sources(wanted, store, encoder=tiny, engine="ray", show_progress=False)
    assert (again.unchanged, again.encoded) == (1200, 0)
    assert not ray.is_initialized()  # nothing to encode: none was started


POISON = """
import os, sys
from polyvec.encode.text import ray_engine
class Dying(ray_engine.WindowEncoder):  # of this script, so that it is sent to the actors and not imported there
    def __call__(self, batch):
        os._exit(9)
ray_engine.WindowEncoder = Dying
from polyvec.encode import TextEncoder
from polyvec.core.errors import PolyvecError
try:
    TextEncoder(sys.argv[1]).encode(["some text"] * 10, engine="ray", ray_workers=1)
except PolyvecError as error:
    print("said:", error)
"""


@pytest.mark.slow
def test_an_actor_that_dies_again_and_again_ends_in_one_line(tmp_path):
    tiny_model(tmp_path / "model")
    script = tmp_path / "poison.py"
    script.write_text(POISON)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "model")], capture_output=True, text=True, timeout=250, check=False
    )
    assert "said: engine='ray': an actor died 5 times over the same texts" in done.stdout, done.stderr[-2000:]


@pytest.mark.slow
def test_a_cluster_by_its_address(tiny, tmp_path, monkeypatch):
    import ray

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    short = tempfile.mkdtemp(prefix="ray")  # the paths of sockets must not be long
    ray_command = [sys.executable, "-m", "ray.scripts.scripts"]
    command = [
        *ray_command, "start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false",
        "--disable-usage-stats", f"--temp-dir={short}",
    ]  # fmt: skip
    head = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        assert any("Ray runtime started" in line for line in head.stdout)
        monkeypatch.setenv("RAY_ADDRESS", f"{ray.util.get_node_ip_address()}:{port}")
        texts = sample_texts(200, seed=4)
        found = tiny.encode(texts, engine="ray", ray_workers=2)
        np.testing.assert_array_equal(found, tiny.encode(texts))
        assert not ray.is_initialized()
        assert head.poll() is None  # left as it was
        report = index_sources(documents(100), tmp_path / "index", encoder=tiny, engine="ray", show_progress=False)
        assert report.encoded == 100
    finally:
        for process in psutil.Process(head.pid).children(recursive=True):
            process.kill()
        head.kill()
        head.wait()
        head.stdout.close()
        shutil.rmtree(short, ignore_errors=True)
    with pytest.raises(PolyvecError, match=r"the cluster at RAY_ADDRESS=.* cannot be joined"):
        tiny.encode(texts, engine="ray")


def test_what_is_not_an_engine(tiny, tmp_path):
    with pytest.raises(PolyvecError, match="engine: got 'spark', needs local or ray"):
        index_sources(documents(3), tmp_path / "index", encoder=tiny, engine="spark")
    assert not Path(tmp_path / "index").exists()
