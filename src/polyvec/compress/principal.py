"""PCA: the coordinates along the directions of largest variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyvec.compress.codes import CodeTransform, unit_rows, whole
from polyvec.compress.rotation import back, onto, principal_axes
from polyvec.compress.scanning import FlatScanner, Scanner


class PCA(CodeTransform):
    """Principal coordinates of each vector as float32, scaled to unit length.

    The axes are scikit-learn's (of a sample of 50,000 rows where there are more). In contrast to scikit-learn's own
    class the rows can be scaled to unit length, which cosine search wants, the result is float32, and it can be kept
    in a file.

    Args:
        n_components: How many coordinates to keep, from 1 to the width of the vectors.
        normalize: Scale each row of coordinates to unit length.
        seed: For the sample of rows.

    Raises:
        InvalidValueError: `n_components` out of range, wrong width, NaN or infinity, no rows.

    Example:
        >>> import numpy as np
        >>> vectors = np.random.default_rng(0).normal(size=(100, 8)) * [9, 9, 1, 1, 1, 1, 1, 1]
        >>> PCA(2).fit_transform(vectors).shape
        (100, 2)
    """

    code_dtype = np.float32

    def __init__(self, n_components: int = 8, normalize: bool = True, seed: int | None = 0) -> None:
        self.n_components = n_components
        self.normalize = normalize
        self.seed = seed

    def _learn(self, matrix: np.ndarray) -> None:
        count = whole(self.n_components, "n_components", 1, matrix.shape[1])
        self.mean_, self.components_, self.explained_variance_ = principal_axes(matrix, count, self.seed)

    def _encode(self, matrix: np.ndarray) -> np.ndarray:
        coordinates = onto(matrix, self.mean_, self.components_)
        return unit_rows(coordinates) if self.normalize else coordinates

    def _decode(self, codes: np.ndarray) -> np.ndarray:
        # the length was lost with normalize: the mean cannot be put back in its right proportion
        mean = np.zeros_like(self.mean_) if self.normalize else self.mean_
        return back(codes, mean, self.components_)

    def _code_width(self) -> int:
        return int(self.n_components)

    def _arrays(self) -> tuple[str, ...]:
        return ("mean_", "components_", "explained_variance_")

    def scanner(self, codes: Any, metric: str) -> Scanner:
        """A scan of the coordinates themselves."""
        mean = np.zeros_like(self.mean_) if self.normalize or metric != "l2" else self.mean_
        return FlatScanner(codes, metric, lambda queries: onto(queries, mean, self.components_))
