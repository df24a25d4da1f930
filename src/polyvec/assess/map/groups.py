"""Groups of points that lie together in a map."""

from __future__ import annotations

import numpy as np

from polyvec.assess.map.plane import NO_CLUSTER
from polyvec.core.errors import InvalidTypeError, InvalidValueError

LARGEST_HDBSCAN = 20_000
"""Points that HDBSCAN looks at, as its time grows with their square: a sample of more, which the others join."""
MOST_CLUSTERS = 1000
_FEWEST = 30
_SMALLEST = 5


def checked_count(n_clusters: int | None) -> int | None:
    """A number of clusters that can be asked for.

    Raises:
        InvalidTypeError: Not a whole number.
        InvalidValueError: Below 1 or above `MOST_CLUSTERS`.
    """
    if n_clusters is None:
        return None
    if isinstance(n_clusters, bool) or not isinstance(n_clusters, (int, np.integer)):
        raise InvalidTypeError(f"n_clusters: got {type(n_clusters).__name__}, needs a whole number or None")
    if not 1 <= n_clusters <= MOST_CLUSTERS:
        raise InvalidValueError(f"n_clusters: got {n_clusters}, needs 1 to {MOST_CLUSTERS}")
    return int(n_clusters)


def group(points: np.ndarray, n_clusters: int | None, seed: int | None) -> np.ndarray:
    """Number of each point's group `(n,)`, uint16, the largest group first; 65535 for points in none.

    Without `n_clusters`, HDBSCAN on the layout: the groups are those that a reader sees, and points between them belong
    to none. With it, k-means on the layout: exactly so many groups (where there are so many different points), and all
    points belong to one.
    """
    count = len(points)
    if n_clusters is not None:
        return _by_size(_k_means(points, n_clusters, seed))
    if count < _FEWEST or np.all(points == points[0]):
        return np.zeros(count, dtype=np.uint16)
    if count <= LARGEST_HDBSCAN:
        return _by_size(_hdbscan(points))
    chosen = np.sort(np.random.default_rng(seed).choice(count, LARGEST_HDBSCAN, replace=False))
    return _by_size(_joined(points, chosen, _hdbscan(points[chosen])))


def _k_means(points: np.ndarray, n_clusters: int, seed: int | None) -> np.ndarray:
    from sklearn.cluster import KMeans

    different = len(np.unique(points, axis=0))
    return KMeans(min(n_clusters, different), n_init=4, random_state=seed).fit_predict(points)


def _hdbscan(points: np.ndarray) -> np.ndarray:
    """Labels, -1 for points in no group; one group of all when there is no structure."""
    from sklearn.cluster import HDBSCAN

    smallest = max(_SMALLEST, round(0.6 * len(points) ** 0.5))  # some 20 to 70 names on a map of any size
    found = HDBSCAN(min_cluster_size=smallest, min_samples=min(10, smallest), copy=True).fit_predict(
        points.astype(np.float64)
    )
    return found if found.max() > 0 else np.zeros(len(points), dtype=np.int64)


def _joined(points: np.ndarray, chosen: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels of all points: each has that of the sampled point nearest to it."""
    from sklearn.neighbors import KDTree

    nearest = KDTree(points[chosen]).query(points, k=1, return_distance=False)[:, 0]
    return labels[nearest]


def _by_size(labels: np.ndarray) -> np.ndarray:
    """Renumbered by decreasing size (of equal sizes, the one met first); -1 becomes 65535."""
    numbers = np.full(len(labels), NO_CLUSTER, dtype=np.uint16)
    members = labels >= 0
    if members.any():
        known, first, inverse, sizes = np.unique(
            labels[members], return_index=True, return_inverse=True, return_counts=True
        )
        order = np.lexsort((first, -sizes))
        rank = np.empty(len(known), dtype=np.uint16)
        rank[order] = np.arange(len(known), dtype=np.uint16)
        numbers[members] = rank[inverse]
    return numbers
