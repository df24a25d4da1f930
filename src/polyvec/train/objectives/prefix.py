"""The prefix of an embedding, as it is served: slice first, then scale to unit length."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train.sizes import check_size


def unit_length(embeddings: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Embeddings divided by their Euclidean length; a zero vector stays zero.

    The gradient at a zero vector is that of the identity. A small constant under the division would multiply it by
    1e12 there, and one dead row would wreck a training step.
    """
    norms = torch.linalg.vector_norm(embeddings, dim=-1, keepdim=True)
    return embeddings / torch.where(norms > 0, norms, torch.ones_like(norms))


def prefix(embeddings: Float[Tensor, "*batch dim"], size: int, normalize: bool = True) -> Float[Tensor, "*batch size"]:
    """The first `size` coordinates, scaled to unit length again.

    The order matters: a slice of a normalised vector is shorter than 1 by a different amount in each row, which
    biases dot products. Differentiable; device and type are kept.

    Args:
        embeddings: `(..., dim)` pooled embeddings.
        size: From 1 to `dim`; a larger one raises, it is never clipped.
        normalize: `False` leaves the slice as it is, for objectives on raw dot products.

    Raises:
        InvalidTypeError: Not a tensor of real floating numbers.
        InvalidValueError: Size out of range.
    """
    if not isinstance(embeddings, Tensor) or not embeddings.is_floating_point():
        kind = embeddings.dtype if isinstance(embeddings, Tensor) else type(embeddings).__name__
        raise InvalidTypeError(f"embeddings: got {kind}, needs a tensor of floating-point numbers")
    if embeddings.ndim == 0:
        raise InvalidValueError("embeddings: got a single number, needs the coordinates as the last dimension")
    sliced = embeddings[..., : check_size(size, "size", embeddings.shape[-1])]
    return unit_length(sliced) if normalize else sliced
