"""Fixed dimensional encodings: time of encoding beside other implementations, and two-stage search beside exact search.

    python benchmarks/fixed_dimensional_encoding.py [--fastembed PYTHON] [--plaid PYTHON]

Documents are the token vectors of 2,000 package descriptions (MiniLM, 384 dimensions), queries those of 200 synopses;
both are computed once and cached. Encoding is timed on the first 300 documents at (R, k, d_proj) = (20, 5, 16), against
a plain NumPy reference of the same meaning (document by document, repetition by repetition, cell by cell) and, where
the interpreter of an environment with fastembed is given, against its MUVERA post-processor. Methods take turns, so
that other load hits them alike; the ratios are those of the best processor times, every method on one thread.

Search: exact Chamfer scores of all documents, the two-stage index at several numbers of candidates, the single-vector
heuristic with an exact search of all token vectors at the same numbers, and, where an interpreter with fast-plaid is
given, PLAID. Recall@10 is the share of the exact ten best that are found.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402 (after the number of threads is set)

REPETITIONS, BITS, PROJECTION = 20, 5, 16


def reference(sets: list[np.ndarray], planes: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Document encodings as one would write them down. `planes` is (R, d, k), `signs` (R, d, p)."""
    cells = 1 << planes.shape[2]
    weights = 1 << np.arange(planes.shape[2])
    distances = np.array([[bin(one ^ other).count("1") for other in range(cells)] for one in range(cells)])
    encodings = []
    for vectors in sets:
        blocks = []
        for plane, sign in zip(planes, signs, strict=True):
            codes = (vectors @ plane > 0) @ weights
            projected = vectors @ sign / np.sqrt(sign.shape[1])
            block = np.empty((cells, sign.shape[1]), dtype=np.float32)
            for cell in range(cells):
                members = codes == cell
                if members.any():
                    block[cell] = projected[members].mean(axis=0)
                else:
                    block[cell] = projected[distances[cell, codes].argmin()]
            blocks.append(block)
        encodings.append(np.concatenate(blocks).reshape(-1))
    return np.stack(encodings) / np.sqrt(np.float32(len(planes)))


def worker(kind: str, folder: Path) -> None:
    """What runs in another environment: prepares, then does one round for each line that it reads."""
    values, bounds = np.load(folder / "values.npy"), np.load(folder / "offsets.npy")
    sets = [values[start:end] for start, end in pairwise(bounds)]
    answer: dict[str, object] = {}
    if kind == "fastembed":
        import fastembed
        from fastembed.postprocess import Muvera

        encoder = Muvera(values.shape[1], BITS, PROJECTION, REPETITIONS)
        answer["version"] = fastembed.__version__

        def action() -> None:
            for one in sets:
                encoder.process_document(one)
    else:
        from importlib.metadata import version

        import torch
        from fast_plaid import search

        torch.set_num_threads(1)
        asked, ends = np.load(folder / "queries.npy"), np.load(folder / "query_offsets.npy")
        queries = [torch.from_numpy(asked[start:end])[None] for start, end in pairwise(ends)]
        index = search.FastPlaid(index=str(folder / "plaid"), device="cpu")
        started = time.process_time()
        index.create(documents_embeddings=[torch.from_numpy(one) for one in sets])
        answer |= {"version": version("fast-plaid"), "build_seconds": time.process_time() - started}

        def action() -> None:
            found = [[hit[0] for hit in index.search(query, top_k=10)[0]] for query in queries]
            answer["found"] = [[int(number) for number in row] for row in found]

    for _ in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        action()
        seconds = [time.perf_counter() - wall, time.process_time() - processor]
        print("RESULT " + json.dumps({**answer, "seconds": seconds}), flush=True)


