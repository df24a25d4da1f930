"""RegMean: linear layers that best repeat what each model's own layer does to its own inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from polyvec.combine.merging.evaluating import evaluation
from polyvec.combine.merging.methods import Block, MergeMethod, weighted_sum
from polyvec.combine.task_vectors.vector import TaskVector
from polyvec.core.errors import InvalidValueError


def linear_grams(
    model: nn.Module, forward: Callable[[nn.Module, Any], Any], batches: Iterable[Any]
) -> dict[str, Tensor]:
    """`X^T X` of the inputs of every linear layer, over all rows of all batches.

    Args:
        model: The tuned model; used in evaluation mode, left as it was.
        forward: `forward(model, batch)` runs the model; what it returns is ignored.
        batches: Samples of the model's own task.

    Returns:
        For the weight of each `nn.Linear` that was run `(in_features, in_features)`, divided by the number of rows.

    Raises:
        InvalidValueError: No linear layer was run.
    """
    totals: dict[str, Tensor] = {}
    rows: dict[str, int] = {}
    hooks = []

    def watch(name: str, layer: nn.Linear) -> None:
        def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            flat = inputs[0].detach().reshape(-1, layer.in_features).double()
            totals[name] = totals[name] + flat.T @ flat if name in totals else flat.T @ flat
            rows[name] = rows.get(name, 0) + len(flat)

        hooks.append(layer.register_forward_pre_hook(before))

    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            watch(f"{name}.weight" if name else "weight", layer)
    try:
        with evaluation(model), torch.no_grad():
            for batch in batches:
                forward(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not totals:
        raise InvalidValueError("model: no linear layer was run, so RegMean has nothing to solve; use method='average'")
    return {name: (total / rows[name]).float() for name, total in totals.items()}


class RegMean(MergeMethod):
    """Linear layers by least squares, all other weights by the weighted average.

    The merged weight `W` minimises `sum_i w_i ||X_i W^T - X_i W_i^T||^2`, where `X_i` are the inputs that the layer of
    model `i` sees: `W = (sum_i w_i W_i G_i) (sum_i w_i G_i)^-1` with `G_i = X_i^T X_i`. In directions that no input
    has, the weighted average stands.

    Args:
        grams: For each model a mapping of weights' names to `(in, in)` matrices (`linear_grams`). Weights that no
            mapping names are averaged.
        shrink: Off-diagonal numbers of the Gram matrices are multiplied by it, which guards against samples that are
            too few; 0.9 as in the source.
        weights: One number above 0 for each model.
        scale: Multiplies the result.

    Raises:
        InvalidValueError: Another number of mappings than of models; a matrix of another shape; a layer that only some
            mappings have.

    Source: Jin et al., "Dataless Knowledge Fusion by Merging Weights of Language Models" (ICLR 2023), equation 2 and
    algorithm 1. Deviation: Gram matrices are means over rows, so that a model with more samples does not count more.
    """

    name: ClassVar[str] = "regmean"
    needs_positive_weights: ClassVar[bool] = True

    def __init__(
        self,
        grams: Sequence[Mapping[str, Tensor]],
        shrink: float = 0.9,
        weights: Sequence[float] | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__(weights, scale)
        if not 0 <= shrink <= 1:
            raise InvalidValueError(f"shrink: got {shrink}, needs a number from 0 to 1")
        self.grams, self.shrink = list(grams), float(shrink)

    def prepare(self, vectors: Sequence[TaskVector]) -> None:
        """Check the matrices."""
        super().prepare(vectors)
        if len(self.grams) != len(vectors):
            raise InvalidValueError(f"grams: got {len(self.grams)}, needs {len(vectors)}, one for each model")
        shapes = vectors[0].shapes
        for position, part in enumerate(self.grams):
            if other := sorted(set(part) ^ set(self.grams[0])):
                raise InvalidValueError(f"grams[{position}]: {other[0]} stands in only some of the mappings")
            for name, gram in part.items():
                width = shapes[name][-1] if len(shapes.get(name, ())) == 2 else None
                if tuple(gram.shape) != (width, width):
                    needs = f"({width}, {width})" if width else "a two-dimensional weight of the model"
                    raise InvalidValueError(f"grams[{position}]: {name} is {tuple(gram.shape)}, needs {needs}")

    def needs_whole(self, name: str) -> bool:
        """Linear layers are solved as a whole."""
        return name in self.grams[0]

    def merge(self, block: Block) -> Tensor:
        """The solution for a linear layer, the mean for everything else."""
        weights = self.weights_for(len(block.deltas))
        mean = weighted_sum(block.deltas, [weight / sum(weights) for weight in weights])
        if block.name not in self.grams[0]:
            return mean
        size = block.deltas[0].shape[1]
        left = torch.zeros(size, size, dtype=torch.float64)
        right = torch.zeros(block.deltas[0].shape, dtype=torch.float64)
        for part, delta, weight in zip(self.grams, block.deltas, weights, strict=True):
            gram = part[block.name].detach().double().cpu()
            gram = weight * (self.shrink * gram + (1 - self.shrink) * torch.diag(gram.diagonal()))
            left += gram
            right += (delta - mean).double().cpu() @ gram
        solution = right @ torch.linalg.pinv(left, hermitian=True)
        return mean + solution.to(mean)
