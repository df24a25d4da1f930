"""Which layout a map should use: UMAP, PaCMAP, t-SNE and PCA on real vectors, for time, memory and what they keep.

    python benchmarks/map.py [--rows 20000] [--methods umap pacmap pca] [--to results/benchmarks/map.json]

Vectors are the default text model's of Debian package descriptions (computed once and kept in the cache), without exact
copies, scaled to unit length. Each layout is made as `polyvec map` makes it, by a process of its own (imports and
compilation included), with a seed, on the cores that the process may use. Judged are

- trustworthiness (scikit-learn's, 15 neighbours, on a random sample of 5,000 rows laid out with all others): are those
  that lie together in the map near each other in the space? 1 is best.
- neighbours kept: the share of each row's 15 nearest that are among its 15 nearest in the map, over all rows.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KDTree

from polyvec.assess.map.layout import nearest_neighbours
from polyvec.core.files import write_json
from polyvec.data import load
from polyvec.data.catalogue import cached_array
from polyvec.encode.text import TextEncoder
from polyvec.reproduce.runner import environment, machine

K = 15
SAMPLE = 5000
CODE = """
import sys
import numpy as np
from polyvec.assess.map.layout import lay_out
np.save(sys.argv[2], lay_out(np.load(sys.argv[1]), sys.argv[3], seed=0, show_progress=False))
"""


def vectors(rows: int) -> np.ndarray:
    documents = load("debian-packages", view="texts")[:rows]
    encoder = TextEncoder()
    texts = [document.embedding_text for document in documents]
    key = [str(encoder.fingerprint["sha256"]), encoder.precision, *texts]
    matrix = np.asarray(cached_array("minilm-debian-store", key, lambda: encoder.encode(texts)))
    matrix = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    _, first = np.unique(matrix, axis=0, return_index=True)
    return np.ascontiguousarray(matrix[np.sort(first)])


def measured(method: str, source: Path) -> tuple[np.ndarray, dict[str, Any]]:
    target = source.with_name(f"{method}.npy")
    load_before = os.getloadavg()[0]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", CODE, str(source), str(target), method])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{method} ended with code {process.returncode}")
    return np.load(target), {
        "seconds": round(seconds, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_resident_bytes": usage.ru_maxrss * 1024,
        "machine_load_before": round(load_before, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--methods", nargs="+", default=["pca", "pacmap", "umap"])
    parser.add_argument("--to", default="results/benchmarks/map.json")
    options = parser.parse_args()

    matrix = vectors(options.rows)
    truth = nearest_neighbours(matrix, K + 1)[0][:, 1:]
    sample = np.random.default_rng(0).choice(len(matrix), min(SAMPLE, len(matrix)), replace=False)
    results = {}
    with tempfile.TemporaryDirectory(prefix="polyvec-map-") as folder:
        source = Path(folder) / "vectors.npy"
        np.save(source, matrix)
        for method in options.methods:
            points, row = measured(method, source)
            found = KDTree(points).query(points, k=K + 1, return_distance=False)
            kept = [
                len(np.intersect1d(near, mapped[mapped != number][:K])) / K
                for number, (near, mapped) in enumerate(zip(truth, found, strict=True))
            ]
            row["trustworthiness"] = round(float(trustworthiness(matrix[sample], points[sample], n_neighbors=K)), 4)
            row["neighbours_kept"] = round(float(np.mean(kept)), 4)
            results[method] = row
            print(method, row, flush=True)
    write_json(
        options.to,
        {
            "benchmark": "layout of a map",
            "rows": options.rows,
            "different_rows": len(matrix),
            "dim": matrix.shape[1],
            "neighbours": K,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "methods": results,
            "versions": environment(),
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
