"""The algebra of FastRP: degree scales, powers of the walk matrix applied to a projection, their combination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from polyvec.encode.graph.products import Floats, RowProduct, accumulate
from polyvec.encode.graph.view import Graph


class WalkMatrix(NamedTuple):
    """`S = diag(row_scale) adjacency` and the diagonal of L, for one graph.

    `total` is the sum of all edge weights (2m in an undirected graph without loops); `isolated` marks nodes that no
    edge touches; `sinks` counts nodes that edges enter but none leaves.
    """

    adjacency: sp.csr_array
    row_scale: Floats
    column_scale: npt.NDArray[np.float64]
    isolated: npt.NDArray[np.bool_]
    total: float
    sinks: int


def walk_matrix(graph: Graph, beta: float, *, sinks: str = "stay", dtype: npt.DTypeLike = np.float32) -> WalkMatrix:
    """The random walk of a graph with degree correction `beta`.

    Rows without edges stay zero. A sink of a directed graph gets a self-loop (`sinks="stay"`), so that its row sums to
    1 like the others, or stays zero (`sinks="zero"`).
    """
    leaving = graph.out_weights()
    entering = graph.in_weights() if graph.directed else leaving
    isolated = (leaving == 0) & (entering == 0)
    stuck = (leaving == 0) & (entering > 0)
    adjacency = graph.adjacency
    if sinks == "stay" and stuck.any():
        adjacency = sp.csr_array(adjacency + sp.diags_array(stuck.astype(np.float32), format="csr"))
        leaving = np.where(stuck, 1.0, leaving)
    if np.dtype(dtype) != adjacency.dtype:
        adjacency = adjacency.astype(dtype)
    total = float(entering.sum())
    row_scale = np.divide(1.0, leaving, out=np.zeros_like(leaving), where=leaving > 0)
    return WalkMatrix(
        adjacency, row_scale.astype(dtype), degree_scale(entering, total, beta), isolated, total, int(stuck.sum())
    )


def degree_scale(weights: npt.NDArray[np.float64], total: float, beta: float) -> npt.NDArray[np.float64]:
    """The diagonal of L: `(d / total)^beta`, and 0 where d is 0 (no walk ends there)."""
    share = np.divide(weights, total, out=np.zeros_like(weights), where=weights > 0)
    return np.power(share, beta, out=np.zeros_like(share), where=share > 0)


def scaled_rows(matrix: Any, scale: npt.NDArray[np.float64]) -> Any:
    """`diag(scale) matrix`, of the same kind and type."""
    factors = scale.astype(matrix.dtype)
    if sp.issparse(matrix):
        data = matrix.data * np.repeat(factors, np.diff(matrix.indptr))
        return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    return matrix * factors[:, None]


def walk_powers(
    product: RowProduct, start: sp.csr_array | Floats, hops: int, buffers: Sequence[Floats]
) -> Iterator[tuple[Floats, Floats]]:
    """Yield `(U_k, lengths of its rows)` for k = 1 .. hops, where `U_1 = S start` and `U_k = S U_(k-1)`.

    U_k is written to `buffers[(k - 1) % len(buffers)]`, so two buffers are enough where only the last is wanted.
    """
    current = start
    for hop in range(hops):
        out = buffers[hop % len(buffers)]
        norms = np.empty(len(out), dtype=out.dtype)
        if sp.issparse(current):
            product.sparse(current, out, norms)
        else:
            product.dense(current, out, norms)
        yield out, norms
        current = out


def row_norms(matrix: Any) -> Floats:
    """Length of each row of a sparse or dense matrix."""
    if sp.issparse(matrix):
        return np.sqrt(matrix.multiply(matrix).sum(axis=1)).astype(matrix.dtype)
    return np.sqrt(np.einsum("ij,ij->i", matrix, matrix))


def coefficients(weight: float, norms: Floats, normalize: bool) -> Floats:
    """The factor of each row: `weight`, divided by the row's length when `normalize`; zero rows get 0."""
    if not normalize:
        return np.full_like(norms, weight)
    return np.divide(norms.dtype.type(weight), norms, out=np.zeros_like(norms), where=norms > 0)


class Combination:
    """Weighted sum of matrices `(nodes, dim)`, or the weighted matrices side by side, as they come along.

    Args:
        shape: `(nodes, dim)`.
        weights: All the weights that will be added; those that are 0 take no columns.
        normalize: Scale rows to length 1 first.
        concatenate: Side by side instead of summed.
        dtype: Type of the result.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        weights: Sequence[float],
        *,
        normalize: bool,
        concatenate: bool,
        dtype: npt.DTypeLike,
    ) -> None:
        nodes, self._dim = shape
        self._normalize, self._concatenate = normalize, concatenate
        blocks = sum(weight > 0 for weight in weights) if concatenate else 1
        self.out = np.zeros((nodes, self._dim * blocks), dtype=dtype)
        self._column = 0

    def add(self, weight: float, matrix: Floats, norms: Floats) -> None:
        """Take in the next matrix with the lengths of its rows; weight 0 does nothing."""
        if weight == 0:
            return
        factors = coefficients(weight, norms, self._normalize)
        if self._concatenate:
            np.multiply(matrix, factors[:, None], out=self.out[:, self._column : self._column + self._dim])
            self._column += self._dim
        else:
            accumulate(self.out, factors, matrix)


class ColumnStatistics(NamedTuple):
    """Mean and `1 / standard deviation` of each column (0 for a constant one)."""

    mean: Floats
    inverse: Floats


def column_statistics(matrix: Floats) -> ColumnStatistics:
    """Statistics over the rows that are not zero."""
    rows = np.asarray(matrix.any(axis=1))
    count = max(int(rows.sum()), 1)
    mean = matrix.sum(axis=0, dtype=np.float64) / count
    squares = np.zeros(matrix.shape[1])
    for first in range(0, len(matrix), 1 << 14):
        part = matrix[first : first + (1 << 14)][rows[first : first + (1 << 14)]] - mean
        squares += np.einsum("ij,ij->j", part, part)
    deviation = np.sqrt(squares / count)
    varies = deviation > 1e-7 * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
    return ColumnStatistics(mean.astype(matrix.dtype), inverse.astype(matrix.dtype))


def standardize_columns(matrix: Floats, statistics: ColumnStatistics) -> None:
    """Shift and scale the columns in place; zero rows (isolated nodes) stay zero."""
    empty = ~matrix.any(axis=1)
    matrix -= statistics.mean
    matrix *= statistics.inverse
    matrix[empty] = 0