class Peer:
    """A worker in another environment that is told when to run."""

    def __init__(self, python: str, kind: str, folder: Path) -> None:
        command = [python, __file__, "--worker", kind, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.last: dict = {}

    def __call__(self) -> tuple[float, float]:
        """One round: wall-clock and processor seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("RESULT "):
                self.last = json.loads(line.removeprefix("RESULT "))
                return tuple(self.last["seconds"])
        raise SystemExit(f"the worker stopped with code {self.process.wait()}")

    def close(self) -> None:
        """No more rounds."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def timed(action) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def encoding(sets, folder: Path, options: argparse.Namespace) -> dict:
    from polyvec.compress import FixedDimensionalEncoding

    part = sets[: options.encoded]
    encoder = FixedDimensionalEncoding(REPETITIONS, BITS, PROJECTION).fit(part)
    drawn, width = encoder._sketch, part.dim
    planes = drawn.planes.reshape(width, REPETITIONS, BITS).transpose(1, 0, 2).copy()
    signs = drawn.signs.reshape(width, REPETITIONS, PROJECTION).transpose(1, 0, 2).astype(np.float32)
    listed = list(part)
    difference = np.abs(reference(listed, planes, signs) - encoder.transform_documents(part))
    actions = {
        "polyvec": lambda: timed(lambda: encoder.transform_documents(part)),
        "numpy reference": lambda: timed(lambda: reference(listed, planes, signs)),
    }
    peer = None
    if options.fastembed:
        np.save(folder / "values.npy", part.values)
        np.save(folder / "offsets.npy", part.offsets)
        peer = Peer(options.fastembed, "fastembed", folder)
        actions["fastembed Muvera"] = peer
    times: dict[str, list] = {name: [] for name in actions}
    for _ in range(options.repeats):
        for name, action in actions.items():
            times[name].append(action())
    if peer:
        peer.close()
    best = {name: np.array(rounds).min(axis=0) for name, rounds in times.items()}
    result = {
        "documents": len(part), "vectors": len(part.values), "dim": width, "encoding": encoder.n_features_out_,
        "share_of_numbers_equal_to_the_reference": round(float((difference < 1e-5).mean()), 6),
        "milliseconds_a_document": {name: round(1e3 * both[1] / len(part), 4) for name, both in best.items()},
        "wall_milliseconds_a_document": {name: round(1e3 * both[0] / len(part), 4) for name, both in best.items()},
        "times_faster": {
            name: round(both[1] / best["polyvec"][1], 2) for name, both in best.items() if name != "polyvec"
        },
    }  # fmt: skip
    if peer:
        result["fastembed"] = peer.last["version"]
    return result


def searching(queries, documents, folder: Path, options: argparse.Namespace) -> dict:
    from polyvec.compress import FixedDimensionalEncoding
    from polyvec.search import MultiVectorIndex, chamfer_matrix, single_vector_candidates

    exact: list[np.ndarray] = []
    encoder = FixedDimensionalEncoding(REPETITIONS, BITS, PROJECTION).fit(documents)
    index = MultiVectorIndex(encoder, precision="int8")
    built = timed(lambda: index.add(documents))[1]
    each = [queries[number : number + 1] for number in range(len(queries))]
    found: dict[str, list] = {}

    def run_exact() -> None:
        exact[:] = [chamfer_matrix(one, documents)[0].argsort()[::-1][:10] for one in each]

    def two_stages(count: int, carve: float | None = None) -> None:
        name = f"two stages, {count} candidates" + (", ball carving" if carve else "")
        found[name] = [index.search(one, 10, count, carve=carve)[1][0] for one in each]

    def heuristic(count: int) -> None:
        name = f"single-vector heuristic, {count} candidates"
        rows = []
        for one in each:
            chosen = single_vector_candidates(one[0], documents, count)
            scores = chamfer_matrix(one, documents[chosen])[0]
            rows.append(chosen[np.argsort(-scores)[:10]])
        found[name] = rows

    actions = {"exact Chamfer": lambda: timed(run_exact)}
    for count in (20, 50, 100, 200):
        actions[f"two stages, {count} candidates"] = lambda count=count: timed(lambda: two_stages(count))
    actions["two stages, 100 candidates, ball carving"] = lambda: timed(lambda: two_stages(100, 0.7))
    for count in (20, 50, 100):
        actions[f"single-vector heuristic, {count} candidates"] = lambda count=count: timed(lambda: heuristic(count))
    peer = None
    if options.plaid:
        arrays = {
            "values": documents.values, "offsets": documents.offsets,
            "queries": queries.values, "query_offsets": queries.offsets,
        }  # fmt: skip
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        peer = Peer(options.plaid, "plaid", folder)
        actions["PLAID (fast-plaid)"] = peer
    times: dict[str, list] = {name: [] for name in actions}
    for _ in range(options.repeats):
        for name, action in actions.items():
            times[name].append(action())
    rows = []
    if peer:
        peer.close()
        found["PLAID (fast-plaid)"] = peer.last["found"]
    slowest = np.array(times["exact Chamfer"]).min(axis=0)
    for name, rounds in times.items():
        best = np.array(rounds).min(axis=0)
        overlap = [
            len(set(map(int, a)) & set(map(int, b))) / 10 for a, b in zip(found.get(name, exact), exact, strict=True)
        ]
        rows.append(
            {
                "method": name,
                "milliseconds_a_query": round(1e3 * best[1] / len(queries), 3),
                "wall_milliseconds_a_query": round(1e3 * best[0] / len(queries), 3),
                "times_faster_than_exact": round(slowest[1] / best[1], 2),
                "recall@10": round(float(np.mean(overlap)), 4),
            }
        )
    result = {
        "documents": len(documents), "vectors": len(documents.values), "queries": len(queries), "vectors_kept": "int8",
        "build_seconds": round(built, 2), "bytes_a_document": round(index.nbytes / len(index)),
        "bytes_a_document_as_float32_vectors": round(documents.nbytes / len(documents)), "results": rows,
    }  # fmt: skip
    if peer:
        result["fast-plaid"] = {"version": peer.last["version"], "build_seconds": round(peer.last["build_seconds"], 2)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoded", type=int, default=300, help="documents whose encoding is timed")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fastembed", help="interpreter of an environment with fastembed")
    parser.add_argument("--plaid", help="interpreter of an environment with fast-plaid")
    parser.add_argument("--to", default="results/benchmarks/fixed_dimensional_encoding.json")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker[0], Path(options.worker[1]))
        return
    from datetime import UTC, datetime

    from polyvec.core.files import write_json
    from polyvec.reproduce.base import Run
    from polyvec.reproduce.muvera import REPRODUCTION
    from polyvec.reproduce.muvera_data import prepare
    from polyvec.reproduce.report import Report
    from polyvec.reproduce.runner import environment, machine

    report = Report("muvera", "small", [0])
    _, tokens = prepare(Run(report, 0, "small"), REPRODUCTION.settings["small"])
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        encoded = encoding(tokens.descriptions, Path(folder), options)
        print(json.dumps(encoded, indent=1))
        searched = searching(tokens.synopses[: options.queries], tokens.descriptions, Path(folder), options)
    for row in searched["results"]:
        speed = f"{row['milliseconds_a_query']:8.2f} ms a query, {row['times_faster_than_exact']:6.1f} x"
        print(f"{row['method']:45s} {speed}, recall@10 {row['recall@10']:.3f}")
    write_json(
        options.to,
        {
            "benchmark": "fixed dimensional encodings",
            "date": datetime.now(UTC).date().isoformat(),
            "size": [REPETITIONS, BITS, PROJECTION],
            "threads": int(os.environ["OPENBLAS_NUM_THREADS"]),
            "repeats": options.repeats,
            "data": report.data,
            "encoding": encoded,
            "search": searched,
            "versions": environment(),
            "machine": {**machine(), "load_before": round(load, 1)},
        },
    )


if __name__ == "__main__":
    main()
