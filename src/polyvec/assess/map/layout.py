"""Vectors to points in two dimensions, by a library's method."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from polyvec.core.errors import InvalidValueError
from polyvec.core.lazy import require
from polyvec.core.progress import progress
from polyvec.search.scoring import best_columns, blocks

Method = Literal["auto", "umap", "pacmap", "tsne", "pca"]

NEIGHBOURS = 15
LARGEST_LAYOUT = 100_000
"""Rows that are laid out together; of more, `SAMPLE` rows are, and the others placed among them."""
SAMPLE = 50_000
LARGEST_TSNE = 5_000
"""Rows for which t-SNE is chosen by itself; it takes a minute there and grows faster than the number of rows."""
_FEWEST = 4
_FEWEST_FOR_NEIGHBOURS = 12
_ANCHORS = 5
LARGEST_EXACT = 30_000
"""Rows whose neighbours are compared in all dimensions."""
_REDUCED_DIM = 64

_EXTRA = "maps"


def available(package: str) -> bool:
    """Whether a package is installed, without importing it."""
    return importlib.util.find_spec(package) is not None


def choose(method: str, rows: int) -> tuple[str, tuple[str, ...]]:
    """The method that `method` stands for with so many different rows, and what to tell about the choice.

    Raises:
        InvalidValueError: An unknown method.
    """
    if method not in get_args(Method):
        raise InvalidValueError(f"method: got {method!r}, needs one of {', '.join(get_args(Method))}")
    if rows < _FEWEST:
        return "pca", ()
    if rows < _FEWEST_FOR_NEIGHBOURS and method != "pca":
        asked = () if method == "auto" else (f"Laid out by PCA: {rows} different vectors are too few for {method}.",)
        return "pca", asked
    if method != "auto":
        return method, ()
    if available("umap"):
        return "umap", ()
    if available("pacmap"):
        return "pacmap", ()
    install = f"pip install 'polyvec[{_EXTRA}]' for UMAP, which keeps neighbours together and takes any number."
    if rows <= LARGEST_TSNE:
        return "tsne", (f"Laid out by t-SNE; {install}",)
    return "pca", (f"Laid out by PCA, which shows only the two strongest directions; {install}",)


def lay_out(matrix: np.ndarray, method: str, *, seed: int | None, show_progress: bool | None) -> np.ndarray:
    """Points `(n, 2)`, float32, of float32 rows `(n, dim)` that are all different.

    Args:
        matrix: The rows; compared by Euclidean distance, so scale them to unit length first for cosine.
        method: As `choose` gave it.
        seed: The same seed gives the same points; with `None`, libraries that can use all cores do.
        show_progress: As for `polyvec.core.progress.progress`.
    """
    rows = len(matrix)
    if rows < _FEWEST:
        return _pca(matrix, seed)
    made = _METHODS[method]
    if rows <= LARGEST_LAYOUT or method == "pca":
        with progress(f"laying out {rows:,} vectors ({method})", 1, show=show_progress) as handle:
            points = made(matrix, seed)
            handle.advance()
        return _finite(points)
    chosen = np.sort(np.random.default_rng(seed).choice(rows, SAMPLE, replace=False))
    sample = matrix[chosen]
    with progress(f"laying out {SAMPLE:,} of {rows:,} vectors ({method})", 1, show=show_progress) as handle:
        anchors = _finite(made(sample, seed))
        handle.advance()
    return _placed(matrix, chosen, sample, anchors, show_progress)


def _finite(points: np.ndarray) -> np.ndarray:
    """A library gives NaN to rows that it could not connect to any other: they go to the middle."""
    points = np.array(points, dtype=np.float32)
    lost = ~np.isfinite(points).all(axis=1)
    if lost.any():
        points[lost] = np.median(points[~lost], axis=0) if not lost.all() else 0.0
    return points


def _pca(matrix: np.ndarray, seed: int | None) -> np.ndarray:
    """The two strongest directions; missing ones are zeros (one vector, or one dimension)."""
    points = np.zeros((len(matrix), 2), dtype=np.float32)
    if len(matrix) > 1:
        from sklearn.decomposition import PCA

        kept = min(2, *matrix.shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # equal rows: no variance to divide by
            points[:, :kept] = PCA(kept, random_state=seed).fit_transform(matrix)
    return points


def _umap(matrix: np.ndarray, seed: int | None) -> np.ndarray:
    umap = require("umap", _EXTRA, "method='umap'")
    reducer = umap.UMAP(
        n_neighbors=min(NEIGHBOURS, len(matrix)),
        min_dist=0.1,
        metric="euclidean",
        # the spectral start needs an eigenvalue problem that may not converge; PCA is as good and never fails
        init="pca" if matrix.shape[1] > 2 else "random",
        random_state=seed,
        n_jobs=1 if seed is not None else -1,
        # exact, and quicker than umap's own search, which compiles for most of a minute
        precomputed_knn=nearest_neighbours(matrix, min(NEIGHBOURS, len(matrix))),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return reducer.fit_transform(matrix)


def _pacmap(matrix: np.ndarray, seed: int | None) -> np.ndarray:
    pacmap = require("pacmap", "bench", "method='pacmap'")
    reducer = pacmap.PaCMAP(n_components=2, n_neighbors=min(10, len(matrix) - 1), random_state=seed)
    level = logging.root.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every seed
        try:
            return reducer.fit_transform(np.array(matrix))
        finally:
            logging.root.setLevel(level)


def _tsne(matrix: np.ndarray, seed: int | None) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(matrix) - 1) / 3)
    init = "pca" if min(matrix.shape) > 1 else "random"
    return TSNE(2, perplexity=perplexity, init=init, random_state=seed).fit_transform(matrix)


def nearest_neighbours(matrix: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """`(rows, distances)` `(n, k)` of the nearest by Euclidean distance, each row first among its own.

    Exact up to `LARGEST_EXACT` rows. Beyond, some more candidates are found in the first principal directions, and
    compared exactly.
    """
    rows, dim = matrix.shape
    reduced = matrix
    candidates = k
    if rows > LARGEST_EXACT and dim > _REDUCED_DIM:
        reduced = _reducer(matrix).transform(matrix).astype(np.float32)
        candidates = min(rows, 2 * k)
    half_squares = 0.5 * np.einsum("ij,ij->i", reduced, reduced)
    nearest = np.empty((rows, k), dtype=np.int32)
    distances = np.empty((rows, k), dtype=np.float32)
    for part in blocks(rows, max(rows, candidates * dim)):
        scores = reduced[part] @ reduced.T
        scores -= half_squares  # largest where the distance is smallest
        scores[np.arange(len(scores)), np.arange(part.start, part.stop)] = np.inf
        found = best_columns(scores, candidates)
        apart = np.linalg.norm(matrix[found] - matrix[part, None], axis=2)
        apart[found == np.arange(part.start, part.stop)[:, None]] = 0
        order = np.argsort(apart, axis=1, kind="stable")[:, :k]
        nearest[part] = np.take_along_axis(found, order, axis=1)
        distances[part] = np.take_along_axis(apart, order, axis=1)
    return nearest, distances


def _reducer(sample: np.ndarray) -> Any:
    """PCA to a few dimensions, fitted on some of the rows."""
    from sklearn.decomposition import PCA

    step = max(1, len(sample) // 20_000)
    return PCA(_REDUCED_DIM, svd_solver="randomized", random_state=0).fit(sample[::step])


_METHODS: dict[str, Callable[[np.ndarray, int | None], np.ndarray]] = {
    "umap": _umap,
    "pacmap": _pacmap,
    "tsne": _tsne,
    "pca": _pca,
}


def _placed(
    matrix: np.ndarray, chosen: np.ndarray, sample: np.ndarray, anchors: np.ndarray, show_progress: bool | None
) -> np.ndarray:
    """All rows, each at the weighted mean of the places of its nearest sampled rows.

    Nearest by exact comparison in the sample's first principal directions: with all dimensions it takes several times
    as long and hardly changes who is near.
    """
    reducer = _reducer(sample) if matrix.shape[1] > _REDUCED_DIM else None
    near = sample if reducer is None else reducer.transform(sample).astype(np.float32)
    half_squares = 0.5 * np.einsum("ij,ij->i", near, near)
    points = np.empty((len(matrix), 2), dtype=np.float32)
    with progress("placing the others", len(matrix), show=show_progress) as handle:
        for part in blocks(len(matrix), len(sample)):
            block = matrix[part] if reducer is None else reducer.transform(matrix[part]).astype(np.float32)
            closeness = block @ near.T - half_squares  # largest where the distance is smallest
            found = best_columns(closeness, _ANCHORS)
            squares = np.einsum("ij,ij->i", block, block)[:, None] - 2 * np.take_along_axis(closeness, found, axis=1)
            distance = np.sqrt(np.maximum(squares, 0))
            scale = distance.mean(axis=1, keepdims=True)
            weight = np.exp(-4 * distance / np.where(scale > 0, scale, 1))
            weight /= weight.sum(axis=1, keepdims=True)
            points[part] = np.einsum("ij,ijk->ik", weight, anchors[found])
            handle.advance(len(block))
    points[chosen] = anchors
    return points
