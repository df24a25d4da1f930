"""Combiners: a few learned numbers that become one coefficient for each task vector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from polyvec.combine.merging.spherical import slerp_coefficients
from polyvec.core.errors import InvalidValueError

ONE = math.log(math.e - 1)
"""softplus(ONE) = 1."""


class Combiner(nn.Module):
    """Learned scalars to coefficients.

    `forward()` returns `(vectors,)`, one coefficient for each task vector, or `(vectors, blocks)`, one for each task
    vector and weight (in the order of `TaskVector.names`). `length()` is what the penalty on the length looks at, or
    `None` when the combiner has no such number.
    """

    def forward(self) -> Float[Tensor, "vectors ..."]:
        """The coefficients, differentiable."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it combines")

    def length(self) -> Float[Tensor, ""] | None:
        """The learned length, if there is one."""
        return None


class SlerpCombiner(Combiner):
    """Self Positioning's numbers: mixing weights for the direction, and a length.

    All are positive through softplus and start at 1. With a single vector only the length is learned.

    Args:
        gram: `(vectors, vectors)` inner products of the task vectors, in the order in which they are interpolated.
        learn_length: `False` keeps the length at 1.

    Raises:
        InvalidValueError: Not a square matrix; a task vector of length 0.
    """

    gram: Tensor

    def __init__(self, gram: Float[Tensor, "vectors vectors"], learn_length: bool = True) -> None:
        super().__init__()
        if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or not len(gram):
            raise InvalidValueError(f"gram: got shape {tuple(gram.shape)}, needs a square matrix of inner products")
        if bool((gram.diagonal() <= 0).any()):
            raise InvalidValueError("gram: a task vector has length 0, so it has no direction; leave it out")
        self.register_buffer("gram", gram.detach().double())
        self.raw_weights = nn.Parameter(torch.full((len(gram),), ONE, dtype=torch.float64), len(gram) > 1)
        self.raw_scale = nn.Parameter(torch.tensor(ONE, dtype=torch.float64), learn_length)

    def mixing(self) -> Float[Tensor, " vectors"]:
        """The weights `a`; only their ratios matter."""
        return softplus(self.raw_weights)

    def length(self) -> Float[Tensor, ""]:
        """The length `lambda`."""
        return softplus(self.raw_scale)

    def forward(self) -> Float[Tensor, " vectors"]:
        """The coefficients of the interpolated vector times its length."""
        return slerp_coefficients(self.gram, self.mixing(), self.length())


class LinearCombiner(Combiner):
    """One free coefficient for each task vector, of any sign.

    Args:
        start: Where they start, for example `[1 / n] * n`, the average.
    """

    def __init__(self, start: Sequence[float]) -> None:
        super().__init__()
        if not start:
            raise InvalidValueError("start: got none, needs one number for each task vector")
        self.coefficients = nn.Parameter(torch.tensor([float(value) for value in start], dtype=torch.float64))

    def forward(self) -> Float[Tensor, " vectors"]:
        """The coefficients as they are."""
        return self.coefficients * 1.0


class PerBlockCombiner(Combiner):
    """One free coefficient for each task vector and weight.

    Args:
        vectors: Number of task vectors.
        blocks: Number of weights.
        start: Where they start; 0 is the base itself.
    """

    def __init__(self, vectors: int, blocks: int, start: float = 0.0) -> None:
        super().__init__()
        if vectors < 1 or blocks < 1:
            raise InvalidValueError(f"vectors, blocks: got {vectors} and {blocks}, needs at least 1 of each")
        self.coefficients = nn.Parameter(torch.full((vectors, blocks), float(start), dtype=torch.float64))

    def forward(self) -> Float[Tensor, "vectors blocks"]:
        """The coefficients as they are."""
        return self.coefficients * 1.0
