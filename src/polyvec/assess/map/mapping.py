"""`embedding_map`: layout, groups and names of any vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from polyvec.assess.health.scan import hash_multipliers, row_hashes
from polyvec.assess.map.groups import checked_count, group
from polyvec.assess.map.layout import Method, choose, lay_out
from polyvec.assess.map.naming import cluster_words, labels_of, shortened
from polyvec.assess.map.plane import NO_CLUSTER, Cluster, EmbeddingMap, checked_labels
from polyvec.core.arrays import as_matrix
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.randomness import check_seed
from polyvec.core.vectors import Vectors
from polyvec.data.documents import Document
from polyvec.search.scoring import blocks, inverse_lengths

TEXT_CHARACTERS = 1000
"""Characters of a text that are read for names: what a document is about stands at its beginning."""
_TITLE_CHARACTERS = 100
_MIDDLE = 1000


def embedding_map(
    vectors: Any,
    texts: Any = None,
    *,
    method: Method = "auto",
    n_clusters: int | None = None,
    labels: Any = None,
    metric: Literal["cosine", "l2"] = "cosine",
    seed: int | None = 0,
    name: str = "",
    encoder: str = "",
    show_progress: bool | None = None,
) -> EmbeddingMap:
    """Draw vectors in two dimensions: near in the map is near in the space, as far as a plane allows.

    Distances between groups, their sizes and the directions mean little: only who is near whom does. Judge nothing by a
    map that a measure can judge (`health_report`, search with known answers).

    Equal rows are laid out once and lie in a small disc around their common place. Rows of zeros are rows like others.

    Args:
        vectors: Embeddings `(n, dim)`: `Vectors`, NumPy array, torch tensor, pandas or polars frame.
        texts: What the vectors were made of, for titles and for the names of the groups: `n` texts or `Document`s, or
            a function from the list of ids to them. Without, text ids are the titles.
        method: `umap` needs `pip install 'polyvec[maps]'`, `pacmap` needs `polyvec[bench]`; `tsne` and `pca` are
            scikit-learn's. `auto` is UMAP when it is installed, else PaCMAP, else t-SNE up to 5,000 rows and PCA
            beyond. Beyond 100,000 rows 50,000 are laid out and the others placed among the nearest of them.
        n_clusters: Exactly so many groups, by k-means on the layout; by default as many as HDBSCAN finds there.
        labels: A value of each row (text or number) by which pictures are coloured, instead of the groups.
        metric: How vectors are compared: by `cosine`, or as they are (`l2`).
        seed: The same seed gives the same map on the same machine. `None` is quicker, and differs from run to run.
        name: What to call the vectors in a picture.
        encoder: What made them, for the picture.
        show_progress: As for `polyvec.core.progress.progress`.

    Raises:
        InvalidTypeError: Not numbers; texts or labels of a kind that cannot be used.
        InvalidValueError: No rows, NaN or infinity (with the row), another number of texts or labels than rows, an
            unknown method or metric.
        MissingDependencyError: `umap` or `pacmap` asked for and not installed.

    Example:
        >>> import numpy as np
        >>> made = embedding_map(np.eye(3), ["one", "two", "three"], name="numbers")
        >>> made.method, made.points.shape, made.headline
        ('pca', (3, 2), 'numbers, 3 vectors, PCA')
    """
    if metric not in ("cosine", "l2"):
        raise InvalidValueError(f"metric: got {metric!r}, needs cosine or l2")
    seed, n_clusters = check_seed(seed), checked_count(n_clusters)
    choose(method, 0)  # refuse an unknown method before the work
    matrix = as_matrix(vectors, "vectors")
    ids = tuple(vectors.arrow_ids.to_pylist()) if isinstance(vectors, Vectors) else tuple(range(len(matrix)))
    titles, contents = _read_texts(texts, ids)
    kept_labels = None if labels is None else checked_labels(labels, len(matrix))
    if metric == "cosine":
        matrix = _unit(matrix)
    different, copy_of = _different(matrix)
    chosen, notes = choose(method, len(different))
    unlike = matrix if len(different) == len(matrix) else matrix[different]
    laid_out = lay_out(unlike, chosen, seed=seed, show_progress=show_progress)
    places = _framed(laid_out)
    clusters = group(places[copy_of], n_clusters, seed)
    points = _spread_copies(places, copy_of)
    words = _words(contents, clusters, seed)
    middles = _middles(matrix, clusters, len(words), seed)
    fallbacks = [titles[row] if titles is not None else "" for row in middles]
    names = []
    for number, (named, label) in enumerate(zip(words, labels_of(words, fallbacks), strict=True)):
        members = points[clusters == number]
        x, y = np.median(members, axis=0)
        names.append(Cluster(number, label, named, len(members), float(x), float(y)))
    return EmbeddingMap(
        ids=ids,
        points=points,
        clusters=clusters,
        names=tuple(names),
        method=chosen,
        titles=titles,
        labels=kept_labels,
        name=name,
        encoder=encoder,
        seed=seed,
        notes=notes,
    )


def _read_texts(texts: Any, ids: tuple[int | str, ...]) -> tuple[tuple[str, ...] | None, list[str] | None]:
    """`(titles, texts to take names from)` of the rows; `None` where there are none."""
    if texts is None:
        if ids and isinstance(ids[0], str):
            return tuple(shortened(str(key), _TITLE_CHARACTERS) for key in ids), None
        return None, None
    given: Callable[[list[Any]], Any] | Any = texts
    if callable(given):
        given = given(list(ids))
    if isinstance(given, (str, bytes)) or not hasattr(given, "__len__"):
        raise InvalidTypeError(
            f"texts: got {type(given).__name__}, needs one text or Document a row, or a function from ids to them"
        )
    if len(given) != len(ids):
        raise InvalidValueError(f"texts: got {len(given)} for {len(ids)} vectors, needs one each")
    titles, contents = [], []
    for one in given:
        if isinstance(one, Document):
            title, content = one.title or "", one.text
        elif isinstance(one, str):
            title, content = "", one
        else:
            raise InvalidTypeError(f"texts: got an element of type {type(one).__name__}, needs text or Document")
        titles.append(shortened(title or content.lstrip().partition("\n")[0], _TITLE_CHARACTERS))
        contents.append(f"{title}\n{content[:TEXT_CHARACTERS]}" if title else content[:TEXT_CHARACTERS])
    return tuple(titles), contents


def _unit(matrix: np.ndarray) -> np.ndarray:
    """Rows of unit length; the matrix itself when they are so already. Rows of zeros stay."""
    scale = inverse_lengths(matrix, [matrix.shape[1]])
    if np.all((np.abs(scale - 1) < 1e-5) | (scale == 0)):
        return matrix
    return matrix * scale.astype(np.float32)


def _different(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(rows that are the first of their kind, for each row the place among them of the one it equals)`."""
    rows, dim = matrix.shape
    multipliers = hash_multipliers(dim)
    hashes = np.empty(rows, dtype=np.uint64)
    for part in blocks(rows, dim):
        hashes[part] = row_hashes(matrix[part].astype(np.float64), multipliers)
    _, first, group_of = np.unique(hashes, return_index=True, return_inverse=True)
    leader = first[group_of]
    later = np.flatnonzero(leader != np.arange(rows))
    for part in blocks(len(later), dim):  # equal hashes, other numbers: a row of its own
        members = later[part]
        unequal = members[(matrix[members] != matrix[leader[members]]).any(axis=1)]
        leader[unequal] = unequal
    different, copy_of = np.unique(leader, return_inverse=True)
    return different, copy_of


