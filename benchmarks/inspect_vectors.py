"""`polyvec inspect` on a large file: time and memory of the whole command, and its neighbours beside scikit-learn's.

    python benchmarks/inspect_vectors.py [--rows 1000000] [--dim 384] [--to results/benchmarks/inspect.json]

The vectors are generated block by block in a temporary folder: clusters around Gaussian centres, a mean, copies. Each
file is examined by a process of its own, as the command does it (start of Python, reading, PNG and page included); its
peak memory is the kernel's count of resident pages, which for a mapped file includes those of the file. The promise is
one million vectors of 384 dimensions in less than 2 minutes and 4 GB on two cores.

The peer: the exact nearest neighbours of the sample, from which hubness is computed, by scikit-learn's
`NearestNeighbors(metric="cosine", algorithm="brute")`, in one run with polyvec's.
"""
# Not called inspect.py: beside other scripts it would hide Python's own module of that name.

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.neighbors import NearestNeighbors

from polyvec.assess.health.neighbours import neighbours_within
from polyvec.core.files import write_json
from polyvec.core.progress import ProgressHandle
from polyvec.reproduce.runner import environment, machine

SECONDS, BYTES = 120, 4 * 10**9
BLOCK = 50_000
COMMAND = """
import typer
from polyvec.app import inspect_commands
app = typer.Typer()
inspect_commands.register(app)
app()
"""


def vector_blocks(rows: int, dim: int, seed: int = 0) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((500, dim), dtype=np.float32)
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        block = centres[generator.integers(500, size=count)] + generator.standard_normal((count, dim), dtype=np.float32)
        block += 0.3
        block[: count // 100] = block[-1]
        yield block


def write(path: Path, rows: int, dim: int) -> None:
    if path.suffix == ".npy":
        target = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, dim))
        start = 0
        for block in vector_blocks(rows, dim):
            target[start : start + len(block)] = block
            start += len(block)
        target.flush()
        return
    schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), dim))])
    start = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for block in vector_blocks(rows, dim):
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), dim)
            ids = pa.array(np.arange(start, start + len(block)))
            writer.write_table(pa.table([ids, vectors], schema=schema))
            start += len(block)


def measured(path: Path) -> dict[str, float | int | str | bool]:
    """Examine the file in another process."""
    outputs = ["--html", str(path.with_suffix(".html")), "--png", str(path.with_suffix(".png"))]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(path), "--json", "--quiet", *outputs], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"inspect ended with code {process.returncode}")
    peak = usage.ru_maxrss * 1024
    return {
        "format": path.suffix.lstrip("."),
        "file_bytes": path.stat().st_size,
        "seconds": round(seconds, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_resident_bytes": peak,
        "in_time": seconds < SECONDS,
        "in_memory": peak < BYTES,
    }


def loading(path: Path) -> dict[str, float]:
    """Read the file alone into memory, in another process."""
    code = "import sys; from polyvec import Vectors; Vectors.load(sys.argv[1])"
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"Vectors.load ended with code {process.returncode}")
    return {
        "load_seconds": round(time.perf_counter() - started, 1),
        "load_peak_resident_bytes": usage.ru_maxrss * 1024,
    }


def neighbour_seconds(rows: int, dim: int, k: int = 10) -> dict[str, float]:
    """Seconds for the neighbours of a sample, here and with scikit-learn; best of two."""
    unit = np.concatenate(list(vector_blocks(rows, dim, seed=1)))
    unit = unit[rows // 100 :]  # without the copies
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    numbers = np.arange(len(unit))
    peer = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(unit)
    times: dict[str, list[float]] = {"polyvec": [], "scikit-learn": []}
    for _ in range(2):
        started = time.perf_counter()
        found = neighbours_within(unit, numbers, k, ProgressHandle())
        times["polyvec"].append(time.perf_counter() - started)
        started = time.perf_counter()
        expected = peer.kneighbors(return_distance=False)
        times["scikit-learn"].append(time.perf_counter() - started)
    agreement = float(np.mean([len(np.intersect1d(*pair)) / k for pair in zip(found.nearest, expected, strict=True)]))
    best = {name: min(seconds) for name, seconds in times.items()}
    return {
        "rows": len(unit),
        "polyvec_seconds": round(best["polyvec"], 2),
        "scikit_learn_seconds": round(best["scikit-learn"], 2),
        "times_faster": round(best["scikit-learn"] / best["polyvec"], 2),
        "same_neighbours": round(agreement, 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--sample", type=int, default=20_000, help="rows for the comparison with scikit-learn")
    parser.add_argument("--formats", nargs="+", choices=("npy", "parquet"), default=["npy", "parquet"])
    parser.add_argument("--to", default="results/benchmarks/inspect.json")
    options = parser.parse_args()

    results = []
    for kind in options.formats:
        with tempfile.TemporaryDirectory(prefix="polyvec-inspect-") as folder:
            path = Path(folder) / f"vectors.{kind}"
            write(path, options.rows, options.dim)
            load = round(os.getloadavg()[0], 1)
            results.append({**measured(path), **loading(path), "machine_load_at_start": load})
        row = results[-1]
        print(
            f"{kind:8s} {row['seconds']:6.1f} s ({row['processor_seconds']:.1f} s of processor time), "
            f"peak {row['peak_resident_bytes'] / 1e9:.2f} GB; Vectors.load alone {row['load_seconds']:.1f} s, "
            f"peak {row['load_peak_resident_bytes'] / 1e9:.2f} GB"
        )
    peer = neighbour_seconds(options.sample, options.dim)
    print(
        f"neighbours of {peer['rows']} rows: {peer['polyvec_seconds']:.2f} s, scikit-learn "
        f"{peer['scikit_learn_seconds']:.2f} s, {peer['times_faster']:.2f} times faster"
    )
    write_json(
        options.to,
        {
            "benchmark": "polyvec inspect on a large file",
            "rows": options.rows,
            "dim": options.dim,
            "promised": {"seconds": SECONDS, "bytes": BYTES, "rows": 1_000_000, "dim": 384, "cores": 2},
            "results": results,
            "neighbours_of_a_sample": peer,
            "versions": environment(),
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
