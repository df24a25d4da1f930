"""Rotations before coding: principal axes, or random ones; the same for every compressor."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from polyvec.core.errors import InvalidValueError
from polyvec.core.randomness import numpy_generator

FIT_ROWS = 50_000
"""More rows than this do not make the axes or ranges of a few hundred dimensions better; a sample is taken."""


_FEW_ROWS = 512


@cache
def _blas() -> Any:
    """BLAS on one thread for the rows of one query: on a busy machine its threads mostly wait for each other."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def sample_rows(matrix: np.ndarray, most: int, seed: int | None) -> np.ndarray:
    """At most so many rows, drawn without replacement, in their order."""
    if len(matrix) <= most:
        return matrix
    return matrix[np.sort(numpy_generator(seed).choice(len(matrix), most, replace=False))]


def principal_axes(matrix: np.ndarray, count: int, seed: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean `(d,)`, the `count` directions of largest variance `(count, d)`, and the variance along each.

    Axes that the rows cannot determine (fewer rows than dimensions) are any that complete the basis.
    """
    from sklearn import decomposition

    sample = sample_rows(matrix, FIT_ROWS, seed).astype(np.float64)
    dim = sample.shape[1]
    if len(sample) < 2:
        axes, variances, mean = np.eye(dim), np.zeros(dim), np.zeros(dim)
    elif len(sample) >= dim:
        found = decomposition.PCA(svd_solver="covariance_eigh").fit(sample)
        mean, axes, variances = found.mean_, found.components_, found.explained_variance_
    else:
        mean = sample.mean(axis=0)
        _, values, axes = np.linalg.svd(sample - mean, full_matrices=True)
        variances = np.zeros(dim)
        variances[: len(values)] = values**2 / (len(sample) - 1)
    return (
        mean.astype(np.float32),
        np.ascontiguousarray(axes[:count], dtype=np.float32),
        variances[:count].astype(np.float32),
    )


def random_axes(dim: int, count: int, seed: int | None) -> np.ndarray:
    """`count` orthonormal directions `(count, dim)`, uniformly random."""
    directions, triangle = np.linalg.qr(numpy_generator(seed).normal(size=(dim, dim)))
    return np.ascontiguousarray((directions * np.sign(np.diag(triangle))).T[:count], dtype=np.float32)


def onto(matrix: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Coordinates `(n, count)` of rows along axes.

    In double precision, so that a row's coordinates do not depend on which rows stand beside it: single-precision
    products of different shapes round differently, and codes that are compared byte by byte would differ.
    """
    if len(matrix) <= _FEW_ROWS:
        with _blas().limit(limits=1):
            return ((matrix.astype(np.float64) - mean) @ axes.T.astype(np.float64)).astype(np.float32)
    return ((matrix.astype(np.float64) - mean) @ axes.T.astype(np.float64)).astype(np.float32)


def back(coordinates: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Rows `(n, d)` of coordinates along axes."""
    if len(coordinates) <= _FEW_ROWS:
        with _blas().limit(limits=1):
            return coordinates @ axes + mean
    return coordinates @ axes + mean


def check_rotation(rotation: str | None, known: tuple[str, ...]) -> None:
    """Raise unless `rotation` is `None` or one of the known kinds."""
    if rotation is not None and rotation not in known:
        raise InvalidValueError(f"rotation: got {rotation!r}, needs None or one of {', '.join(known)}")
