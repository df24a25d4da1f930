"""Binary codes: one bit a coordinate, its sign."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyvec.compress.codes import CodeTransform
from polyvec.compress.rotation import FIT_ROWS, check_rotation, onto, random_axes, sample_rows
from polyvec.compress.scanning import FaissScanner, Scanner


class SignBinarizer(CodeTransform):
    """The sign of each coordinate in one bit, eight to a byte; a 32nd of the bytes of float32.

    Queries stay as they are (asymmetric scoring): the score is the product of the query with a vector of plus or minus
    the mean size of each coordinate, which keeps far more than counting the bits that differ. Coarse by itself; as a
    first scan before a finer code it costs little.

    Args:
        center: Take the sign of the difference to the mean. Text embeddings have coordinates of nearly constant
            sign, whose bit says nothing otherwise.
        rotation: `None` or `"random"`, which makes all bits alike informative.
        seed: For the rotation and for the sample of rows that is learned from (50,000).

    A coordinate that equals the mean counts as positive.

    Example:
        >>> import numpy as np
        >>> SignBinarizer(center=False).fit_transform(np.array([[1.0, -2.0, 3.0, -4.0, 1.0, 1.0, 1.0, 1.0]])).tolist()
        [[245]]
    """

    def __init__(self, center: bool = True, rotation: str | None = None, seed: int | None = 0) -> None:
        self.center = center
        self.rotation = rotation
        self.seed = seed

    def _learn(self, matrix: np.ndarray) -> None:
        check_rotation(self.rotation, ("random",))
        dim = matrix.shape[1]
        sample = sample_rows(matrix, FIT_ROWS, self.seed)
        self.mean_ = sample.mean(axis=0, dtype=np.float64).astype(np.float32) * np.float32(bool(self.center))
        self.axes_ = random_axes(dim, dim, self.seed) if self.rotation else np.zeros((0, dim), dtype=np.float32)
        self.sizes_ = np.abs(self._rotated(sample)).mean(axis=0, dtype=np.float64).astype(np.float32)

    def _rotated(self, matrix: np.ndarray) -> np.ndarray:
        return onto(matrix, self.mean_, self.axes_) if len(self.axes_) else matrix - self.mean_

    def _encode(self, matrix: np.ndarray) -> np.ndarray:
        return np.packbits(self._rotated(matrix) >= 0, axis=1, bitorder="little")

    def _decode(self, codes: np.ndarray) -> np.ndarray:
        bits = np.unpackbits(codes, axis=1, count=self._width(), bitorder="little")
        signed = (bits.astype(np.float32) * 2 - 1) * self.sizes_
        return (signed @ self.axes_ if len(self.axes_) else signed) + self.mean_

    def _code_width(self) -> int:
        return (self._width() + 7) // 8

    def _arrays(self) -> tuple[str, ...]:
        return ("mean_", "axes_", "sizes_")

    def scanner(self, codes: Any, metric: str) -> Scanner:
        """FAISS's scan of product codes: a byte is one of the 256 sign patterns of eight coordinates."""
        import faiss

        width = self._code_width()
        patterns = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
        sizes = np.zeros(width * 8, dtype=np.float32)
        sizes[: self._width()] = self.sizes_
        centroids = (patterns.astype(np.float32) * 2 - 1)[None] * sizes.reshape(width, 1, 8)

        def empty() -> Any:
            index = faiss.IndexPQ(width * 8, width, 8, FaissScanner.metric_of(metric))
            faiss.copy_array_to_vector(np.ascontiguousarray(centroids).reshape(-1), index.pq.centroids)
            index.is_trained = True
            return index

        def project(queries: np.ndarray) -> np.ndarray:
            padded = np.zeros((len(queries), width * 8), dtype=np.float32)
            shifted = queries - self.mean_ if metric == "l2" else queries
            padded[:, : self._width()] = shifted @ self.axes_.T if len(self.axes_) else shifted
            return padded

        return FaissScanner(empty, codes, project, selects=False)
