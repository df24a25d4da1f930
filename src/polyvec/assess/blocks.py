"""A large matrix of any kind, read block by block as float64, without ever being copied whole."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from polyvec.core.arrays import as_matrix, is_tensor
from polyvec.core.errors import InvalidTypeError, InvalidValueError

logger = logging.getLogger("polyvec.assess")

_BLOCK_VALUES = 1 << 20  # 8 MiB of float64: enough for a fast matrix product, small beside data worth streaming
_SQUARABLE = 1e150  # squares of larger magnitudes overflow float64 when summed, of smaller inverses they underflow


def float64_device(device: Any) -> Any:
    """Where float64 sums of tensors on `device` are kept: the same torch device, or the CPU where it has no float64."""
    import torch

    return torch.device("cpu") if torch.device(device).type == "mps" else device


def to_numpy(values: Any) -> np.ndarray:
    """A NumPy array of a NumPy array or of a tensor on any device."""
    return values.detach().cpu().numpy() if is_tensor(values) else np.asarray(values)


def check_magnitude(block: Any, name: str, first_row: int) -> float:
    """The largest magnitude in a float64 block; refuses NaN, infinity and values whose squares overflow.

    Raises:
        InvalidValueError: With the number of the first such row, counted from `first_row`.
    """
    highest, lowest = float(block.max()), float(block.min())  # NaN where there is one
    largest = max(highest, -lowest)
    if largest <= _SQUARABLE:
        return largest
    values = to_numpy(block)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        row = first_row + int(np.argmin(finite))
        raise InvalidValueError(f"{name}: row {row} holds NaN or infinity; drop or repair such rows first")
    row = first_row + int(np.argmax((abs(values) > _SQUARABLE).any(axis=1)))
    raise InvalidValueError(
        f"{name}: row {row} holds {largest:.3g}, whose square overflows; divide all rows by one number, "
        "the scores do not depend on the scale"
    )


class MatrixBlocks:
    """Read access to `(rows, columns)` numbers in float64 blocks.

    Args:
        values: NumPy array (also memory-mapped), torch tensor on any device, scipy sparse matrix, `Vectors`, pandas or
            polars frame, or nested sequence. Floating types are promoted; sparse, integer and boolean input too, with a
            note in the log. Blocks of a tensor on an accelerator are tensors there, all others NumPy arrays.
        name: The argument's name, for messages.

    Raises:
        InvalidTypeError: Not real numbers.
        InvalidValueError: Not two-dimensional, or empty.
    """

    def __init__(self, values: Any, name: str = "Z") -> None:
        self.name = name
        self._is_sparse = type(values).__module__.startswith("scipy.sparse")
        if is_tensor(values):
            values = values.detach()
            if str(values.layout) != "torch.strided":
                logger.info("%s: sparse tensor made dense", name)
                values = values.to_dense()
            if values.is_complex():
                raise InvalidTypeError(f"{name}: got elements of type {values.dtype}, needs real numbers")
            is_floating = values.is_floating_point()
            if values.device.type == "cpu" and "float8" not in str(values.dtype) and "bfloat" not in str(values.dtype):
                # the same memory; NumPy computes half of a symmetric product, torch all of it
                values = values.resolve_neg().numpy()
        else:
            if self._is_sparse:
                if values.dtype.kind not in "fiub":
                    raise InvalidTypeError(f"{name}: got elements of type {values.dtype}, needs real numbers")
                if len(values.shape) == 2:
                    values = values.tocsr()
            elif not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
                values = as_matrix(values, name, min_rows=0, finite=False, dtype=None)
            is_floating = values.dtype.kind == "f"
        shape = tuple(values.shape)
        if len(shape) != 2 or 0 in shape:
            hint = "; one vector? use z[None, :]" if len(shape) == 1 and shape[0] else ""
            raise InvalidValueError(
                f"{name}: got shape {shape}, needs two dimensions (rows, dimensions) with at least one of each{hint}"
            )
        if self._is_sparse or not is_floating:
            kind = "sparse matrix" if self._is_sparse else f"elements of type {values.dtype}"
            logger.info("%s: %s converted to float64 block by block", name, kind)
        self._values = values
        self.rows, self.columns = int(shape[0]), int(shape[1])

    def _block(self, part: Any) -> Any:
        if is_tensor(part):
            import torch

            return part.to(device=float64_device(part.device), dtype=torch.float64)
        return np.asarray(part.toarray() if self._is_sparse else part, dtype=np.float64)

    def row_blocks(self) -> Iterator[tuple[int, Any]]:
        """`(first row, block of some rows and all columns)`, in order."""
        # many columns: a block also needs enough rows to be worth a pass over the (columns, columns) sums
        step = max(1, _BLOCK_VALUES // self.columns, min(self.columns // 8, 1024))
        for start in range(0, self.rows, step):
            yield start, self._block(self._values[start : start + step])

    def column_blocks(self) -> Iterator[Any]:
        """Blocks of all rows and some columns, in order."""
        step = max(1, _BLOCK_VALUES // self.rows)
        values = self._values.tocsc() if self._is_sparse else self._values
        for start in range(0, self.columns, step):
            yield self._block(values[:, start : start + step])
