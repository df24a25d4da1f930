"""What the tests of the page share: an index of real descriptions, a server on a thread, and a browser."""

import atexit
import os
import shutil
import socket
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import uvicorn

from polyvec import data
from polyvec.app.server import create_app
from polyvec.assess.map.stored import store_map
from polyvec.core.registry import systems
from polyvec.data.documents import Document
from polyvec.search import Store

WEB = Path(__file__).parents[2] / "web"
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-gl=angle",  # WebGL on the processor, where there is no graphics card
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
BAIT = (
    "Zebra fences <script>window.hacked = 1</script> and <img src=x onerror='window.hacked = 2'> "
    "<a href='javascript:window.hacked = 3'>zebra</a> &lt;b&gt;stay text&lt;/b&gt;."
)


def sample_documents():
    """The bundled sample, the claims of its systems as short documents, and a few that are hard to show."""
    documents = list(data.load("systems"))
    for system in systems():
        for number, claim in enumerate(system.claims):
            metadata = {"room": system.room, "year": system.year, "claim": True}
            documents.append(Document(f"{system.slug}#{number}", claim, metadata=metadata, source="claims"))
    return [
        *documents,
        Document("bait", BAIT, title="Zebra <img src=x onerror='window.hacked = 4'>", metadata={"room": "</script>"}),
        Document("quote", "A zebra's crossing.", title="O'Hara", metadata={"room": 'a\'b "c"', 'the "odd" key': "x'y"}),
        Document("astral", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🦓🦓 beyond the plane: a zebra, and 🦓 zebra again.", title="𝔄 zebra 🦓"),
        Document("long", "zebra " + "x" * 400 + " word " * 2000, title="Long_" + "y" * 200),
    ]


@cache
def sample_store():
    """The index with its map, made once for all modules of a run; they only read it."""
    holder = tempfile.TemporaryDirectory(prefix="polyvec-page-")
    atexit.register(holder.cleanup)
    store = Store.create(Path(holder.name) / "sample", encoder="all-MiniLM-L6-v2")
    store.add(sample_documents(), show_progress=False)
    store_map(store, method="pca", n_clusters=8, show_progress=False)
    return store


@contextmanager
def serving(store, **options):
    """The real server in this process; gives its address."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(store, **options), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def chromium_path():
    """Where a Chromium is, or a skip that says why not."""
    given = os.environ.get("POLYVEC_CHROMIUM")
    found = given or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here; install Debian's chromium, or name one in POLYVEC_CHROMIUM")
    return found


class Watched:
    """A page with all that went wrong on it; `expected` are parts of messages that a test brings about."""

    def __init__(self, page):
        self.page, self.problems = page, []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._request)

    def _console(self, message):
        stalled = "GPU stall due to ReadPixels" in message.text  # comes from the test's own look at the canvas
        if message.type in ("error", "warning") and not stalled:
            self.problems.append(f"{message.type}: {message.text}")

    def _request(self, request):
        if not request.url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:")):
            self.problems.append(f"request to {request.url}")

    def check(self, *expected):
        odd = [problem for problem in self.problems if not any(part in problem for part in expected)]
        assert odd == [], str(odd)


def price_list():
    """A price list with the shape of a measured one; recall falls with the bytes, less so with rescoring."""
    rows = []
    for name, factors in (("truncate", (1, 2, 4, 8, 16)), ("binary", (32,)), ("int8", (3,)), ("pq", (12, 24, 48))):
        for factor in factors:
            for rescoring in (False, True):
                size = 1536 / factor
                recall = 1 - (0.012 if rescoring else 0.05) * (factor - 1) ** 0.5
                rows.append(
                    {
                        "name": name, "setting": {"factor": factor}, "label": f"{name} {factor}",
                        "rescoring": "full vectors" if rescoring else False,
                        "bytes": size, "kept_bytes": size + (384 if rescoring else 0),
                        "recall_1": [recall, recall - 0.02, min(1, recall + 0.02)],
                        "recall_10": [recall, recall - 0.01, min(1, recall + 0.01)],
                        "ndcg_10": [recall, recall - 0.01, min(1, recall + 0.01)],
                        "build_seconds": 0.1 * factor, "queries_per_second": 100.0 * factor, "pareto": False,
                    }
                )  # fmt: skip
    for row in rows:
        row["pareto"] = not any(
            other["kept_bytes"] <= row["kept_bytes"] and other["recall_10"][0] >= row["recall_10"][0]
            and (other["kept_bytes"], other["recall_10"][0]) != (row["kept_bytes"], row["recall_10"][0])
            for other in rows
        )  # fmt: skip
    chosen = {"label": "binary 32, then full vectors", "confirmed": {"recall_10": [0.95, 0.94, 0.96], "queries": 500}}
    return {
        "documents": 300, "queries": 200, "dim": 384, "full_bytes": 1536, "metric": "cosine", "date": "2026-11-25",
        "seed": 0, "rows": rows, "chosen": chosen,
    }  # fmt: skip
