"""Index and search end to end against txtai: the same documents, the same MiniLM weights, the same cores, in turn.

    python benchmarks/txtai_end_to_end.py                              # 20,000 package descriptions, all encoded
    python benchmarks/txtai_end_to_end.py --documents 2000 --encoded 300

Two parts, each step in a process of its own (its peak memory is that process's alone):

- `end to end`: the first `--encoded` descriptions are read, encoded, stored and made searchable.
- `at size`: all `--documents` are stored and made searchable with vectors that both are given (looked up by text), so
  that indexing and search are compared at full size also where encoding all texts with txtai would take hours. Queries
  (first sentences of descriptions that are not in the index) are then asked as texts, each encoded by the engine's own
  model, and once more with vectors at hand: search alone.

Methods take turns within a round, and the order changes from round to round; processor time stands beside wall time.
Recall is against the exact ten nearest among the full float32 vectors. All keep texts and metadata and give them back.

    polyvec      index_sources(documents, folder), its defaults: vectors, texts, metadata, and a keyword index
    txtai        Embeddings(path=model, content=True): what its documentation recommends, FAISS and SQLite
    txtai-fast   the same with sentence-transformers as encoder (sorts by length, cuts at 256 tokens)

txtai keeps no keyword index in either configuration. `--peer-python` names an interpreter that has txtai, where it is
not installed beside polyvec.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

METHODS = {
    "polyvec": "index_sources(documents, folder) and Store.search, defaults (exact search; keyword index included)",
    "txtai": "Embeddings(path=model, content=True), defaults (FAISS IVF with flat cells above 5,000 vectors, SQLite)",
    "txtai-fast": "the same with method='sentence-transformers', its quickest encoder of these weights",
}
K = 10
COLUMNS = {
    "documents per second": "higher", "encoded and indexed per second": "higher",
    "index peak MiB": "lower", "search peak MiB": "lower", "bytes on disk a document": "lower",
    "query ms, text": "lower", "query ms p95, text": "lower",
    "query ms, vector": "lower", "query ms p95, vector": "lower", "recall@10": "higher",
}  # fmt: skip


# -- in the child process ---------------------------------------------------------------------------------------------


def peak_mebibytes() -> int:
    """Most memory this process has held; what `getrusage` says includes the parent's, from before the program began."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024)


class GivenVectors:
    """Vectors by text, as an encoder for polyvec and as a transform for txtai."""

    def __init__(self, folder: Path) -> None:
        self.matrix = np.load(folder / "vectors.npy", mmap_mode="r")
        texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
        self.row = {text: number for number, text in enumerate(texts)}
        self.dim = int(self.matrix.shape[1])
        self.fingerprint = json.loads((folder / "fingerprint.json").read_text(encoding="utf-8"))

    def encode(self, texts: list[str]) -> np.ndarray:  # noqa: D102
        return np.asarray(self.matrix[[self.row[text] for text in texts]], dtype=np.float32)


