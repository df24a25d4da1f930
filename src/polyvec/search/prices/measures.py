"""How well a ranking does against that of the full vectors, and how sure a mean over queries is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyvec.compress.scanning import similarities
from polyvec.core.randomness import numpy_generator
from polyvec.search.scoring import blocks

K = 10
RESAMPLES = 1000
LEVEL = 0.95
_SAME = 1e-5  # scores nearer than this share of their size are a tie: single precision does not tell them apart


@dataclass(frozen=True, slots=True)
class Truth:
    """What the full vectors say about each query.

    Attributes:
        scores: `(q, k)` the best scores, falling.
        k: How many.
    """

    scores: np.ndarray
    k: int

    @classmethod
    def of(cls, queries: np.ndarray, vectors: np.ndarray, metric: str, k: int = K) -> Truth:
        """By brute force, in blocks."""
        k = min(k, len(vectors))
        best = np.empty((len(queries), k))
        for rows in blocks(len(queries), len(vectors)):
            scores = similarities(queries[rows], vectors, metric)
            best[rows] = -np.sort(-np.partition(scores, len(vectors) - k, axis=1)[:, len(vectors) - k :], axis=1)
        return cls(best, k)

    @property
    def _tie(self) -> np.ndarray:
        return _SAME * np.maximum(1.0, np.abs(self.scores[:, :1]))

    def recall(self, found: np.ndarray, k: int) -> np.ndarray:
        """Share `(q,)` of the `k` nearest that a ranking found.

        Args:
            found: `(q, at least k)` the full vectors' scores of what was found, best first; minus infinity where
                nothing was.
            k: Up to the number that this truth holds.

        A row that ties with the last of the `k` counts as one of them, so that no tie is broken to a code's loss.
        """
        k = min(k, self.k)
        least = (self.scores - self._tie)[:, k - 1 : k]
        return np.minimum(np.count_nonzero(found[:, :k] >= least, axis=1), k) / k

    def ndcg(self, found: np.ndarray, k: int = K) -> np.ndarray:
        """NDCG `(q,)` of a ranking, where the full vectors' first is worth `k`, the second `k - 1`, and so on.

        Rows with equal scores are worth the same. Arguments as for `recall`.
        """
        k = min(k, self.k)
        best, tie = self.scores[:, :k], self._tie
        discounts = 1 / np.log2(np.arange(2, k + 2))

        def worth(scores: np.ndarray) -> np.ndarray:
            # the number of the best k that a row is at least as good as
            return np.count_nonzero(scores[:, :k, None] >= (best - tie)[:, None, :], axis=2).astype(np.float64)

        ideal = np.sort(worth(best), axis=1)[:, ::-1] @ discounts
        return np.minimum(1.0, (worth(found) @ discounts) / ideal)


def interval(values: np.ndarray, seed: int | None = 0) -> list[float]:
    """Mean and 95% bounds over queries: percentiles of a bootstrap.

    The lower bound is that of the queries and one more that found nothing: three queries without a miss say little
    about the fourth, and a bootstrap of them alone would call them certain.
    """
    generator = numpy_generator(seed)
    mean = float(values.mean())
    count = len(values)
    draws = generator.integers(0, count, (RESAMPLES, count))
    high = float(np.quantile(values[draws].mean(axis=1), (1 + LEVEL) / 2))
    careful = np.append(values, 0.0)
    draws = generator.integers(0, count + 1, (RESAMPLES, count + 1))
    low = float(np.quantile(careful[draws].mean(axis=1), (1 - LEVEL) / 2))
    return [round(mean, 6), round(min(low, mean), 6), round(max(high, mean), 6)]
