"""Fisher merging: each number is averaged by how much each model's loss depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from polyvec.combine.merging.evaluating import evaluation
from polyvec.combine.merging.methods import Block, MergeMethod, weighted_sum
from polyvec.combine.task_vectors.checkpoint import check_same_shape, open_checkpoint
from polyvec.combine.task_vectors.vector import TaskVector
from polyvec.core.errors import InvalidValueError


def diagonal_fisher(
    model: nn.Module, loss_fn: Callable[[nn.Module, Any], Tensor], batches: Iterable[Any]
) -> dict[str, Tensor]:
    """Mean squared gradient of each parameter over batches: how sharply the loss depends on it.

    Args:
        model: The tuned model; used in evaluation mode (no dropout), left as it was.
        loss_fn: `loss_fn(model, batch)` returns a scalar. A contrastive loss needs a batch to compare with, so the
            gradient is squared for each batch, not for each example.
        batches: Samples of the model's own task.

    Returns:
        One tensor for each parameter that is trained.

    Raises:
        InvalidValueError: No batches; a loss that is NaN.
    """
    parameters = {name: value for name, value in model.named_parameters() if value.is_floating_point()}
    totals = {name: torch.zeros_like(value, dtype=torch.float32) for name, value in parameters.items()}
    count = 0
    with evaluation(model), torch.enable_grad():
        for batch in batches:
            loss = loss_fn(model, batch)
            if not bool(torch.isfinite(loss)):
                raise InvalidValueError(f"loss_fn: returned {loss.item()} for batch {count}; the model diverged")
            gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            for total, gradient in zip(totals.values(), gradients, strict=True):
                if gradient is not None:
                    total += gradient.float() ** 2
            count += 1
    if not count:
        raise InvalidValueError("batches: got none, needs at least one")
    return {name: total / count for name, total in totals.items()}


class Fisher(MergeMethod):
    """`sum_i w_i F_i V_i / sum_i w_i F_i` for each number, with the models' diagonal Fisher information `F_i`.

    Numbers on which no model's loss depends (rows of an embedding table that no batch touched) get the plain weighted
    average.

    Args:
        fishers: For each model a mapping of names to tensors (`diagonal_fisher`), a file or a folder of such.
        weights: One number above 0 for each model.
        scale: Multiplies the result.

    Raises:
        InvalidValueError: Another number of Fishers than of models; other names or shapes; negative numbers.

    Source: Matena and Raffel, "Merging Models with Fisher-Weighted Averaging" (NeurIPS 2022), equation 3.
    """

    name: ClassVar[str] = "fisher"
    needs_positive_weights: ClassVar[bool] = True

    def __init__(self, fishers: Sequence[Any], weights: Sequence[float] | None = None, scale: float = 1.0) -> None:
        super().__init__(weights, scale)
        self.fishers = [
            open_checkpoint(
                {key: value.detach() for key, value in part.items()} if isinstance(part, Mapping) else part,
                f"fishers[{position}]",
            )
            for position, part in enumerate(fishers)
        ]

    def prepare(self, vectors: Sequence[TaskVector]) -> None:
        """Check that every model has its Fisher."""
        super().prepare(vectors)
        if len(self.fishers) != len(vectors):
            raise InvalidValueError(f"fishers: got {len(self.fishers)}, needs {len(vectors)}, one for each model")
        for fisher in self.fishers:
            check_same_shape(vectors[0].layout, fisher.tensors, fisher.label)

    def merge(self, block: Block) -> Tensor:
        """The weighted mean of each number."""
        weights = self.weights_for(len(block.deltas))
        plain = [weight / sum(weights) for weight in weights]
        total, mass = torch.zeros_like(block.deltas[0]), torch.zeros_like(block.deltas[0])
        for fisher, delta, weight in zip(self.fishers, block.deltas, weights, strict=True):
            information = fisher.read(block.name, block.rows).to(delta)
            if bool((information < 0).any()):
                raise InvalidValueError(f"{fisher.label}: {block.name} holds negative numbers, needs squared gradients")
            total.addcmul_(information, delta, value=weight)
            mass.add_(information, alpha=weight)
        # Squared gradients may be as small as 1e-40: below the smallest normal number a ratio means nothing.
        seen = mass > torch.finfo(mass.dtype).tiny
        return torch.where(seen, total / torch.where(seen, mass, 1.0), weighted_sum(block.deltas, plain))
