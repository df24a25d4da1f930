"""Product quantisation: groups of coordinates, each as the number of its nearest centroid."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyvec.compress.codes import CodeTransform, whole
from polyvec.compress.rotation import FIT_ROWS, back, onto, principal_axes, sample_rows
from polyvec.compress.scanning import FaissScanner, Scanner, one_thread
from polyvec.core.errors import InvalidValueError

TRAIN_ROWS = 8_192
"""Rows that k-means sees: 32 a centroid, which is where more begin to bring little and still cost in proportion."""


class ProductQuantizer(CodeTransform):
    """One byte for each of `n_subvectors` groups of coordinates: the number of the nearest of 256 centroids.

    Args:
        n_subvectors: Groups; must divide the width of the vectors.
        bits: Of a group's number: 8 for 256 centroids, or 4 for 16 and half the bytes.
        iterations: Rounds of k-means in each group.
        seed: For k-means and the sample of rows it sees (8,192).

    Attributes:
        codebooks_: `(n_subvectors, 2**bits, width / n_subvectors)`; may be replaced by ones learned elsewhere, such as
            ones trained for ranking, followed by `transform` of the vectors anew.
        mean_: `(width,)` that is subtracted first; zeros here.
        axes_: `(width, width)` rotation, or no rows for none.

    Raises:
        InvalidValueError: `n_subvectors` does not divide the width; other bits; fewer vectors than centroids.

    k-means and coding are FAISS's. Source: Jegou, Douze and Schmid, Product Quantization for Nearest Neighbor Search,
    2011.

    Example:
        >>> import numpy as np
        >>> vectors = np.random.default_rng(0).normal(size=(1000, 8)).astype(np.float32)
        >>> ProductQuantizer(2).fit_transform(vectors).shape
        (1000, 2)
    """

    def __init__(self, n_subvectors: int = 8, bits: int = 8, iterations: int = 6, seed: int | None = 0) -> None:
        self.n_subvectors = n_subvectors
        self.bits = bits
        self.iterations = iterations
        self.seed = seed

    def _learn(self, matrix: np.ndarray) -> None:
        dim = matrix.shape[1]
        count = whole(self.n_subvectors, "n_subvectors", 1, dim)
        whole(self.iterations, "iterations", 1)
        if self.bits not in (4, 8) or isinstance(self.bits, bool):
            raise InvalidValueError(f"bits: got {self.bits!r}, needs 4 or 8")
        if dim % count:
            near = [size for size in range(1, dim + 1) if dim % size == 0]
            raise InvalidValueError(
                f"n_subvectors: got {count}, which does not divide {dim} dimensions; "
                f"choose {min(near, key=lambda size: abs(size - count))}"
            )
        if len(matrix) < 1 << self.bits:
            raise InvalidValueError(
                f"X: got {len(matrix)} vectors, needs at least {1 << self.bits}, as many as there are centroids; "
                "use scalar codes for so few"
            )
        self.mean_, self.axes_ = self._rotation(matrix)
        rows = self._rotated(sample_rows(matrix, TRAIN_ROWS, self.seed)).reshape(-1, count, dim // count)
        with one_thread():
            self.codebooks_ = np.stack([self._centroids(rows[:, group], group) for group in range(count)])
        self._restored()

    def _centroids(self, rows: np.ndarray, group: int) -> np.ndarray:
        import faiss

        means = faiss.Kmeans(
            rows.shape[1], 1 << self.bits, niter=self.iterations, seed=((self.seed or 0) + group) % 2**31
        )
        means.cp.min_points_per_centroid = 1  # fewer are allowed, and the loss shows in the price list
        means.train(np.ascontiguousarray(rows, dtype=np.float32))
        return np.array(means.centroids, dtype=np.float32)

    def _rotation(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dim = matrix.shape[1]
        return np.zeros(dim, dtype=np.float32), np.zeros((0, dim), dtype=np.float32)

    def _restored(self) -> None:
        import faiss

        self._quantizer = faiss.ProductQuantizer(self.mean_.shape[0], len(self.codebooks_), self.bits)
        faiss.copy_array_to_vector(
            np.ascontiguousarray(self.codebooks_, dtype=np.float32).reshape(-1), self._quantizer.centroids
        )

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_quantizer", None)  # FAISS's object cannot be copied; it is built again from the codebooks
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "codebooks_"):
            self._restored()

    def _rotated(self, matrix: np.ndarray) -> np.ndarray:
        return onto(matrix, self.mean_, self.axes_) if len(self.axes_) else matrix

    def _encode(self, matrix: np.ndarray) -> np.ndarray:
        if not len(matrix):
            return np.empty((0, self._code_width()), dtype=np.uint8)
        return self._quantizer.compute_codes(np.ascontiguousarray(self._rotated(matrix), dtype=np.float32))

    def _decode(self, codes: np.ndarray) -> np.ndarray:
        if not len(codes):
            return np.empty((0, self._width()), dtype=np.float32)
        coordinates: np.ndarray = self._quantizer.decode(codes)  # type: ignore[call-arg,func-returns-value,assignment]
        return back(coordinates, self.mean_, self.axes_) if len(self.axes_) else coordinates

    def _code_width(self) -> int:
        return (int(self.n_subvectors) * self.bits + 7) // 8

    def _arrays(self) -> tuple[str, ...]:
        return ("mean_", "axes_", "codebooks_")

    def scanner(self, codes: Any, metric: str) -> Scanner:
        """FAISS's scan by tables: one look-up a byte."""
        import faiss

        dim = self._width()

        def empty() -> Any:
            index = faiss.IndexPQ(dim, len(self.codebooks_), self.bits, FaissScanner.metric_of(metric))
            faiss.copy_array_to_vector(
                np.ascontiguousarray(self.codebooks_, dtype=np.float32).reshape(-1), index.pq.centroids
            )
            index.is_trained = True
            return index

        mean = self.mean_ if metric == "l2" else np.zeros_like(self.mean_)
        project = (lambda queries: onto(queries, mean, self.axes_)) if len(self.axes_) else None
        return FaissScanner(empty, codes, project, selects=False)


class OptimizedProductQuantizer(ProductQuantizer):
    """Product quantisation after a rotation that gives every group the same share of the variance.

    The parametric solution: principal axes are dealt out to the groups, largest first, each to the group whose product
    of variances is smallest so far. It is optimal for Gaussian data and takes one eigenvalue decomposition, where the
    alternating solution takes minutes.

    Args, attributes and errors are those of `ProductQuantizer`.

    Source: Ge, He, Ke and Sun, Optimized Product Quantization, 2013, section 4 (the parametric solution).
    """

    def _rotation(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dim = matrix.shape[1]
        mean, axes, variances = principal_axes(sample_rows(matrix, FIT_ROWS, self.seed), dim, self.seed)
        count = int(self.n_subvectors)
        logarithms = np.log(np.maximum(variances, 1e-12))
        logarithms -= logarithms.min()  # so that a group grows with each axis it gets
        groups: list[list[int]] = [[] for _ in range(count)]
        sums = np.zeros(count)
        for axis in range(dim):
            open_groups = [group for group in range(count) if len(groups[group]) < dim // count]
            chosen = min(open_groups, key=lambda group: (sums[group], group))
            groups[chosen].append(axis)
            sums[chosen] += logarithms[axis]
        return mean, np.ascontiguousarray(axes[np.concatenate(groups).astype(np.int64)])
