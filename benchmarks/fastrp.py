"""FastRP's speed and memory beside what a user would otherwise run, on a real and on a generated graph, in one run.

    python benchmarks/fastrp.py [--full] [--nodes 200000] [--edges 1000000] [--repeats 5] [--to FILE]

The graphs are Debian's package dependencies and a power-law graph (`--full`: 1M nodes and 5M edges). All FastRP rows
compute the same thing: 4 hops, weights (0, 0, 1, 4), 128 dimensions, unit rows, from a float32 CSR matrix. The peers
are the sparse formulation of the official code (scipy CSR times a dense matrix, in float32 and in scipy's usual
float64), Cleora (`pycleora`, 4 iterations, no whitening) and ProNE (`nodevectors`); the last two compute other
embeddings, and are left out where they are not installed. Each method runs in a process of its own, after a warm-up on
a tiny graph; times (wall clock, and processor time of all threads) are the best of several repeats of the whole call,
memory is the growth of the process over what it held with the graph loaded.

Two bounds come from the measured bandwidth of a triad (a = b + 2 c) on all cores: `compulsory` moves every matrix once
through memory, which only a graph that fits in the cache can reach; `one row per edge` reads a row of the matrix for
every edge, as when nothing is found in the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from polyvec.core.files import write_json
from polyvec.data import load
from polyvec.encode.graph import FastRP, products, sparse_projection
from polyvec.reproduce.runner import environment, machine

DIM, WEIGHTS, BETA = 128, (0.0, 0.0, 1.0, 4.0), -0.5
OURS = "polyvec, compiled"
PATIENCE = 40.0  # seconds after which a method is not repeated again


def polyvec_compiled(adjacency: sp.csr_array) -> Callable[[], Any]:
    return lambda: FastRP(DIM, WEIGHTS, BETA, seed=0).fit_transform(adjacency)


def polyvec_lean(adjacency: sp.csr_array) -> Callable[[], Any]:
    return lambda: FastRP(DIM, WEIGHTS, BETA, seed=0, keep_powers=False).fit_transform(adjacency)


def polyvec_scipy(adjacency: sp.csr_array) -> Callable[[], Any]:
    products.compiled_available = lambda: False
    return polyvec_compiled(adjacency)


def polyvec_torch(adjacency: sp.csr_array) -> Callable[[], Any]:
    return lambda: FastRP(DIM, WEIGHTS, BETA, seed=0, device="cpu").fit_transform(adjacency)


def sparse_formulation(dtype: type) -> Callable[[sp.csr_array], Callable[[], Any]]:
    """FastRP in a few lines of scipy, as the official code has it: scaled CSR matrices times a dense matrix."""

    def prepare(adjacency: sp.csr_array) -> Callable[[], Any]:
        def run() -> Any:
            degree = np.maximum(np.asarray(adjacency.sum(axis=1)).ravel().astype(dtype), 1)
            walk = sp.csr_array(sp.diags_array(1 / degree) @ adjacency.astype(dtype))
            projection = sparse_projection(adjacency.shape[0], DIM, seed=0).astype(dtype)
            correction = sp.diags_array((degree / degree.sum()) ** BETA)
            current = (walk @ (correction @ projection)).toarray().astype(dtype)
            total = np.zeros_like(current)
            for hop, weight in enumerate(WEIGHTS):
                if hop:
                    current = walk @ current
                if weight:
                    norms = np.linalg.norm(current, axis=1, keepdims=True)
                    total += weight * (current / np.where(norms > 0, norms, 1))
            return total

        return run

    return prepare


def cleora(adjacency: sp.csr_array) -> Callable[[], Any]:
    import pycleora

    upper = sp.triu(adjacency).tocoo()
    edges = (f"{a} {b}" for a, b in zip(upper.row.tolist(), upper.col.tolist(), strict=True))
    matrix = pycleora.SparseMatrix.from_iterator(edges, "complex::reflexive::node")
    return lambda: pycleora.embed(matrix, feature_dim=DIM, num_iterations=4, whiten=False)


def prone(adjacency: sp.csr_array) -> Callable[[], Any]:
    import nodevectors

    matrix = sp.csr_matrix(adjacency)
    return lambda: nodevectors.ProNE(n_components=DIM, verbose=False).fit_transform(matrix)


METHODS: dict[str, tuple[Callable[[sp.csr_array], Callable[[], Any]], str | None]] = {
    OURS: (polyvec_compiled, "numba"),
    "polyvec, compiled, keep_powers=False": (polyvec_lean, "numba"),
    "polyvec, scipy": (polyvec_scipy, None),
    "polyvec, torch on the CPU": (polyvec_torch, None),
    "sparse formulation, float32": (sparse_formulation(np.float32), None),
    "sparse formulation, float64": (sparse_formulation(np.float64), None),
    "Cleora": (cleora, "pycleora"),
    "ProNE": (prone, "nodevectors"),
}


def resident() -> int:
    """Bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """Largest number of bytes that this process ever held."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def child(method: str, path: str, repeats: int) -> None:
    """Measure one method on one graph; print JSON."""
    prepare = METHODS[method][0]
    ring = np.arange(40)
    tiny = sp.coo_array((np.ones(80, np.float32), (np.r_[ring, (ring + 1) % 40], np.r_[(ring + 1) % 40, ring]))).tocsr()
    prepare(tiny)()
    adjacency = sp.csr_array(sp.load_npz(path))
    run = prepare(adjacency)
    held, times, processor = resident(), [], []
    for number in range(repeats):
        started, before = time.perf_counter(), time.process_time()
        run()
        times.append(time.perf_counter() - started)
        processor.append(time.process_time() - before)
        if number == 0:
            first_peak = peak()
        if number and sum(times) > PATIENCE:
            break
    print(json.dumps({"seconds": times, "processor seconds": processor, "peak bytes": max(first_peak - held, 0)}))


def triad_bandwidth() -> float:
    """Bytes per second of `a = b + 2 c` on arrays far larger than the cache, all cores."""
    from numba import njit, prange

    @njit(parallel=True)
    def triad(a, b, c):
        for position in prange(a.shape[0]):
            a[position] = b[position] + np.float32(2) * c[position]

    arrays = [np.ones(50_000_000, dtype=np.float32) for _ in range(3)]
    times = []
    for _ in range(7):
        started = time.perf_counter()
        triad(*arrays)
        times.append(time.perf_counter() - started)
    return 3 * arrays[0].nbytes / min(times[1:])


def bytes_moved(nodes: int, entries: int, *, row_per_edge: bool) -> int:
    """Traffic of one fit: a sparse product, three dense ones, and a sum of two matrices."""
    matrix, graph = 4 * nodes * DIM, 8 * entries + 4 * nodes
    dense = graph + matrix + (4 * entries * DIM if row_per_edge else matrix)
    return graph + matrix + (len(WEIGHTS) - 1) * dense + 3 * matrix


def power_law(nodes: int, edges: int) -> sp.csr_array:
    """Both ends of an edge are drawn with probability in proportion to rank^-0.5: degrees follow a power law."""
    random = np.random.default_rng(0)
    chances = np.cumsum(np.arange(1, nodes + 1) ** -0.5)
    names = random.permutation(nodes)
    start, end = (names[np.searchsorted(chances / chances[-1], random.random(edges))] for _ in range(2))
    matrix = sp.coo_array((np.ones(edges, np.float32), (start, end)), shape=(nodes, nodes)).tocsr()
    matrix = sp.csr_array(matrix + matrix.T)
    matrix.data[:] = 1
    return matrix


def measure(name: str, adjacency: sp.csr_array, repeats: int, bandwidth: float) -> dict[str, Any]:
    nodes, entries = adjacency.shape[0], int(adjacency.nnz)
    result: dict[str, Any] = {
        "nodes": nodes,
        "stored entries": entries,
        "largest degree": int(np.diff(adjacency.indptr).max()),
    }
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "graph.npz")
        sp.save_npz(path, adjacency, compressed=False)
        for method, (_, package) in METHODS.items():
            if package is not None and find_spec(package) is None:
                print(f"{name}: {method} left out, {package} is not installed")
                continue
            command = [sys.executable, __file__, "--child", method, path, "--repeats", str(repeats)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
            measured = json.loads(answer.stdout.strip().splitlines()[-1])
            times = measured["seconds"]
            rows[method] = {
                "seconds": round(min(times), 4),
                "median seconds": round(float(np.median(times)), 4),
                "processor seconds": round(min(measured["processor seconds"]), 4),
                "peak MiB": round(measured["peak bytes"] / 2**20, 1),
            }
            print(f"{name}: {method}: {rows[method]}", flush=True)
    best = rows[OURS]["seconds"]
    for method, row in rows.items():
        row["times ours"] = round(row["seconds"] / best, 2)
        lean = method.endswith("keep_powers=False")
        if method == OURS or lean:
            estimate = FastRP(DIM, WEIGHTS, BETA, keep_powers=not lean).estimate_memory(nodes, entries // 2)
            row["estimated MiB"] = round(estimate / 2**20, 1)
    bounds = {
        label: bytes_moved(nodes, entries, row_per_edge=each) / bandwidth
        for label, each in (("compulsory", False), ("one row per edge", True))
    }
    result["bounds in seconds"] = {label: round(seconds, 4) for label, seconds in bounds.items()}
    result["ours over the bound"] = {label: round(best / seconds, 2) for label, seconds in bounds.items()}
    return {**result, "methods": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="1M nodes and 5M edges")
    parser.add_argument("--nodes", type=int, default=200_000)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--to", default="results/benchmarks/fastrp.json")
    parser.add_argument("--child", nargs=2, metavar=("METHOD", "GRAPH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child, options.repeats)
        return
    nodes, edges = (1_000_000, 5_000_000) if options.full else (options.nodes, options.edges)
    bandwidth = triad_bandwidth()
    print(f"triad: {bandwidth / 1e9:.1f} GB/s")
    graphs = {
        "Debian dependencies": sp.csr_array(load("debian-packages", view="graph").adjacency),
        f"power law, {nodes} nodes": power_law(nodes, edges),
    }
    versions = environment()
    versions |= {package: version(package) for package in ("pycleora", "nodevectors") if find_spec(package) is not None}
    write_json(
        options.to,
        {
            "benchmark": "fastrp",
            "setting": {"dim": DIM, "weights": WEIGHTS, "beta": BETA, "repeats": options.repeats},
            "triad GB/s": round(bandwidth / 1e9, 2),
            "graphs": {name: measure(name, graph, options.repeats, bandwidth) for name, graph in graphs.items()},
            "versions": versions,
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
