"""How long a warm query of the store takes, beside brute force in NumPy, FAISS and plain LanceDB calls, in one run.

    python benchmarks/store_search.py [--documents 20000] [--queries 100] [--sizes 20000 60000 ...] [--to FILE]

Documents are Debian's package descriptions with the default text model's vectors (384 dimensions; computed once and
kept in the cache); queries are the first sentences of packages that are not among them. The query's vector is given,
so search alone is timed: each query once, one after the other, after a warm-up; median and 95th percentile. Peers find
numbers of rows only (NumPy, FAISS) or the same rows with their texts (LanceDB as its documentation calls it).

`sizes` compares exact search in memory with the vector index on generated vectors in clusters, to see from how many
vectors on the index is quicker; its recall is against brute force. Writing is measured with the vectors at hand.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import lancedb
import numpy as np

from polyvec.core.files import write_json
from polyvec.data import Document, load
from polyvec.data.catalogue import cached_array
from polyvec.encode.text import TextEncoder
from polyvec.reproduce.runner import environment, machine
from polyvec.search import Store, index_sources

K = 10
OURS = "polyvec, dense"
TARGET_MS = 30.0
FILTER = "section = 'libs'"


def timed(search: Callable[[Any], Any], queries: Iterable[Any]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds, each query once after three for warming up."""
    queries = list(queries)
    for query in queries[:3]:
        search(query)
    times = []
    for query in queries:
        started = time.perf_counter()
        search(query)
        times.append((time.perf_counter() - started) * 1e3)
    return {"median ms": round(float(np.median(times)), 3), "p95 ms": round(float(np.percentile(times, 95)), 3)}


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def brute_force(matrix: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    def search(query: np.ndarray) -> np.ndarray:
        scores = matrix @ query
        best = np.argpartition(scores, -K)[-K:]
        return best[np.argsort(-scores[best])]

    return search


def recall(
    found: Callable[[np.ndarray], Iterable[int]], truth: Callable[[np.ndarray], np.ndarray], queries: Any
) -> float:
    hits = sum(len(set(found(query)) & set(truth(query).tolist())) for query in queries)
    return round(hits / (K * len(queries)), 4)


def debian(count: int, queries: int, folder: Path) -> dict[str, Any]:
    """Query times over real descriptions."""
    everything = load("debian-packages", view="texts")
    documents, held_out = everything[:count], everything[count : count + queries]
    asked = [document.text.splitlines()[0] for document in held_out]
    encoder = TextEncoder()
    texts = [document.embedding_text for document in documents]
    key = [str(encoder.fingerprint["sha256"]), encoder.precision, *texts]
    matrix = np.asarray(cached_array("minilm-debian-store", key, lambda: encoder.encode(texts)))
    points = list(encoder.encode(asked))

    store = Store.create(folder / "debian", encoder=encoder)
    writing = seconds(lambda: store.add(documents, matrix))
    optimizing = seconds(store.optimize)
    fresh = Store.open(store.path, encoder=encoder)
    first = seconds(lambda: fresh.search(points[0], K))
    scanning = Store.open(store.path, encoder=encoder, memory_limit=0)
    table = lancedb.connect(store.path).open_table("documents")
    flat = faiss.IndexFlatIP(matrix.shape[1])
    flat.add(matrix)
    truth = brute_force(matrix)
    pairs = list(zip(asked, points, strict=True))

    def plain(point: np.ndarray) -> list[dict[str, Any]]:
        return table.search(point).distance_type("cosine").select(["id", "content", "_distance"]).limit(K).to_list()

    rows: dict[str, dict[str, float]] = {
        OURS: timed(lambda point: store.search(point, K), points),
        "polyvec, dense, with a filter": timed(lambda point: store.search(point, K, where=FILTER), points),
        "polyvec, keyword": timed(lambda text: store.search(text, K, mode="keyword"), asked),
        "polyvec, hybrid": timed(lambda pair: store.search(pair[0], K, mode="hybrid", vector=pair[1]), pairs),
        "polyvec, dense, scanning the disk": timed(lambda point: scanning.search(point, K), points),
        "LanceDB, to_list()": timed(plain, points),
        "NumPy brute force, row numbers": timed(truth, points),
        "FAISS IndexFlatIP, row numbers": timed(lambda point: flat.search(point[None], K), points),
    }
    found = {document.id: row for row, document in enumerate(documents)}
    exact = recall(lambda point: [found[hit.id] for hit in store.search(point, K)], truth, points)

    started = time.perf_counter()
    kind = store.build_vector_index(force=True)
    building = time.perf_counter() - started
    rows["polyvec, vector index"] = timed(lambda point: store.search(point, K), points)
    approximate = recall(lambda point: [found[hit.id] for hit in store.search(point, K)], truth, points)
    base = rows[OURS]["median ms"]
    for row in rows.values():
        row["times ours"] = round(row["median ms"] / base, 3)

    report = index_sources(documents, folder / "again", encoder=Known(encoder, dict(zip(texts, matrix, strict=True))))
    again = index_sources(documents, folder / "again", encoder=encoder)
    return {
        "documents": count,
        "dim": int(matrix.shape[1]),
        "queries": len(points),
        "k": K,
        "methods": rows,
        "target": {"median ms": TARGET_MS, "met": base < TARGET_MS},
        "recall of polyvec, dense": exact,
        "first query of a process, ms": round(first * 1e3, 1),
        "vector index": {"kind": kind, "seconds": round(building, 2), "recall": approximate},
        "writing, documents a second": {
            "add in one commit, vectors given": round(count / writing),
            "optimize (keyword index), seconds": round(optimizing, 2),
            "index_sources, vectors at hand": round(report.documents_per_second),
            "index_sources, nothing changed": round(again.documents_per_second),
        },
        "bytes on disk a document": round((store.stats().bytes_on_disk or 0) / count),
    }


class Known:
    """An encoder that looks vectors up, so that indexing is timed without the model."""

    def __init__(self, encoder: TextEncoder, vectors: dict[str, np.ndarray]) -> None:
        self.fingerprint, self.dim, self._vectors = encoder.fingerprint, encoder.dim, vectors

    def encode(self, texts: list[str]) -> np.ndarray:  # noqa: D102
        return np.stack([self._vectors[text] for text in texts])


def clustered(count: int, dim: int, seed: int) -> np.ndarray:
    """Unit vectors in 500 clusters of 40 directions each and some noise, more like texts' than independent ones."""
    places = np.random.default_rng(0)
    centres, directions = places.normal(size=(500, dim)), places.normal(size=(500, 40, dim)) / np.sqrt(40)
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 500, count)
    matrix = np.empty((count, dim), dtype=np.float32)
    for cluster in range(500):
        rows = np.flatnonzero(label == cluster)
        inside = 1.2 * generator.normal(size=(len(rows), 40)) @ directions[cluster]
        matrix[rows] = centres[cluster] + inside + 0.3 * generator.normal(size=(len(rows), dim))
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def by_size(size: int, queries: int, folder: Path, dim: int = 384) -> dict[str, Any]:
    """Exact search in memory beside the vector index, for one number of vectors."""
    matrix, points = clustered(size, dim, seed=1), list(clustered(queries, dim, seed=2))
    store = Store.create(folder / f"size-{size}", dim=dim, memory_limit=1 << 40)
    for start in range(0, size, 20_000):
        part = matrix[start : start + 20_000]
        store.add([Document(str(start + row), "") for row in range(len(part))], part)
    store.optimize()
    truth = brute_force(matrix)
    exact = timed(lambda point: store.search(point, K), points)
    first_exact = seconds(lambda: Store.open(store.path, memory_limit=1 << 40).search(points[0], K))
    scanned = timed(lambda point: Store.open(store.path, memory_limit=0).search(point, K), points[:10])
    started = time.perf_counter()
    kind = store.build_vector_index(force=True)
    building = time.perf_counter() - started
    indexed = timed(lambda point: store.search(point, K), points)
    first_indexed = seconds(lambda: Store.open(store.path, memory_limit=0).search(points[0], K))
    return {
        "vectors": size,
        "MiB": round(matrix.nbytes / 2**20),
        "in memory, median ms": exact["median ms"],
        "with the index, median ms": indexed["median ms"],
        "scanning the disk, median ms": scanned["median ms"],
        "first query in memory, ms": round(first_exact * 1e3, 1),
        "first query with the index, ms": round(first_indexed * 1e3, 1),
        "index": kind,
        "index seconds": round(building, 2),
        "index recall": recall(lambda point: [int(hit.id) for hit in store.search(point, K)], truth, points),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--sizes", type=int, nargs="*", default=[20_000, 60_000, 120_000, 175_000, 250_000])
    parser.add_argument("--to", default="results/benchmarks/store_search.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = debian(options.documents, options.queries, folder)
        for method, row in result["methods"].items():
            print(f"{method}: {row}", flush=True)
        sizes = []
        for size in options.sizes:
            sizes.append(by_size(size, options.queries, folder))
            print(sizes[-1], flush=True)
    versions = environment() | {package: version(package) for package in ("faiss-cpu", "lancedb")}
    write_json(
        options.to,
        {"benchmark": "store_search", "debian": result, "sizes": sizes, "versions": versions, "machine": machine()},
    )


if __name__ == "__main__":
    main()
