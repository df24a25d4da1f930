"""Products of a row-scaled adjacency with a matrix: compiled (numba), else scipy, or on a torch device."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from polyvec.core.errors import InvalidValueError

Floats = npt.NDArray[np.floating]
_BLOCKS = (
    256  # units of parallel work: many more than cores, so that a block with hubs does not keep the others waiting
)
_ROWS_AT_ONCE = 1 << 14


def compiled_available() -> bool:
    """Whether numba is installed (it comes with `polyvec[graph]`)."""
    return find_spec("numba") is not None


class RowProduct(Protocol):
    """`S X` for a fixed `S = diag(scale) A`."""

    def sparse(self, start: sp.csr_array, out: Floats, norms: Floats) -> None:
        """Write `S start` into `out` and the lengths of its rows into `norms`."""
        ...

    def dense(self, matrix: Floats, out: Floats, norms: Floats) -> None:
        """Write `S matrix` into `out` and the lengths of its rows into `norms`."""
        ...


def row_product(adjacency: sp.csr_array, scale: Floats, device: str | None = None) -> RowProduct:
    """The fastest product at hand; results agree up to floating-point rounding.

    Args:
        adjacency: `(nodes, nodes)` CSR.
        scale: One factor a row.
        device: A torch device ("cpu", "cuda", ...) to compute on; `None` (default) uses all cores through numba, or
            scipy (one core) where numba is not installed.
    """
    if device is not None:
        return _TorchProduct(adjacency, scale, device)
    if compiled_available():
        return _CompiledProduct(adjacency, scale)
    return _ScipyProduct(adjacency, scale)


def balanced_blocks(indptr: npt.NDArray[np.integer], count: int = _BLOCKS) -> npt.NDArray[np.int64]:
    """Borders of `count` runs of rows with about the same work, where a row costs its entries plus a little."""
    work = indptr.astype(np.int64) + 4 * np.arange(len(indptr))
    borders = np.searchsorted(work, np.linspace(0, work[-1], count + 1)).astype(np.int64)
    borders[-1] = len(indptr) - 1
    return borders


class _CompiledProduct:
    def __init__(self, adjacency: sp.csr_array, scale: Floats) -> None:
        self._parts = (adjacency.indptr, adjacency.indices, adjacency.data, scale, balanced_blocks(adjacency.indptr))

    def sparse(self, start: sp.csr_array, out: Floats, norms: Floats) -> None:
        from polyvec.encode.graph import kernels

        kernels.multiply_sparse(*self._parts, start.indptr, start.indices, start.data, out, norms)

    def dense(self, matrix: Floats, out: Floats, norms: Floats) -> None:
        from polyvec.encode.graph import kernels

        kernels.multiply(*self._parts, matrix, out, norms)


class _ScipyProduct:
    def __init__(self, adjacency: sp.csr_array, scale: Floats) -> None:
        self._adjacency, self._scale = adjacency, scale

    def sparse(self, start: sp.csr_array, out: Floats, norms: Floats) -> None:
        self._write(start, out, norms)

    def dense(self, matrix: Floats, out: Floats, norms: Floats) -> None:
        self._write(matrix, out, norms)

    def _write(self, matrix: Any, out: Floats, norms: Floats) -> None:
        for first in range(0, len(out), _ROWS_AT_ONCE):  # bounds the temporaries
            rows = slice(first, min(first + _ROWS_AT_ONCE, len(out)))
            part = self._adjacency[rows] @ matrix
            np.multiply(part.toarray() if sp.issparse(part) else part, self._scale[rows, None], out=out[rows])
            norms[rows] = np.sqrt(np.einsum("ij,ij->i", out[rows], out[rows]))


class _TorchProduct:
    def __init__(self, adjacency: sp.csr_array, scale: Floats, device: str) -> None:
        import torch

        try:
            place = torch.device(device)
            weights = torch.from_numpy(adjacency.data * np.repeat(scale, np.diff(adjacency.indptr))).to(place)
        except (RuntimeError, AssertionError) as error:  # torch raises AssertionError for a build without CUDA
            reason = str(error).splitlines()[0]
            raise InvalidValueError(
                f"device: got {device!r}, needs a torch device of this machine ({reason})"
            ) from error
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            self._matrix = torch.sparse_csr_tensor(
                torch.from_numpy(adjacency.indptr).to(place),
                torch.from_numpy(adjacency.indices).to(place),
                weights,
                size=adjacency.shape,
                check_invariants=False,
            )
        self._last: tuple[Floats, torch.Tensor] | None = None

    def sparse(self, start: sp.csr_array, out: Floats, norms: Floats) -> None:
        self.dense(start.toarray(), out, norms)

    def dense(self, matrix: Floats, out: Floats, norms: Floats) -> None:
        import torch

        if self._last is not None and self._last[0] is matrix:  # the last result is still on the device
            given = self._last[1]
        else:
            given = torch.from_numpy(np.ascontiguousarray(matrix)).to(self._matrix.device)
        product = self._matrix @ given
        torch.from_numpy(out).copy_(product)
        torch.from_numpy(norms).copy_(torch.linalg.vector_norm(product, dim=1))
        self._last = (out, product)


def accumulate(out: Floats, coefficients: Floats, power: Floats) -> None:
    """`out += diag(coefficients) power`, in place and without a temporary of that size."""
    if compiled_available():
        from polyvec.encode.graph import kernels

        kernels.accumulate(out, coefficients, power)
        return
    for first in range(0, len(out), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        out[rows] += coefficients[rows, None] * power[rows]
