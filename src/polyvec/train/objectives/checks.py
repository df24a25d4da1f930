"""Checks that the objectives share."""

from __future__ import annotations

import math

from torch import Tensor

from polyvec.core.errors import InvalidTypeError, InvalidValueError


def check_embeddings(values: Tensor, name: str, *, rows: int | None = None, dim: int | None = None) -> None:
    """Refuse what is not a `(rows, dim)` tensor of finite floating-point numbers.

    Values are looked at on the CPU only. Elsewhere the look would stall the device once a step, and half-precision
    training with a gradient scaler has to be allowed to meet an infinity and skip that step.

    Raises:
        InvalidTypeError: Not a tensor of floating-point numbers.
        InvalidValueError: Wrong shape; on the CPU also NaN or infinity.
    """
    if not isinstance(values, Tensor) or not values.is_floating_point():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise InvalidTypeError(f"{name}: got {kind}, needs a tensor of floating-point numbers (batch, dimensions)")
    if values.ndim != 2 or 0 in values.shape:
        raise InvalidValueError(f"{name}: got shape {tuple(values.shape)}, needs (batch, dimensions), none of them 0")
    if rows is not None and len(values) != rows:
        raise InvalidValueError(f"{name}: got {len(values)} rows, needs {rows}, one for each anchor")
    if dim is not None and values.shape[1] != dim:
        raise InvalidValueError(f"{name}: got {values.shape[1]} dimensions, needs {dim} as in the first argument")
    check_finite(values, name)


def check_negatives(negatives: Tensor, anchors: Tensor, *, own: bool = False, name: str = "negatives") -> None:
    """Refuse what is not `(others, dim)` or `(batch, each, dim)`; with `own` only the latter will do.

    Raises:
        InvalidTypeError: Not a tensor of floating-point numbers.
        InvalidValueError: Wrong shape; on the CPU also NaN or infinity.
    """
    ndim = negatives.ndim if isinstance(negatives, Tensor) else 2
    if ndim == 3 and len(negatives) != len(anchors):
        raise InvalidValueError(f"{name}: got {len(negatives)} rows of several, needs {len(anchors)}, one an anchor")
    if own and ndim != 3:
        raise InvalidValueError(
            f"{name}: got shape {tuple(negatives.shape)}, needs (batch, each, dimensions), as in_batch=False gives "
            "each anchor its own"
        )
    check_embeddings(negatives.flatten(0, 1) if ndim == 3 else negatives, name, dim=anchors.shape[1])


def check_finite(values: Tensor, name: str) -> None:
    """Refuse NaN and infinity in a tensor on the CPU; tensors elsewhere pass unseen (see `check_embeddings`)."""
    if values.device.type == "cpu" and not bool(values.isfinite().all()):
        row = int((~values.isfinite()).flatten(1).any(dim=1).nonzero()[0])
        raise InvalidValueError(f"{name}: row {row} holds NaN or infinity; the encoder diverged or its input is bad")


def check_positive(value: float, name: str) -> float:
    """`value` as a finite `float` above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidTypeError(f"{name}: got {type(value).__name__}, needs a number above 0")
    if not math.isfinite(value) or value <= 0:
        raise InvalidValueError(f"{name}: got {value}, needs a finite number above 0")
    return float(value)
