"""Scalar codes: each coordinate by itself, as half-precision number or as a few bits of its range."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyvec.compress.codes import CodeTransform, whole
from polyvec.compress.rotation import (
    FIT_ROWS,
    back,
    check_rotation,
    onto,
    principal_axes,
    random_axes,
    sample_rows,
)
from polyvec.compress.scanning import FaissScanner, Scanner
from polyvec.core.errors import InvalidValueError

_LARGEST_HALF = 65_504.0


class HalfPrecision(CodeTransform):
    """Each coordinate as a 16-bit floating number: half the bytes, for practical purposes the same ranking.

    Raises:
        InvalidValueError: A coordinate above 65,504, the largest number of that type.

    Example:
        >>> import numpy as np
        >>> HalfPrecision().fit_transform(np.array([[0.1, 0.2]])).dtype
        dtype('float16')
    """

    code_dtype = np.float16

    def _learn(self, matrix: np.ndarray) -> None:
        self._check(matrix)

    @staticmethod
    def _check(matrix: np.ndarray) -> None:
        if matrix.size and (largest := float(np.abs(matrix).max())) > _LARGEST_HALF:
            raise InvalidValueError(
                f"X: holds {largest:g}, but float16 ends at {_LARGEST_HALF:,.0f}; rescale the vectors first"
            )

    def _encode(self, matrix: np.ndarray) -> np.ndarray:
        self._check(matrix)
        return matrix.astype(np.float16)

    def _decode(self, codes: np.ndarray) -> np.ndarray:
        return codes.astype(np.float32)

    def _code_width(self) -> int:
        return self._width()

    def scanner(self, codes: Any, metric: str) -> Scanner:
        """FAISS's scan of half-precision codes."""
        import faiss

        dim, kind = self._width(), faiss.ScalarQuantizer.QT_fp16

        def empty() -> Any:
            return faiss.IndexScalarQuantizer(dim, kind, FaissScanner.metric_of(metric))

        return FaissScanner(empty, codes, None, selects=True)


class ScalarQuantizer(CodeTransform):
    """Each coordinate as one of `2**bits` evenly spaced values between the least and the largest seen by `fit`.

    What lies outside the range later is moved to its edge. A rotation before coding spreads the information: `random`
    makes all coordinates alike, `principal` sorts them by variance, so that with `n_components` the least important
    ones are left out and their bits go to the others. On text embeddings, two thirds of the principal coordinates at
    6 bits keep more than all coordinates at 4 bits, at the same size.

    Args:
        bits: 8, 6 or 4 a coordinate. The last byte of a code may be partly empty.
        rotation: `None`, `"random"` or `"principal"`.
        n_components: Coordinates to keep after the rotation; all when left out. Needs a rotation.
        seed: For the random rotation and for the sample of rows that is learned from (50,000).

    Raises:
        InvalidValueError: Other bits or rotation, `n_components` out of range or without rotation.

    Coding is FAISS's (`faiss.ScalarQuantizer`); where all values of a coordinate are equal, decoding is exact.

    Example:
        >>> import numpy as np
        >>> vectors = np.random.default_rng(0).normal(size=(100, 8))
        >>> quantizer = ScalarQuantizer(bits=4).fit(vectors)
        >>> quantizer.transform(vectors).shape, quantizer.bytes_per_vector
        ((100, 4), 4)
    """

    def __init__(
        self, bits: int = 8, rotation: str | None = None, n_components: int | None = None, seed: int | None = 0
    ) -> None:
        self.bits = bits
        self.rotation = rotation
        self.n_components = n_components
        self.seed = seed

    def _learn(self, matrix: np.ndarray) -> None:
        if self.bits not in (4, 6, 8) or isinstance(self.bits, bool):
            raise InvalidValueError(f"bits: got {self.bits!r}, needs 4, 6 or 8")
        check_rotation(self.rotation, ("random", "principal"))
        dim = matrix.shape[1]
        count = dim if self.n_components is None else whole(self.n_components, "n_components", 1, dim)
        if self.rotation is None and count != dim:
            raise InvalidValueError(
                f"n_components: got {count} without a rotation, which would drop coordinates as they come; "
                "choose rotation='principal'"
            )
        sample = sample_rows(matrix, FIT_ROWS, self.seed)
        self.mean_ = np.zeros(dim, dtype=np.float32)
        if self.rotation == "principal":
            self.mean_, self.axes_, _ = principal_axes(sample, count, self.seed)
        else:
            self.axes_ = random_axes(dim, count, self.seed) if self.rotation else np.zeros((0, dim), dtype=np.float32)
        self.count_ = count
        coordinates = self._rotated(sample)
        low, high = coordinates.min(axis=0), coordinates.max(axis=0)
        self.ranges_ = np.concatenate([low, high - low]).astype(np.float32)
        self._restored()

    def _restored(self) -> None:
        import faiss

        self.count_ = len(self.axes_) or self.mean_.shape[0]
        self._quantizer = faiss.ScalarQuantizer(self.count_, _kind(self.bits))
        faiss.copy_array_to_vector(np.asarray(self.ranges_, dtype=np.float32), self._quantizer.trained)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_quantizer", None)  # FAISS's object cannot be copied; it is built again from the ranges
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "ranges_"):
            self._restored()

    def _rotated(self, matrix: np.ndarray) -> np.ndarray:
        return onto(matrix, self.mean_, self.axes_) if len(self.axes_) else matrix

    def _encode(self, matrix: np.ndarray) -> np.ndarray:
        return self._quantizer.compute_codes(np.ascontiguousarray(self._rotated(matrix), dtype=np.float32))

    def _decode(self, codes: np.ndarray) -> np.ndarray:
        coordinates = self._quantizer.decode(codes)
        return back(coordinates, self.mean_, self.axes_) if len(self.axes_) else coordinates

    def _code_width(self) -> int:
        return int((self.count_ * self.bits + 7) // 8)

    def _arrays(self) -> tuple[str, ...]:
        return ("mean_", "axes_", "ranges_")

    def scanner(self, codes: Any, metric: str) -> Scanner:
        """FAISS's scan of scalar codes, in the rotated space."""
        import faiss

        def empty() -> Any:
            index = faiss.IndexScalarQuantizer(self.count_, _kind(self.bits), FaissScanner.metric_of(metric))
            faiss.copy_array_to_vector(np.asarray(self.ranges_, dtype=np.float32), index.sq.trained)
            index.is_trained = True
            return index

        mean = self.mean_ if metric == "l2" else np.zeros_like(self.mean_)
        project = (lambda queries: onto(queries, mean, self.axes_)) if len(self.axes_) else None
        return FaissScanner(empty, codes, project, selects=True)


def _kind(bits: int) -> Any:
    import faiss

    kinds = faiss.ScalarQuantizer
    return {4: kinds.QT_4bit, 6: kinds.QT_6bit, 8: kinds.QT_8bit}[bits]
