"""Any kind of vectors in, a checked NumPy matrix inside, the same kind out."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from polyvec.core.errors import InvalidTypeError, InvalidValueError


def is_tensor(values: Any) -> bool:
    """Whether `values` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def _to_numpy(values: Any, name: str) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values
    if is_tensor(values):
        if values.is_sparse or str(values.layout) != "torch.strided":
            raise InvalidTypeError(f"{name}: got a sparse tensor, needs a dense one; call .to_dense() first")
        tensor = values.detach()
        if str(tensor.dtype) == "torch.bfloat16":  # NumPy has no bfloat16
            tensor = tensor.float()
        return tensor.cpu().numpy()
    if type(values).__module__.startswith("scipy.sparse"):
        raise InvalidTypeError(f"{name}: got a sparse matrix, needs a dense one; call .toarray() if it fits in memory")
    if hasattr(values, "to_numpy"):  # pandas, polars
        return np.asarray(values.to_numpy())
    if isinstance(values, (str, bytes)):
        raise InvalidTypeError(f"{name}: got {type(values).__name__}, needs an array of numbers (rows, dimensions)")
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InvalidValueError(
            f"{name}: rows of different lengths or not numbers; needs (rows, dimensions)"
        ) from error


def first_bad_row(matrix: np.ndarray) -> int | None:
    """The number of the first row with NaN or infinity, or `None`; reads the matrix in blocks."""
    block = max(1, (1 << 22) // max(1, matrix.shape[1] if matrix.ndim > 1 else 1))
    for start in range(0, len(matrix), block):
        part = matrix[start : start + block]
        finite = np.isfinite(part)
        if not finite.all():
            return start + int(np.argmin(finite.reshape(len(part), -1).all(axis=1)))
    return None


def as_matrix(
    values: Any,
    name: str = "vectors",
    *,
    dim: int | None = None,
    min_rows: int = 1,
    finite: bool = True,
    dtype: npt.DTypeLike | None = np.float32,
) -> np.ndarray:
    """Checked matrix `(rows, dimensions)` of anything that holds vectors.

    Args:
        values: `Vectors`, NumPy array, torch tensor (any device), pandas or polars frame, or nested sequence.
        name: The argument's name, for messages.
        dim: Required number of columns, or `None` for any.
        min_rows: Fewest rows that make sense.
        finite: Whether NaN and infinity are refused (with the row's number).
        dtype: Result's type; `None` keeps a floating type and turns integers and booleans into float64.

    Raises:
        InvalidTypeError: Not numeric, sparse.
        InvalidValueError: Not two-dimensional, too few rows, no columns, wrong width, NaN or infinity.
    """
    matrix = _to_numpy(values, name)
    if matrix.dtype.kind not in "fiub":
        raise InvalidTypeError(f"{name}: got elements of type {matrix.dtype}, needs real numbers")
    if matrix.ndim != 2:
        hint = "; one vector? use x[None, :]" if matrix.ndim == 1 else ""
        raise InvalidValueError(f"{name}: got shape {matrix.shape}, needs two dimensions (rows, dimensions){hint}")
    if len(matrix) < min_rows:
        raise InvalidValueError(f"{name}: got {len(matrix)} rows, needs at least {min_rows}")
    if matrix.shape[1] == 0:
        raise InvalidValueError(f"{name}: got vectors of 0 dimensions, needs at least 1")
    if dim is not None and matrix.shape[1] != dim:
        raise InvalidValueError(f"{name}: got {matrix.shape[1]} dimensions, needs {dim}")
    if dtype is None:
        dtype = matrix.dtype if matrix.dtype.kind == "f" else np.float64
    if finite and matrix.dtype.kind == "f" and (bad := first_bad_row(matrix)) is not None:
        raise InvalidValueError(f"{name}: row {bad} holds NaN or infinity; drop or repair such rows first")
    with np.errstate(over="ignore"):  # an overflow is refused below, with its row
        converted = matrix.astype(dtype, copy=False)
    if finite and converted.dtype.itemsize < matrix.dtype.itemsize and (bad := first_bad_row(converted)) is not None:
        raise InvalidValueError(f"{name}: row {bad} does not fit in {converted.dtype}; rescale the vectors first")
    return converted


def match_kind(result: np.ndarray, given: Any) -> Any:
    """`result` as the kind that was given: a tensor on the same device, `Vectors` with the same ids, else NumPy."""
    if is_tensor(given):
        import torch

        return torch.from_numpy(np.ascontiguousarray(result)).to(given.device)
    from polyvec.core.vectors import Vectors

    if isinstance(given, Vectors) and len(given) == len(result):
        return Vectors(result, ids=given.ids, metadata=given.metadata)
    return result