def _framed(points: np.ndarray) -> np.ndarray:
    """Turned so that most of the spread lies across; the longer side goes from -1 to 1. One place is the origin."""
    centered = _drawn_in(points.astype(np.float64) - np.median(points, axis=0))
    if len(points) > 1:
        _, axes = np.linalg.eigh(centered.T @ centered)
        axes = axes[:, ::-1]
        axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
        centered = centered @ axes
    low, high = centered.min(axis=0), centered.max(axis=0)
    half = float((high - low).max()) / 2
    centered -= (low + high) / 2
    return (centered / half if half > 1e-12 else np.zeros_like(centered)).astype(np.float32)


def _drawn_in(points: np.ndarray) -> np.ndarray:
    """Islands far out brought nearer: how far apart groups lie means nothing, and would leave most of the map empty.

    Up to the 75th percentile of the distance from the middle nothing moves; beyond, distance grows as its logarithm.
    """
    radius = np.linalg.norm(points, axis=1)
    edge = float(np.quantile(radius, 0.75))
    if edge <= 0:
        return points
    scale = np.where(radius > edge, edge * (1 + np.log(np.maximum(radius, edge) / edge)) / np.maximum(radius, edge), 1)
    return points * scale[:, None]


def _spread_copies(points: np.ndarray, copy_of: np.ndarray) -> np.ndarray:
    """The points of all rows: copies lie around their place like sunflower seeds, so that each can be seen."""
    order = np.argsort(copy_of, kind="stable")
    sizes = np.bincount(copy_of, minlength=len(points))
    number = np.empty(len(copy_of), dtype=np.int64)
    number[order] = np.arange(len(copy_of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    step = np.minimum(0.003, 0.03 / np.sqrt(sizes))[copy_of]
    radius, angle = step * np.sqrt(number), number * (np.pi * (3 - np.sqrt(5)))
    shift = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None]
    return (points[copy_of] + shift).astype(np.float32)


def _words(contents: list[str] | None, clusters: np.ndarray, seed: int | None) -> list[tuple[str, ...]]:
    if contents is not None:
        return cluster_words(contents, clusters, seed)
    return [()] * len(np.setdiff1d(clusters, [NO_CLUSTER]))


def _middles(matrix: np.ndarray, clusters: np.ndarray, number: int, seed: int | None) -> list[int]:
    """For each cluster the row nearest to its mean vector."""
    generator = np.random.default_rng(seed)
    middles = []
    for cluster in range(number):
        members = np.flatnonzero(clusters == cluster)
        if len(members) > _MIDDLE:
            members = np.sort(generator.choice(members, _MIDDLE, replace=False))
        part = matrix[members]
        middles.append(int(members[np.argmin(np.linalg.norm(part - part.mean(axis=0), axis=1))]))
    return middles
