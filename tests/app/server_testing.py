"""What the tests of the server share: an index that needs no model, an application, and server processes."""

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent / "search"))

from store_testing import HashEncoder, make_documents

from polyvec.app.server import create_app
from polyvec.search import Store

HERE = Path(__file__).parent
BASE = "http://127.0.0.1:8000"
JSON = {"Content-Type": "application/json"}


class WordEncoder(HashEncoder):
    """In the place of the default text model, which takes seconds to load."""

    def __init__(self):
        super().__init__(dim=512)

    def encode_query(self, texts):
        return self.encode(texts)


def make_store(folder, count=60, **options):
    store = Store.create(folder, encoder=HashEncoder(), **options)
    store.add(make_documents(count))
    return store


def client(store, *, base_url=BASE, **options):
    """A client that calls the application directly; what goes wrong inside comes out as the server answers it."""
    from starlette.testclient import TestClient

    return TestClient(create_app(store, **options), base_url=base_url, raise_server_exceptions=False)


@contextmanager
def server(folder, *arguments, wait=60):
    """A process that serves `folder` with the tests' encoder; gives its address and the process."""
    command = [sys.executable, str(HERE / "server_worker.py"), str(folder), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not re.match(r"http://127\.0\.0\.1:\d+/$", line):
            process.kill()
            raise AssertionError(f"no address but {line!r}: {process.communicate(timeout=10)[1]}")
        yield line.strip().rstrip("/"), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()


def wait_for(reading, done, seconds=60.0):
    """What `reading()` gives, once `done(of it)`."""
    until = time.monotonic() + seconds
    while True:
        found = reading()
        if done(found) or time.monotonic() > until:
            return found
        time.sleep(0.05)


def stored_ids(address):
    """All ids, page by page, as a client sees them."""
    found = []
    while True:
        page = httpx.get(f"{address}/api/search", params={"q": "bax", "k": 200, "offset": len(found)}).json()["hits"]
        if not page:
            return found
        found += [hit["id"] for hit in page]


def body(documents, **more):
    return json.dumps({"documents": documents, **more})
