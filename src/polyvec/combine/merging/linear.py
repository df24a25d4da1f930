"""Weighted averages and sums of task vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from polyvec.combine.merging.methods import Block, MergeMethod, weighted_sum
from polyvec.combine.task_vectors.vector import TaskVector
from polyvec.core.errors import InvalidValueError


class Average(MergeMethod):
    """The weighted mean of the models: `sum_i w_i V_i / sum_i w_i`.

    Source: Wortsman et al., "Model soups" (ICML 2022), the uniform soup.
    """

    name: ClassVar[str] = "average"

    def prepare(self, vectors: Sequence[TaskVector]) -> None:
        """Check the weights."""
        if sum(self.weights_for(len(vectors))) == 0:
            raise InvalidValueError(f"weights: got {self.weights}, which sum to 0, so there is no mean")

    def merge(self, block: Block) -> Tensor:
        """The mean of the differences."""
        weights = self.weights_for(len(block.deltas))
        total = sum(weights)
        return weighted_sum(block.deltas, [weight / total for weight in weights])


class TaskArithmetic(MergeMethod):
    """The weighted sum of the task vectors: `scale * sum_i w_i V_i`. A negative weight takes a skill away.

    Source: Ilharco et al., "Editing Models with Task Arithmetic" (ICLR 2023).
    """

    name: ClassVar[str] = "task-arithmetic"

    def merge(self, block: Block) -> Tensor:
        """The sum of the differences."""
        return weighted_sum(block.deltas, self.weights_for(len(block.deltas)))
