"""Baselines for node embeddings: DeepWalk (skip-gram on random walks) and projected adjacency powers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from polyvec.core.lazy import require
from polyvec.encode.graph import Graph, random_walks

Floats = npt.NDArray[np.floating]
_ROWS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class DeepWalkRecipe:
    """Settings of DeepWalk.

    `negative=0` is the original's hierarchical softmax, else that many negative samples. `sample` is word2vec's
    threshold for dropping frequent nodes: gensim's default here, 0 (keep all) in the original.
    """

    walks: int = 5
    length: int = 40
    window: int = 5
    negative: int = 0
    epochs: int = 1
    sample: float = 1e-3

    @property
    def name(self) -> str:
        """The recipe in words."""
        loss = f"{self.negative} negatives" if self.negative else "hierarchical softmax"
        epochs = f", {self.epochs} epochs" if self.epochs > 1 else ""
        sampling = "" if self.sample else ", no subsampling"
        return f"{self.walks} walks x {self.length}, window {self.window}, {loss}{epochs}{sampling}"

    def pairs(self, nodes: int) -> float:
        """About how many (centre, context) pairs the walks hold; word2vec halves the window on average, at random."""
        return float(nodes * self.walks * self.length * (self.window + 1) * self.epochs)


class _Walks:
    """Walks as lists of ints, block by block, as often as asked: what gensim calls a corpus."""

    def __init__(self, walks: npt.NDArray[np.int32]) -> None:
        self._walks = walks

    def __iter__(self) -> Iterator[list[int]]:
        for first in range(0, len(self._walks), _ROWS_AT_ONCE):
            yield from self._walks[first : first + _ROWS_AT_ONCE].tolist()


def deepwalk(graph: Graph, recipe: DeepWalkRecipe, dim: int, seed: int, workers: int) -> tuple[Floats, float]:
    """DeepWalk's vectors `(nodes, dim)`, and the seconds for walks and training together.

    Uses polyvec's compiled walks and gensim's word2vec (extra `bench`). With more than one worker gensim's updates
    race, so that vectors differ a little from run to run.
    """
    word2vec = require("gensim.models.word2vec", "bench", "the DeepWalk baseline")
    started = time.perf_counter()
    walks = random_walks(graph, recipe.walks, recipe.length, seed)
    np.random.default_rng(seed).shuffle(walks)
    model = word2vec.Word2Vec(
        _Walks(walks),
        vector_size=dim,
        window=recipe.window,
        sg=1,
        hs=int(recipe.negative == 0),
        negative=recipe.negative,
        min_count=0,
        sample=recipe.sample,
        epochs=recipe.epochs,
        workers=workers,
        seed=seed,
    )
    seconds = time.perf_counter() - started
    vectors = np.zeros((graph.num_nodes, dim), dtype=np.float32)
    vectors[np.asarray(model.wv.index_to_key)] = model.wv.vectors
    return vectors, seconds


def adjacency_powers(graph: Graph, hops: int, dim: int, seed: int) -> list[Floats]:
    """`A^k R` for k = 1 .. hops with a Gaussian R: a RandNE-like projection without any normalisation."""
    current: Any = np.random.default_rng(seed).standard_normal((graph.num_nodes, dim), dtype=np.float32)
    powers = []
    for _ in range(hops):
        current = graph.adjacency @ current
        powers.append(current)
    return powers


def unit_rows(matrix: Floats) -> Floats:
    """Rows scaled to length 1; zero rows stay zero."""
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.divide(matrix, norms, out=np.zeros_like(matrix), where=norms > 0)


def weighted_sum(matrices: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """The sum of the matrices, each times its weight."""
    total = np.zeros_like(matrices[0])
    for matrix, weight in zip(matrices, weights, strict=False):
        total += matrix.dtype.type(weight) * matrix
    return total
