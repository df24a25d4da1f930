"""Spherical interpolation of task vectors, reduced to one coefficient for each vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from polyvec.combine.merging.methods import Block, MergeMethod, weighted_sum
from polyvec.combine.task_vectors.vector import TaskVector, check_not_zero, gram_matrix
from polyvec.core.errors import InvalidValueError

FLATTEST = 1e-4
"""Sine of the angle below which two vectors are interpolated along a line: the arc divides by that sine."""


def slerp_coefficients(gram: Tensor, weights: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """What each task vector is multiplied by in an iterated spherical interpolation.

    Vectors join one after the other: `W_1 = V_1` and
    `W_m = [sin((1 - b) t) W_(m-1) + sin(b t) V_m] / sin(t)`, where `t` is the angle of `W_(m-1)` and `V_m` and
    `b = a_m / (mean(a_1..a_(m-1)) + a_m)`; the result is `scale * W_N`. Everything but the inner products drops out, so
    `W_N = sum_i c_i V_i` and the `c_i` follow from the Gram matrix alone. Differentiable in `weights` and `scale`, also
    through the angles, which depend on the weights from the third vector on. A larger weight pulls towards its vector.

    Args:
        gram: `(count, count)` inner products of the task vectors, in their order.
        weights: `(count,)` mixing numbers `a` above 0; only their ratios matter.
        scale: Length relative to the interpolated vector.

    Returns:
        `(count,)` coefficients.

    Source: Li et al., "Improving General Text Embedding Model" (arXiv 2410.15035), section on Self Positioning. The two
    factors are written so that the larger weight wins; below `FLATTEST` the interpolation is linear.

    Example:
        >>> import torch
        >>> right_angle = torch.eye(2)
        >>> [round(c, 4) for c in slerp_coefficients(right_angle, torch.tensor([1.0, 1.0])).tolist()]
        [0.7071, 0.7071]
    """
    size = len(weights)
    gram = gram.to(weights.dtype) / gram.diagonal().max().to(weights.dtype)  # angles do not depend on the unit
    coefficients = weights.new_ones(1)
    for position in range(1, size):
        so_far, joining = gram[:position, :position], gram[position, position]
        own = coefficients @ so_far @ coefficients
        dot = coefficients @ gram[:position, position]
        share = weights[position] / (weights[:position].mean() + weights[position])
        sine_squared = 1 - dot.detach() ** 2 / (own.detach() * joining)
        if not sine_squared.item() >= FLATTEST**2:  # also where opposite vectors have cancelled to nothing
            kept, added = 1 - share, share
        else:
            angle = torch.atan2(torch.sqrt((own * joining - dot**2).clamp_min(0)), dot)
            kept = torch.sin((1 - share) * angle) / torch.sin(angle)
            added = torch.sin(share * angle) / torch.sin(angle)
        coefficients = torch.cat([kept * coefficients, added.reshape(1)])
    return scale * coefficients


class Slerp(MergeMethod):
    """Iterated spherical interpolation over whole task vectors, see `slerp_coefficients`.

    With more than two models the result depends on their order. Unlike the interpolation of tools for language models,
    the angle is that of the whole task vectors, not of the weights of each layer.
    """

    name: ClassVar[str] = "slerp"
    needs_positive_weights: ClassVar[bool] = True

    def prepare(self, vectors: Sequence[TaskVector]) -> None:
        """Measure the angles: one pass over the weights.

        Raises:
            InvalidValueError: A task vector of length 0.
        """
        weights = self.weights_for(len(vectors))
        gram = gram_matrix(vectors)
        check_not_zero(gram, vectors)
        self.coefficients = slerp_coefficients(gram, torch.tensor(weights, dtype=torch.float64)).tolist()

    def merge(self, block: Block) -> Tensor:
        """The interpolated difference."""
        return weighted_sum(block.deltas, self.coefficients)


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Spherical interpolation of two tensors, seen as flat vectors: `first` at share 0, `second` at 1.

    Raises:
        InvalidValueError: Different shapes; a zero tensor; a share outside of 0 to 1.
    """
    if first.shape != second.shape:
        raise InvalidValueError(f"second: got shape {tuple(second.shape)}, needs {tuple(first.shape)} as in first")
    if not 0 <= share <= 1:
        raise InvalidValueError(f"share: got {share}, needs a number from 0 to 1")
    flat = torch.stack([first.flatten(), second.flatten()]).double()
    gram = flat @ flat.T
    if (gram.diagonal() == 0).any():
        raise InvalidValueError("first, second: one is zero and has no direction")
    weights = torch.tensor([1 - share, share], dtype=torch.float64)
    kept, added = slerp_coefficients(gram, weights).tolist()
    return kept * first + added * second
