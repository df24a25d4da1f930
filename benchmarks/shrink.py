"""What an index of 20,000 Debian descriptions can be shrunk to, confirmed on untouched queries, and what it costs.

    python benchmarks/shrink.py [--documents 20000] [--keep 0.95] [--to FILE]

Documents are Debian's package descriptions with the default text model's vectors (384 dimensions; computed once and
kept in the cache). The price list is measured with documents drawn as queries and taken out of the index, as `polyvec
shrink` does; then one copy of the index is shrunk to the choice, and both copies are searched in turn with the same
vectors: times, recall@10 of the shrunk index against the full one, bytes of the vectors and of the folder.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from polyvec.core.files import write_json
from polyvec.data import load
from polyvec.data.catalogue import cached_array
from polyvec.encode.text import TextEncoder
from polyvec.reproduce.runner import environment, machine
from polyvec.search import Store
from polyvec.search.prices import store_price_list, take

K = 10
TARGET = {"bytes": "1/8", "recall@10": 0.95}


def answers(store: Store, points: np.ndarray) -> tuple[list[set[str]], float, float]:
    """Ids found, and median and 95th percentile of the milliseconds, each query once after a warm-up."""
    for point in points[:3]:
        store.search(point, K)
    times, found = [], []
    for point in points:
        started = time.perf_counter()
        hits = store.search(point, K)
        times.append((time.perf_counter() - started) * 1e3)
        found.append({hit.id for hit in hits})
    return found, round(float(np.median(times)), 2), round(float(np.percentile(times, 95)), 2)


def copy_and_shrink(folder: Path, store: Store, prices: Any, points: np.ndarray) -> dict[str, Any]:
    """Two copies, one shrunk, searched in turn."""
    store.save(folder / "shrunk")
    small = Store.open(folder / "shrunk")
    started = time.perf_counter()
    take(small, prices)
    seconds = time.perf_counter() - started
    with_undo = small.stats().bytes_on_disk
    small.finish_shrink()
    full, shrunk = answers(store, points), answers(small, points)
    again, shrunk_again = answers(store, points), answers(small, points)  # in turn: the machine may be busy
    recall = float(np.mean([len(true & near) / K for true, near in zip(full[0], shrunk[0], strict=True)]))
    before, after = store.stats(), small.stats()
    return {
        "apply, seconds": round(seconds, 2),
        "bytes of the vectors": {"full": before.nbytes, "shrunk": after.nbytes},
        "bytes on disk": {"full": before.bytes_on_disk, "before --finish": with_undo, "shrunk": after.bytes_on_disk},
        "bytes in memory": {"full": before.nbytes, "shrunk": small.snapshot().memory().codes.nbytes},  # type: ignore[union-attr]
        "search, median ms": {"full": [full[1], again[1]], "shrunk": [shrunk[1], shrunk_again[1]]},
        "search, p95 ms": {"full": [full[2], again[2]], "shrunk": [shrunk[2], shrunk_again[2]]},
        "recall@10 of the shrunk index, documents as queries": round(recall, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--keep", type=float, default=0.95)
    parser.add_argument("--to", default="results/benchmarks/shrink.json")
    options = parser.parse_args()
    documents = load("debian-packages", view="texts")[: options.documents]
    encoder = TextEncoder()
    texts = [document.embedding_text for document in documents]
    key = [str(encoder.fingerprint["sha256"]), encoder.precision, *texts]
    matrix = np.asarray(cached_array("minilm-debian-store", key, lambda: encoder.encode(texts)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = Store.create(folder / "full", encoder=encoder)
        store.add(documents, matrix)
        store.optimize()
        started = time.perf_counter()
        prices = store_price_list(store, sample=options.documents, seed=0)
        seconds = time.perf_counter() - started
        row = prices.choose(keep=options.keep)
        print(prices.statements, prices.chosen, flush=True)
        applied = None
        if row is not None:
            points = matrix[np.random.default_rng(1).permutation(len(matrix))[: options.queries]]
            applied = copy_and_shrink(folder, store, prices, points)
    eighth = prices.full_bytes / 8
    met = prices.chosen is not None and prices.chosen["kept_bytes"] <= eighth
    write_json(
        options.to,
        {
            "benchmark": "shrink",
            "target": TARGET | {"met": met},
            "measuring, seconds": round(seconds, 1),
            "chosen": prices.chosen,
            "applied": applied,
            "prices": prices.to_dict(),
            "versions": environment() | {package: version(package) for package in ("faiss-cpu", "lancedb")},
            "machine": machine(),
        },
    )
    prices.plot(Path(options.to).with_suffix(".png"))


if __name__ == "__main__":
    main()
