"""A server under load: 32 clients that search at once, 100,000 requests, over the loopback only.

    python benchmarks/serve_load.py [--documents 20000] [--requests 100000] [--clients 32] [--to FILE]

The index holds Debian's package descriptions with the default text model's vectors; `polyvec serve` runs as a process
of its own, as a user starts it. Clients are coroutines of this process that send one request after the other over a
connection that stays open. Nine in ten requests are searches (dense, keyword and hybrid in turn, a filter on every
tenth), one in ten asks for similar documents. Queries are the first sentences of `--queries` packages that are not in
the index, so that each text is encoded once and asked for again; `fresh` measures queries that are all new.

Reported: latency as a client sees it with all others asking too, requests a second, processor time of the server a
request, answers that are not 200 or hold no hit, and the server's memory at ten points of the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import psutil

from polyvec.core.files import write_json
from polyvec.data import load
from polyvec.data.catalogue import cached_array
from polyvec.encode.text import TextEncoder
from polyvec.reproduce.runner import environment, machine
from polyvec.search import Store

MODES = ("dense", "keyword", "hybrid")


def make_index(folder: Path, count: int, queries: int) -> tuple[list[str], list[str]]:
    """An index of `count` descriptions; its ids, and queries that are not in it."""
    everything = load("debian-packages", view="texts")
    documents, others = everything[:count], everything[count : count + queries]
    encoder = TextEncoder()
    texts = [document.embedding_text for document in documents]
    key = [str(encoder.fingerprint["sha256"]), encoder.precision, *texts]
    matrix = np.asarray(cached_array("minilm-debian-store", key, lambda: encoder.encode(texts)))
    store = Store.create(folder, encoder=encoder)
    store.add(documents, matrix)
    store.optimize()
    return [document.id for document in documents], [document.text.splitlines()[0][:200] for document in others]


def addresses(ids: list[str], queries: list[str]) -> Iterator[tuple[str, str]]:
    """Kind and path of one request after the other, for ever."""
    number = 0
    while True:
        if number % 10 == 9:
            yield "similar", f"/api/similar?id={quote(ids[(number * 7919) % len(ids)])}"
        else:
            mode = MODES[number % 3]
            where = "&where=" + quote("section = 'libs'") if number % 10 == 5 else ""
            yield mode, f"/api/search?q={quote(queries[(number * 31) % len(queries)])}&mode={mode}{where}"
        number += 1


async def client(
    host: str, port: int, todo: Iterator[tuple[str, str]], times: dict[str, list[float]], failures: list[str]
) -> None:
    """Send what is to be done, one request at a time, over one connection."""
    reader, writer = await asyncio.open_connection(host, port)
    for kind, path in todo:
        started = time.perf_counter()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r")[0])
        body = await reader.readexactly(length)
        times[kind].append((time.perf_counter() - started) * 1e3)
        if not head.startswith("http/1.1 200") or (b'"hits":[]' in body and "where" not in path):
            failures.append(f"{path}: {head.splitlines()[0]} {body[:200]!r}")
    writer.close()


def limited(source: Iterator[tuple[str, str]], count: int) -> Iterator[tuple[str, str]]:
    for _ in range(count):
        yield next(source)


def percentiles(times: list[float]) -> dict[str, float]:
    return {f"p{share} ms": round(float(np.percentile(times, share)), 2) for share in (50, 95, 99)}


def under_load(url: str, process: psutil.Process, source: Any, requests: int, clients: int) -> dict[str, Any]:
    """Send `requests` requests in ten parts, noting the server's memory after each."""
    parts = urlsplit(url)
    times: dict[str, list[float]] = defaultdict(list)
    failures: list[str] = []
    memory = [process.memory_info().rss / 2**20]
    spent, started = sum(process.cpu_times()[:2]), time.perf_counter()
    for part in range(10):
        todo = limited(source, requests * (part + 1) // 10 - requests * part // 10)

        async def run(todo: Iterator[tuple[str, str]] = todo) -> None:
            await asyncio.gather(
                *(client(str(parts.hostname), int(parts.port or 80), todo, times, failures) for _ in range(clients))
            )

        asyncio.run(run())
        memory.append(process.memory_info().rss / 2**20)
        print(f"{part + 1}/10: {memory[-1]:.0f} MiB, {len(failures)} failures", flush=True)
    seconds = time.perf_counter() - started
    everything = [one for kind in times.values() for one in kind]
    return {
        "requests": len(everything),
        "clients": clients,
        "failures": len(failures),
        "first failures": failures[:3],
        **percentiles(everything),
        "by kind": {kind: percentiles(some) for kind, some in sorted(times.items())},
        "requests a second": round(len(everything) / seconds, 1),
        "server processor ms a request": round((sum(process.cpu_times()[:2]) - spent) / len(everything) * 1e3, 2),
        "server memory MiB": [round(one) for one in memory],
        "growth from the second to the last tenth, MiB": round(memory[-1] - memory[2], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--fresh", type=int, default=2_000, help="requests whose queries are all new")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--to", default="results/benchmarks/serve_load.json")
    options = parser.parse_args()
    load_before = os.getloadavg()  # of a busy machine only memory and failures mean anything
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "index"
        ids, queries = make_index(folder, options.documents, options.queries + options.fresh)
        command = [sys.executable, "-m", "polyvec.app.main", "serve", str(folder), "--port", "0", "--quiet"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            process = psutil.Process(server.pid)
            try:
                source = addresses(ids, queries[: options.queries])
                under_load(url, process, source, max(320, options.requests // 50), options.clients)  # warm
                mixed = under_load(url, process, source, options.requests, options.clients)
                print(json.dumps(mixed, indent=1), flush=True)
                new = iter([("dense", f"/api/search?q={quote(query)}") for query in queries[options.queries :]])
                fresh = under_load(url, process, new, options.fresh, options.clients)
                print(json.dumps(fresh, indent=1), flush=True)
            finally:
                server.terminate()
    versions = environment() | {package: version(package) for package in ("fastapi", "uvicorn", "lancedb")}
    content = {"benchmark": "serve_load", "documents": options.documents, "mixed": mixed, "fresh queries": fresh}
    content["load average before"] = [round(one, 1) for one in load_before]
    write_json(options.to, content | {"versions": versions, "machine": machine()})


if __name__ == "__main__":
    main()