def read_documents(folder: Path, count: int) -> list[dict[str, Any]]:
    with open(folder / "documents.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line, _ in zip(file, range(count), strict=False)]


def txtai_settings(method: str, model: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"path": model, "content": True}
    # "transformers" is what txtai chooses by itself; said here, since an index of given vectors remembers another
    return settings | {"method": "sentence-transformers" if method == "txtai-fast" else "transformers"}


def child_index(method: str, folder: Path, count: int, target: str, given: bool, model: str) -> dict[str, Any]:
    """Index the documents into `target`; times count from the documents as plain values to a finished index on disk."""
    rows = read_documents(folder, count)
    vectors = GivenVectors(folder) if given else None
    begin, used = time.perf_counter(), time.process_time()
    if method == "polyvec":
        from polyvec.data import Document
        from polyvec.search import index_sources

        documents = [Document(**row) for row in rows]
        report = index_sources(documents, target, encoder=vectors, show_progress=False)
        assert report.added == count
    else:
        from txtai import Embeddings

        settings = txtai_settings(method, model)
        if vectors is not None:
            lookup = vectors.encode
            settings = {"method": "external", "transform": lambda texts: lookup(texts), "content": True}
        embeddings = Embeddings(**settings)
        embeddings.index((row["id"], txtai_data(row), None) for row in rows)
        assert embeddings.count() == count
        if vectors is not None:
            embeddings.config.pop("transform")
        embeddings.save(target)
    seconds, processor = time.perf_counter() - begin, time.process_time() - used
    return {"seconds": seconds, "processor seconds": processor, "peak MiB": peak_mebibytes()}


def txtai_data(row: dict[str, Any]) -> dict[str, Any]:
    """The text that is embedded, and all else that polyvec's hits give back."""
    text = f"{row['title']}\n{row['text']}" if row["title"] else row["text"]
    return {"text": text, "title": row["title"], "source": row["source"], **row["metadata"]}


def child_search(method: str, folder: Path, target: str, given: bool, model: str) -> dict[str, Any]:
    """Ask every query once after the first five, one after the other."""
    queries = json.loads((folder / "queries.json").read_text(encoding="utf-8"))
    begin = time.perf_counter()
    search: Callable[[str], list[str]]
    vectors = GivenVectors(folder) if given else None
    if method == "polyvec":
        from polyvec.search import Store

        store = Store.open(target, encoder=vectors, read_only=True)

        def search(query: str) -> list[str]:
            return [hit.id for hit in store.search(query, K)]
    else:
        from txtai import Embeddings

        config = txtai_settings(method, model)
        if vectors is not None:
            lookup = vectors.encode
            config = {"method": "external", "transform": lambda texts: lookup(texts), "content": True}
        embeddings = Embeddings()
        embeddings.load(target, config=config)

        def search(query: str) -> list[str]:
            return [hit["id"] for hit in embeddings.search(query, K)]

    search(queries[0])
    first = time.perf_counter() - begin
    for query in queries[:20]:
        search(query)
    times, processor, found = [], time.process_time(), []
    for query in queries:
        started = time.perf_counter()
        found.append(search(query))
        times.append((time.perf_counter() - started) * 1e3)
    used = (time.process_time() - processor) * 1e3 / len(queries)
    return {"ms": times, "processor ms": used, "first query s": first, "found": found, "peak MiB": peak_mebibytes()}


# -- in the parent ----------------------------------------------------------------------------------------------------


def run_child(python: str, *arguments: str) -> dict[str, Any]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "PYTHONWARNINGS": "ignore"}
    command = [python, __file__, "--child", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def disk_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def prepare(folder: Path, count: int, queries: int) -> dict[str, list[list[str]]]:
    """Write documents, queries and vectors for the children; the true ten nearest of each query, by part."""
    from polyvec.data import load
    from polyvec.data.catalogue import cached_array
    from polyvec.encode.text import TextEncoder

    everything = load("debian-packages", view="texts")
    documents, held_out = everything[:count], everything[-queries:]
    if count + queries > len(everything):
        raise SystemExit(f"--documents: got {count}, needs at most {len(everything) - queries}")
    with open(folder / "documents.jsonl", "w", encoding="utf-8") as file:
        for document in documents:
            row = {"id": document.id, "text": document.text, "title": document.title, "source": document.source}
            file.write(json.dumps({**row, "metadata": dict(document.metadata)}, ensure_ascii=False) + "\n")
    asked = [document.text.splitlines()[0] for document in held_out]
    encoder = TextEncoder()
    texts = [document.embedding_text for document in documents]
    key = [str(encoder.fingerprint["sha256"]), encoder.precision, *texts]
    matrix = np.asarray(cached_array("minilm-debian-store", key, lambda: encoder.encode(texts)))
    points = encoder.encode(asked)
    np.save(folder / "vectors.npy", np.concatenate([matrix, points]))
    (folder / "texts.json").write_text(json.dumps([*texts, *asked]), encoding="utf-8")
    (folder / "queries.json").write_text(json.dumps(asked), encoding="utf-8")
    (folder / "fingerprint.json").write_text(json.dumps(encoder.fingerprint), encoding="utf-8")
    best = np.argsort(-(points @ matrix.T), axis=1, kind="stable")[:, :K]
    return [[documents[row].id for row in rows] for rows in best]


def recall(found: list[list[str]], truth: list[list[str]]) -> float:
    hits = sum(len(set(one) & set(other)) for one, other in zip(found, truth, strict=True))
    return round(hits / (K * len(truth)), 4)


def rounded(values: list[float], digits: int = 2) -> float:
    return round(statistics.median(values), digits)


def measure(options: argparse.Namespace, folder: Path, truth: list[list[str]], model: str) -> dict[str, dict[str, Any]]:
    """Every method, round by round; medians over the rounds."""
    python = {name: sys.executable if name == "polyvec" else options.peer_python for name in options.methods}
    raw: dict[str, dict[str, list[Any]]] = {name: {} for name in options.methods}

    def note(name: str, step: str, value: Any) -> None:
        raw[name].setdefault(step, []).append(value)
        shown = {key: round(item, 2) for key, item in value.items() if isinstance(item, (int, float))}
        print(f"{name}: {step}: {shown}", file=sys.stderr, flush=True)

    for turn in range(options.rounds):
        order = options.methods[turn % len(options.methods) :] + options.methods[: turn % len(options.methods)]
        for name in order:
            target = folder / f"given-{name}-{turn}"
            work = ["--method", name, "--work", str(folder), "--model", model, "--target", str(target)]
            value = run_child(python[name], "index", *work, "--documents", str(options.documents), "--given")
            note(name, "index, vectors given", value | {"bytes": disk_bytes(target)})
        for name in order:
            target = folder / f"given-{name}-{turn}"
            work = ["--method", name, "--work", str(folder), "--model", model, "--target", str(target)]
            note(name, "search, text", run_child(python[name], "search", *work))
            note(name, "search, vector", run_child(python[name], "search", *work, "--given"))
        for name in order if options.encoded else []:
            target = folder / f"encoded-{name}-{turn}"
            work = ["--method", name, "--work", str(folder), "--model", model, "--target", str(target)]
            note(name, "end to end", run_child(python[name], "index", *work, "--documents", str(options.encoded)))
    return {name: summary(steps, options, truth) | {"what": METHODS[name]} for name, steps in raw.items()}


def summary(steps: dict[str, list[Any]], options: argparse.Namespace, truth: list[list[str]]) -> dict[str, Any]:
    index, text, vector = steps["index, vectors given"], steps["search, text"], steps["search, vector"]
    row = {
        "documents per second": rounded([options.documents / one["seconds"] for one in index], 1),
        "processor ms a document": rounded([one["processor seconds"] * 1e3 / options.documents for one in index], 3),
        "bytes on disk a document": round(index[-1]["bytes"] / options.documents),
        "search peak MiB": max(one["peak MiB"] for one in text),
        "recall@10": recall(text[-1]["found"], truth),
        "first query of a process, s": rounded([one["first query s"] for one in text]),
    }
    for kind, found in (("text", text), ("vector", vector)):
        row[f"query ms, {kind}"] = rounded([statistics.median(one["ms"]) for one in found])
        row[f"query ms p95, {kind}"] = rounded([float(np.percentile(one["ms"], 95)) for one in found])
        row[f"query processor ms, {kind}"] = rounded([one["processor ms"] for one in found])
    if whole := steps.get("end to end"):
        row["encoded and indexed per second"] = rounded([options.encoded / one["seconds"] for one in whole], 2)
        row["end to end, processor ms a document"] = rounded(
            [one["processor seconds"] * 1e3 / options.encoded for one in whole], 1
        )
        row["index peak MiB"] = max(one["peak MiB"] for one in whole)
    return row


def compared(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Column by column, polyvec beside the better of the peers."""
    found = []
    peers = [row for name, row in rows.items() if name != "polyvec"]
    for column, better in COLUMNS.items():
        if "polyvec" not in rows or not peers or column not in rows["polyvec"]:
            continue
        ours = rows["polyvec"][column]
        theirs = (max if better == "higher" else min)(peer[column] for peer in peers)
        ahead = ours >= theirs if better == "higher" else ours <= theirs
        found.append({"column": column, "better": better, "polyvec": ours, "best peer": theirs, "ahead": ahead})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000, help="documents in the index that is searched")
    parser.add_argument("--encoded", type=int, help="documents that are encoded end to end (default: all; 0: none)")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has txtai")
    parser.add_argument("--to", default="results/benchmarks/txtai_end_to_end.json")
    for name in ("--child", "--method", "--target", "--model"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--given", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work = (options.target, options.given, options.model)
        if options.child == "index":
            result = child_index(options.method, options.work, options.documents, *work)
        else:
            result = child_search(options.method, options.work, *work)
        print(json.dumps(result))
        return
    from polyvec.core.files import write_json
    from polyvec.data.catalogue import version_used
    from polyvec.encode.text.bundled import bundled_folder
    from polyvec.reproduce.runner import environment, machine

    options.encoded = options.documents if options.encoded is None else min(options.encoded, options.documents)
    load_before = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = prepare(folder, options.documents, options.queries)
        rows = measure(options, folder, truth, str(bundled_folder()))
    columns = compared(rows)
    write_json(
        options.to,
        {
            "benchmark": "txtai_end_to_end",
            "date": datetime.now(UTC).date().isoformat(),
            "documents": options.documents,
            "encoded end to end": options.encoded,
            "queries": options.queries,
            "rounds": options.rounds,
            "data": version_used("debian-packages"),
            "machine": {**machine(), "load_before": load_before},
            "versions": environment() | {package: metadata.version(package) for package in ("txtai", "faiss-cpu")},
            "methods": rows,
            "columns": columns,
        },
    )
    for one in columns:
        state = "ahead" if one["ahead"] else "BEHIND"
        print(f"{one['column']:32} polyvec {one['polyvec']:>10}  best of txtai {one['best peer']:>10}  {state}")


if __name__ == "__main__":
    main()
