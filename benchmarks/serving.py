"""`polyvec serve` against what one writes in an afternoon: FastAPI, sentence-transformers and FAISS; same documents.

    python benchmarks/serving.py [--documents 20000] [--requests 200] [--clients 1 8 32] [--rounds 1] [--to FILE]

Both serve Debian's package descriptions (vectors computed once, given to both) on loopback, one process each with the
cores of the machine, and encode every query with MiniLM themselves. Queries are first sentences of descriptions that
are not in the index, each asked once of each server, so that no memory of earlier queries helps. Servers take turns:
at each number of clients one is loaded, then the other, and the order changes from round to round.

The baseline keeps texts in a list, vectors in `IndexFlatIP`, and answers with the ten best documents as JSON. Requests
a second, median and 95th percentile of the answer time, processor time of the server for a request, and its peak
memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

SERVERS = {
    "polyvec": "create_app(Store.open(folder)) under uvicorn, its defaults",
    "plain": "FastAPI + SentenceTransformer.encode (float32) + faiss.IndexFlatIP, a def endpoint, under uvicorn",
}
K = 10


def serve(name: str, folder: Path, port: int) -> None:
    """In a process of its own: serve until killed."""
    import uvicorn

    app = polyvec_app(folder) if name == "polyvec" else plain_app(folder)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


def polyvec_app(folder: Path) -> Any:
    """What `polyvec serve` runs."""
    from polyvec.app.server import create_app
    from polyvec.search import Store

    return create_app(Store.open(folder / "index", read_only=True))


def plain_app(folder: Path) -> Any:
    """The baseline."""
    import faiss
    from fastapi import FastAPI
    from sentence_transformers import SentenceTransformer

    from polyvec.encode.text.bundled import bundled_folder

    documents = json.loads((folder / "documents.json").read_text(encoding="utf-8"))
    index = faiss.IndexFlatIP(384)
    index.add(np.load(folder / "vectors.npy"))
    model = SentenceTransformer(str(bundled_folder()), device="cpu")
    app = FastAPI()

    @app.get("/api/search")
    def search(q: str, k: int = K) -> dict[str, Any]:
        scores, rows = index.search(model.encode([q], normalize_embeddings=True), k)
        found = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return {"hits": [{**documents[row], "score": score} for row, score in found]}

    return app


def prepare(folder: Path, documents: int) -> list[str]:
    """Write what the servers read; the queries."""
    from polyvec.data import load
    from polyvec.data.catalogue import cached_array
    from polyvec.encode.text import TextEncoder
    from polyvec.search import Store

    everything = load("debian-packages", view="texts")
    chosen = everything[:documents]
    encoder = TextEncoder()
    texts = [document.embedding_text for document in chosen]
    key = [str(encoder.fingerprint["sha256"]), encoder.precision, *texts]
    matrix = np.asarray(cached_array("minilm-debian-store", key, lambda: encoder.encode(texts)))
    np.save(folder / "vectors.npy", matrix)
    rows = [{"id": one.id, "title": one.title, "text": one.text, "metadata": dict(one.metadata)} for one in chosen]
    (folder / "documents.json").write_text(json.dumps(rows), encoding="utf-8")
    store = Store.create(folder / "index", encoder=encoder)
    store.add(chosen, matrix)
    store.optimize()
    store.close()
    return list(dict.fromkeys(document.text.splitlines()[0] for document in reversed(everything[documents:])))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def used_by(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Processor seconds so far and peak MiB of a server."""
    import psutil

    times = psutil.Process(process.pid).cpu_times()
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return times.user + times.system, round(peak / 1024)


async def load_with(port: int, queries: list[str], clients: int) -> tuple[list[float], float]:
    """Ask all queries with so many at a time; seconds of each, and of all."""
    import httpx

    waiting, seconds = list(reversed(queries)), []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:

        async def one_client() -> None:
            while waiting:
                query = waiting.pop()
                started = time.perf_counter()
                answer = await client.get("/api/search", params={"q": query, "k": K})
                seconds.append(time.perf_counter() - started)
                assert answer.status_code == 200, answer.text
                assert len(answer.json()["hits"]) == K

        started = time.perf_counter()
        await asyncio.gather(*(one_client() for _ in range(clients)))
        return seconds, time.perf_counter() - started


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the server has answered its first queries."""
    import httpx

    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        try:
            for number in range(20):  # also what a server reads into memory once it is asked for often
                httpx.get(f"http://127.0.0.1:{port}/api/search", params={"q": f"warm up {number}"}, timeout=120)
            return
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit("a server did not start")


def measure(options: argparse.Namespace, folder: Path, queries: list[str]) -> dict[str, Any]:
    """Both servers at each number of clients, in turn."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    ports = {name: free_port() for name in SERVERS}
    running = {}
    rows: dict[str, dict[str, Any]] = {name: {"what": what, "clients": {}} for name, what in SERVERS.items()}
    try:
        for name, port in ports.items():
            command = [sys.executable, __file__, "--serve", name, "--folder", str(folder), "--port", str(port)]
            started = time.perf_counter()
            running[name] = subprocess.Popen(command, env=environment)
            wait_for(port, running[name])
            rows[name]["start seconds"] = round(time.perf_counter() - started, 1)
        parts = [queries[begin : begin + options.requests] for begin in range(0, len(queries), options.requests)]
        turn = count()
        raw: dict[tuple[str, int], list[dict[str, float]]] = {}
        for place in range(options.rounds):
            names = list(SERVERS) if place % 2 == 0 else list(reversed(SERVERS))
            for clients in options.clients:
                asked = parts[next(turn) % len(parts)]
                for name in names:
                    before = used_by(running[name])[0]
                    seconds, wall = asyncio.run(load_with(ports[name], asked, clients))
                    figures = {
                        "requests a second": len(asked) / wall,
                        "p50 ms": statistics.median(seconds) * 1e3,
                        "p95 ms": float(np.percentile(seconds, 95)) * 1e3,
                        "processor ms a request": (used_by(running[name])[0] - before) * 1e3 / len(asked),
                    }
                    raw.setdefault((name, clients), []).append(figures)
                    print(f"{name}, {clients} clients: {figures}", file=sys.stderr, flush=True)
        for (name, clients), found in raw.items():
            medians = {key: round(statistics.median(one[key] for one in found), 2) for key in found[0]}
            rows[name]["clients"][str(clients)] = medians
        for name, process in running.items():
            rows[name]["peak MiB"] = used_by(process)[1]
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait(timeout=60)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=200, help="requests at each number of clients")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--to", default="results/benchmarks/serving.json")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.folder, options.port)
        return
    from polyvec.core.files import write_json
    from polyvec.data.catalogue import version_used
    from polyvec.reproduce.runner import environment, machine

    load_before = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        queries = prepare(folder, options.documents)
        rows = measure(options, folder, queries)
    packages = ("fastapi", "uvicorn", "faiss-cpu", "sentence-transformers")
    write_json(
        options.to,
        {
            "benchmark": "serving",
            "date": datetime.now(UTC).date().isoformat(),
            "documents": options.documents,
            "requests at each number of clients": options.requests,
            "rounds": options.rounds,
            "data": version_used("debian-packages"),
            "machine": {**machine(), "load_before": load_before},
            "versions": environment() | {package: metadata.version(package) for package in packages},
            "servers": rows,
        },
    )
    for name, row in rows.items():
        print(f"{name}: start {row['start seconds']} s, peak {row['peak MiB']} MiB")
        for clients, figures in row["clients"].items():
            print(f"  {clients:>3} clients: {figures}")


if __name__ == "__main__":
    main()
