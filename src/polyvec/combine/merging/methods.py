"""What every merging method is: task vectors in, one merged difference out, block by block; and the list of methods."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from polyvec.combine.task_vectors.vector import TaskVector
from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFoundError

METHODS = {
    "average": "polyvec.combine.merging.linear:Average",
    "task-arithmetic": "polyvec.combine.merging.linear:TaskArithmetic",
    "slerp": "polyvec.combine.merging.spherical:Slerp",
    "ties": "polyvec.combine.merging.ties:Ties",
    "dare": "polyvec.combine.merging.dare:Dare",
    "fisher": "polyvec.combine.merging.fisher:Fisher",
    "regmean": "polyvec.combine.merging.regmean:RegMean",
}
"""Name of each method that merges without learning, and where it is."""


@dataclass(frozen=True)
class Block:
    """Some rows of one weight: the differences of all models.

    Attributes:
        name: The weight.
        rows: Which rows.
        deltas: One tensor for each task vector, all of the same shape.
    """

    name: str
    rows: slice
    deltas: list[Tensor]


class MergeMethod:
    """A way to merge task vectors: `merged = base + scale * merge(differences)`.

    Args:
        weights: One number for each task vector; all 1 by default. What they do is said by each method.
        scale: The merged difference is multiplied by it; 1 by default.

    Raises:
        InvalidTypeError: Something else than numbers.
        InvalidValueError: A number that is not finite; weights that the method cannot use.
    """

    name: ClassVar[str]
    needs_positive_weights: ClassVar[bool] = False

    def __init__(self, weights: Sequence[float] | None = None, scale: float = 1.0) -> None:
        self.weights = None if weights is None else [_number(weight, "weights") for weight in weights]
        self.scale = _number(scale, "scale")
        if self.needs_positive_weights and self.weights is not None and min(self.weights, default=1.0) <= 0:
            raise InvalidValueError(f"weights: got {self.weights}, {self.name} needs numbers above 0")

    def weights_for(self, count: int) -> list[float]:
        """One weight for each of `count` task vectors."""
        if self.weights is None:
            return [1.0] * count
        if len(self.weights) != count:
            raise InvalidValueError(f"weights: got {len(self.weights)}, needs {count}, one for each model")
        return self.weights

    def prepare(self, vectors: Sequence[TaskVector]) -> None:
        """Check the options against the task vectors, and take the passes over them that the method needs first."""
        self.weights_for(len(vectors))

    def needs_whole(self, name: str) -> bool:
        """Whether this weight has to come as one block."""
        return False

    def merge(self, block: Block) -> Tensor:
        """The merged difference of a block, before scaling."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it merges")


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidTypeError(f"{name}: got {type(value).__name__}, needs a number")
    if not math.isfinite(value):
        raise InvalidValueError(f"{name}: got {value}, needs a finite number")
    return float(value)


def weighted_sum(deltas: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """`sum_i weights[i] * deltas[i]`, in place where it can."""
    total = deltas[0] * weights[0]
    for delta, weight in zip(deltas[1:], weights[1:], strict=True):
        total.add_(delta, alpha=weight)
    return total


def merge_method(method: str | MergeMethod, **options: Any) -> MergeMethod:
    """The method of this name with its options; a method passes through.

    Raises:
        NotFoundError: No such method.
        InvalidTypeError: An option that the method does not have, or a missing one.
    """
    if isinstance(method, MergeMethod):
        if options:
            raise InvalidTypeError(f"options: got {', '.join(options)} beside a ready method; give them to the method")
        return method
    if method not in METHODS:
        hint = (
            "; its numbers have to be learned: use SelfPositioning, or `polyvec merge` with --probe"
            if method == "self-positioning"
            else ""
        )
        raise NotFoundError(f"method: got {method!r}, needs one of {', '.join(METHODS)}{hint}")
    module, _, name = METHODS[method].partition(":")
    kind = getattr(importlib.import_module(module), name)
    try:
        return kind(**options)
    except TypeError as error:
        if isinstance(error, InvalidTypeError):
            raise
        problem = str(error).replace(f"{name}.__init__() ", "")
        raise InvalidTypeError(f"{method}: {problem}") from error
