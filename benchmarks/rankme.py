"""RankMe from a streamed Gram matrix against a singular value decomposition: time and memory in one run.

    python benchmarks/rankme.py [--sizes 20000x256 50000x384 25600x1024] [--to results/benchmarks/rankme.json]

The embeddings are generated (Gaussian, spread falling with the dimension as i^-0.5, float32) and lie in a memory-mapped
file. Peers are what other tools do with the whole matrix: `numpy.linalg.svd` and `torch.linalg.svdvals`, both float32.
Each method runs in a process of its own; memory is how much its peak resident size grows over what it was before. Pages
of the mapped file that a method touches count as its memory, although the system can drop them. Time is the best of the
repeats, ratios are peer over polyvec: higher is better. One thread by default: steadiest on a shared machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from polyvec.core.files import write_json
from polyvec.reproduce.runner import environment, machine

METHODS = ("streamed Gram", "RankMe.update in batches of 1024", "numpy SVD", "torch SVD")


def make(path: Path, rows: int, dim: int) -> None:
    draw = np.random.default_rng(0)
    spread = np.arange(1, dim + 1, dtype=np.float32) ** -0.5
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, dim))
    for start in range(0, rows, 8192):
        part = stored[start : start + 8192]
        part[:] = draw.standard_normal(part.shape, dtype=np.float32) * spread
    stored.flush()


def score(method: str, matrix: np.ndarray) -> float:
    import torch

    from polyvec.assess import RankMe, rankme

    if method == "streamed Gram":
        return rankme(matrix)
    if method == "RankMe.update in batches of 1024":
        metric = RankMe(matrix.shape[1])
        for start in range(0, len(matrix), 1024):
            metric.update(torch.from_numpy(np.array(matrix[start : start + 1024])))
        return metric.compute()
    if method == "numpy SVD":
        values = np.linalg.svd(matrix, compute_uv=False)
    else:
        values = torch.linalg.svdvals(torch.from_numpy(np.array(matrix))).numpy()
    shares = values / values.sum() + 1e-7
    return float(np.exp(-np.sum(shares * np.log(shares))))


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def work(method: str, path: str, repeats: int, answer: str) -> None:
    score(method, np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32))  # imports and first calls
    matrix = np.load(path, mmap_mode="r")
    before = peak_bytes()
    seconds, value = [], 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        value = score(method, matrix)
        seconds.append(time.perf_counter() - started)
    found = {"seconds": min(seconds), "bytes": peak_bytes() - before, "score": value}
    Path(answer).write_text(json.dumps(found))


def measure(method: str, path: Path, repeats: int, threads: int) -> dict[str, float]:
    answer = path.with_suffix(".json")
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)  # read by the child when it loads its libraries
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=work, args=(method, str(path), repeats, str(answer)))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"{method} ended with exit code {process.exitcode}")
    return json.loads(answer.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", nargs="+", default=["20000x256", "50000x384", "25600x1024"], help="rows x dimensions"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--to", default="results/benchmarks/rankme.json")
    arguments = parser.parse_args()
    started = time.perf_counter()
    results = []
    for size in arguments.sizes:
        rows, dim = (int(part) for part in size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "embeddings.npy"
            make(path, rows, dim)
            found = {method: measure(method, path, arguments.repeats, arguments.threads) for method in METHODS}
        own = found["streamed Gram"]
        ratios = {
            method: {
                "time": round(each["seconds"] / own["seconds"], 2),
                "memory": round(each["bytes"] / max(own["bytes"], 1), 2),
                "score difference, relative": abs(each["score"] / own["score"] - 1),
            }
            for method, each in found.items()
            if method != "streamed Gram"
        }
        results.append(
            {"rows": rows, "dim": dim, "matrix_bytes": rows * dim * 4, "methods": found, "over streamed Gram": ratios}
        )
        print(f"{rows} x {dim} ({rows * dim * 4 / 1e6:.0f} MB)")
        for method, each in found.items():
            print(f"  {method:34} {each['seconds']:8.3f} s  {each['bytes'] / 1e6:8.1f} MB  {each['score']:10.4f}")
        for method, each in ratios.items():
            print(f"  {method:34} time x {each['time']:g}, memory x {each['memory']:g}")
    content = {
        "benchmark": "rankme",
        "date": datetime.now(UTC).date().isoformat(),
        "threads": arguments.threads,
        "wall_seconds": round(time.perf_counter() - started, 1),
        "versions": environment(),
        "machine": machine(),
        "results": results,
    }
    if arguments.to:
        write_json(arguments.to, content)


if __name__ == "__main__":
    main()
