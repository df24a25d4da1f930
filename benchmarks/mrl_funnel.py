"""Funnel search against exact search: counted multiply-adds, wall-clock time and what is found, in one run.

    python benchmarks/mrl_funnel.py [--rows 100000] [--dim 768] [--to results/benchmarks/mrl_funnel.json]

The vectors are generated: Gaussian coordinates whose spread falls with their number as i^-0.5, so that the first ones
matter most, as after Matryoshka training; a query is a stored vector with noise. The peers do the exact search that a
user would otherwise run: `sentence_transformers.util.semantic_search`, and a NumPy matrix product with `argpartition`.
Every time is the best of several repeats of the same batch of queries; ratios are exact search over funnel, higher is
better. Choosing the best of n scores takes time that multiply-adds do not show, so times gain less than counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sentence_transformers.util import semantic_search

from polyvec.core.files import write_json
from polyvec.reproduce.runner import environment, machine
from polyvec.search import FunnelSearch
from polyvec.search.schedule import funnel_schedule


def best_time(action: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def numpy_exact(documents: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    scores = queries @ documents.T
    best = np.argpartition(scores, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)


def overlap(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(set(one) & set(other)) / len(other) for one, other in zip(found, exact, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--to", default="results/benchmarks/mrl_funnel.json")
    options = parser.parse_args()

    generator = np.random.default_rng(0)
    spread = np.arange(1, options.dim + 1) ** -0.5
    documents = (generator.standard_normal((options.rows, options.dim)) * spread).astype(np.float32)
    asked = generator.choice(options.rows, size=options.queries, replace=False)
    noise = generator.standard_normal((options.queries, options.dim)) * spread
    queries = (documents[asked] + 0.7 * noise).astype(np.float32)
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)

    exact_ids = numpy_exact(documents, queries, options.k)
    corpus, asked_tensor = torch.from_numpy(documents), torch.from_numpy(queries)
    peers = {
        "sentence_transformers.util.semantic_search": lambda: semantic_search(asked_tensor, corpus, top_k=options.k),
        "numpy matrix product and argpartition": lambda: numpy_exact(documents, queries, options.k),
    }
    peer_seconds = {name: best_time(action, options.repeats) for name, action in peers.items()}
    for name, seconds in peer_seconds.items():
        print(f"{name:45s} {1e3 * seconds / options.queries:8.3f} ms a query")

    schedules: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
        "all coordinates (exact)": ((options.dim,), ()),
        "16, then all of 200": ((16, options.dim), (200,)),
        "32, then all of 200": ((32, options.dim), (200,)),
        "64, then all of 200": ((64, options.dim), (200,)),
        "default funnel": funnel_schedule(options.dim),
        "the paper's funnel": funnel_schedule(options.dim, smallest=8),
    }
    rows = []
    for name, (sizes, shortlists) in schedules.items():
        index = FunnelSearch(documents, sizes, shortlists)
        _, found, cost = index.search_with_cost(queries, options.k)
        seconds = best_time(lambda index=index: index.search(queries, options.k), options.repeats)
        row = {
            "schedule": name,
            "sizes": list(sizes),
            "shortlists": list(shortlists),
            "multiply_adds_a_query": cost.multiply_adds // cost.queries,
            "times_fewer_multiply_adds": round(cost.saving, 2),
            "milliseconds_a_query": round(1e3 * seconds / options.queries, 4),
            "times_faster": {peer: round(taken / seconds, 2) for peer, taken in peer_seconds.items()},
            "share_of_exact_top_k_found": round(overlap(found, exact_ids), 4),
            "own_vector_found_in_top_k": round(float((found == asked[:, None]).any(axis=1).mean()), 4),
        }
        rows.append(row)
        print(
            f"{name:45s} {row['milliseconds_a_query']:8.3f} ms a query, "
            f"{row['times_fewer_multiply_adds']:6.1f} x fewer multiply-adds, "
            f"{min(row['times_faster'].values()):5.1f} x faster than the faster peer, "
            f"{row['share_of_exact_top_k_found']:.3f} of the exact top {options.k}"
        )
    write_json(
        options.to,
        {
            "benchmark": "funnel search against exact search",
            "rows": options.rows,
            "dim": options.dim,
            "queries": options.queries,
            "k": options.k,
            "threads": torch.get_num_threads(),
            "exact_search_milliseconds_a_query": {
                name: round(1e3 * seconds / options.queries, 4) for name, seconds in peer_seconds.items()
            },
            "own_vector_found_by_exact_search": round(float((exact_ids == asked[:, None]).any(axis=1).mean()), 4),
            "results": rows,
            "versions": environment(),
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
