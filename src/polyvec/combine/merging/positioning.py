"""Self Positioning: the best point in the span of task vectors, found by gradient descent on a few numbers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from polyvec.combine.merging.combiners import Combiner, SlerpCombiner
from polyvec.combine.merging.evaluating import evaluation
from polyvec.combine.merging.in_memory import as_task_vectors, merge
from polyvec.combine.merging.methods import Block, MergeMethod, weighted_sum
from polyvec.combine.task_vectors.checkpoint import open_checkpoint, working_type
from polyvec.combine.task_vectors.vector import gram_matrix
from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFittedError
from polyvec.core.progress import progress

_SMOOTHING = 0.8  # losses of single batches are noisy: the best state is the one with the lowest running mean


@dataclass(frozen=True)
class Step:
    """One step of a search: the loss, and the numbers it belongs to."""

    loss: float
    length: float | None
    coefficients: Any


class _MergedModel:
    """The base model with other weights: a call is a call of the model."""

    def __init__(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        self.model, self.weights = model, weights

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return functional_call(self.model, dict(self.weights), arguments, options)


class Positioned(MergeMethod):
    """A merge by learned coefficients, for `merge` and `merge_files`.

    Args:
        coefficients: One number for each task vector, without the length.
        weights: The mixing weights that they came from, for the record.
        scale: The length.
    """

    name: ClassVar[str] = "self-positioning"

    def __init__(
        self, coefficients: Sequence[float], weights: Sequence[float] | None = None, scale: float = 1.0
    ) -> None:
        super().__init__(weights, scale)
        self.coefficients = list(coefficients)

    def merge(self, block: Block) -> Tensor:
        """The sum of the differences by the coefficients."""
        return weighted_sum(block.deltas, self.coefficients)


class SelfPositioning:
    """Learns where in the span of task vectors a model is best for all tasks: a direction and a length.

    The merged model is `base + lambda * W`, where `W` is the iterated spherical interpolation of the task vectors by
    mixing weights `a` (`slerp_coefficients`). Only `a` and `lambda` are learned, by Adam on
    `mean over batches of loss + mu * lambda`; the base and the task vectors stay as they are. A step is one forward and
    backward pass of the merged model, and one inner product of its gradient with each task vector; the task vectors are
    in memory meanwhile.

    Args:
        base_model: The start `theta_0`; not changed. Used in evaluation mode, without dropout.
        vectors: `TaskVector`s of this base, or models trained from it. With more than two their order matters.
        loss_fn: `loss_fn(model, batch)` returns a scalar; `model` is called like `base_model`. If it is an
            `nn.Module`, its parameters are learned as well (`ContrastiveProbe` has a temperature for each task).
        mu: Penalty on the length, against over-fitting the probe examples; the source finds values below 0.05 good.
        lr: Step size of Adam for all learned numbers.
        steps: Number of batches, a few hundred.
        combiner: Another way to get from learned numbers to coefficients; the default is `SlerpCombiner`.

    Attributes:
        weights_: The mixing weights `a` (`None` with a combiner that has none).
        scale_: The length `lambda` (`None` likewise).
        coefficients_: What each task vector is multiplied by.
        history_: A `Step` for each batch.
        stopped_: Why the search ended early, or `None`.

    The probe examples should be balanced over the tasks (`balanced_batches`) and not be those that the models were
    trained on.

    Raises:
        InvalidValueError: No vectors, a zero one, one of another base or architecture; negative `mu`; `lr` or `steps`
            not above 0.

    Source: Li et al., "Improving General Text Embedding Model" (arXiv 2410.15035). The gradient runs through the angles
    as well. Learned temperatures and examples that are not training examples are defaults of polyvec; the source's form
    is `ContrastiveProbe(..., learn_temperature=False)` on training examples.

    Example:
        >>> import torch
        >>> base, first, second = (torch.nn.Linear(4, 4, bias=False) for _ in range(3))
        >>> x, y = torch.randn(64, 4), torch.randn(64, 4)
        >>> def loss(model, batch):
        ...     return (model(x) - y).square().mean()
        >>> search = SelfPositioning(base, [first, second], loss, steps=50)
        >>> merged = search.fit(range(50)).merged_state_dict()
        >>> sorted(merged), search.history_[-1].loss < search.history_[0].loss
        (['weight'], True)
    """

    def __init__(
        self,
        base_model: nn.Module,
        vectors: Iterable[Any],
        loss_fn: Callable[[Any, Any], Tensor],
        mu: float = 0.01,
        lr: float = 1e-2,
        steps: int = 300,
        *,
        combiner: Combiner | None = None,
    ) -> None:
        if not isinstance(base_model, nn.Module):
            raise InvalidTypeError(f"base_model: got {type(base_model).__name__}, needs an nn.Module")
        if not callable(loss_fn):
            raise InvalidTypeError(f"loss_fn: got {type(loss_fn).__name__}, needs a function of a model and a batch")
        if not (math.isfinite(mu) and mu >= 0):
            raise InvalidValueError(f"mu: got {mu}, needs a number from 0 up")
        if not (math.isfinite(lr) and lr > 0):
            raise InvalidValueError(f"lr: got {lr}, needs a number above 0")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise InvalidValueError(f"steps: got {steps!r}, needs a whole number above 0")
        self.base_model, self.loss_fn = base_model, loss_fn
        self.mu, self.lr, self.steps = float(mu), float(lr), steps
        self.vectors = as_task_vectors(open_checkpoint(base_model), vectors)
        self.combiner = combiner or SlerpCombiner(gram_matrix(self.vectors))
        self.history_: list[Step] = []
        self.stopped_: str | None = None
        self._fitted = False

    # -- learning -----------------------------------------------------------------------------------------------------

    def fit(self, batches: Iterable[Any], show_progress: bool | None = False) -> Self:
        """Learn from `steps` batches; a shorter iterable that can be started again is, others end the search.

        A loss or gradient that is NaN or infinite ends the search with a warning, and the best numbers so far stay.

        Args:
            batches: What `loss_fn` takes, one after the other. A mapping counts as one entry for each task.
            show_progress: A bar; `None` shows one on a terminal.

        Raises:
            InvalidValueError: No batches; a loss that is NaN at the first step; a loss that does not depend on the
                model.
            InvalidTypeError: `loss_fn` does not return a scalar tensor.
        """
        self.history_, self.stopped_ = [], None
        weights = {name: value for name, value in self.base_model.named_parameters() if name in self.vectors[0].shapes}
        stacks = {
            name: torch.stack(
                [vector.read(name).to(value.device, working_type(value.dtype)) for vector in self.vectors]
            )
            for name, value in weights.items()
        }
        learned = [value for value in self.combiner.parameters() if value.requires_grad]
        nuisance = list(self.loss_fn.parameters()) if isinstance(self.loss_fn, nn.Module) else []
        nuisance = [value for value in nuisance if value.requires_grad]
        optimiser = torch.optim.Adam([*learned, *nuisance], lr=self.lr)
        running, best, best_state = None, math.inf, None
        with evaluation(self.base_model), progress("self-positioning", self.steps, show=show_progress) as bar:
            for batch in self._checked(batches):
                coefficients = self.combiner()
                values = coefficients.detach()
                loss, slope, others = self._gradient(weights, stacks, values, nuisance, batch)
                length = self.combiner.length()
                objective = loss if length is None else loss + self.mu * length.item()
                if not (math.isfinite(objective) and bool(slope.isfinite().all())):
                    self._stop(objective, best_state)
                    break
                self.history_.append(Step(loss, None if length is None else length.item(), values.tolist()))
                running = objective if running is None else _SMOOTHING * running + (1 - _SMOOTHING) * objective
                if running < best:
                    best, best_state = running, _copy(self.combiner)
                optimiser.zero_grad()
                penalty = coefficients.new_zeros(()) if length is None else self.mu * length
                ((coefficients * slope).sum() + penalty).backward()
                for parameter, gradient in zip(nuisance, others, strict=True):
                    parameter.grad = gradient
                optimiser.step()
                bar.advance()
        if not self.history_:
            raise InvalidValueError("batches: got none, needs at least one")
        self._fitted = True
        return self

    def _checked(self, batches: Iterable[Any]) -> Iterator[Any]:
        """`steps` batches, started again as often as needed; warns when they are all about one task."""
        tasks: set[Any] = set()
        mappings = done = 0
        while done < self.steps:
            before = done
            for batch in batches:
                if isinstance(batch, Mapping):
                    mappings += 1
                    tasks |= batch.keys()
                yield batch
                done += 1
                if done == self.steps:
                    break
            if done == before:
                break  # nothing left, or nothing to start again
        if mappings and len(tasks) == 1 and len(self.vectors) > 1:
            warnings.warn(
                f"the probe examples are all of the task {next(iter(tasks))!r}: the merged model is best for that one "
                "alone; give examples of every task",
                stacklevel=3,
            )

    def _gradient(
        self,
        weights: Mapping[str, Tensor],
        stacks: Mapping[str, Tensor],
        coefficients: Tensor,
        nuisance: Sequence[Tensor],
        batch: Any,
    ) -> tuple[float, Tensor, list[Tensor]]:
        """The loss, its derivative by each coefficient, and by the parameters of the loss itself."""
        merged = {}
        for position, (name, base) in enumerate(weights.items()):
            own = coefficients if coefficients.ndim == 1 else coefficients[:, position]
            change = torch.tensordot(own.to(stacks[name]), stacks[name], dims=1)
            merged[name] = (base.detach().to(change.dtype) + change).to(base.dtype).requires_grad_()
        with torch.enable_grad():
            loss = self.loss_fn(_MergedModel(self.base_model, merged), batch)
        if not isinstance(loss, Tensor) or loss.ndim != 0:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise InvalidTypeError(f"loss_fn: returned {got}, needs a scalar tensor")
        if not loss.requires_grad:
            raise InvalidValueError("loss_fn: its result does not depend on the model; call the model it is given")
        found = torch.autograd.grad(loss, [*merged.values(), *nuisance], allow_unused=True)
        slope = torch.zeros_like(coefficients)
        for position, (name, gradient) in enumerate(zip(merged, found[: len(merged)], strict=True)):
            if gradient is None:
                continue
            flat = stacks[name].flatten(1)
            part = (flat @ gradient.to(flat.dtype).flatten()).to(slope)
            if slope.ndim == 1:
                slope += part
            else:
                slope[:, position] = part
        if all(gradient is None for gradient in found[: len(merged)]):
            raise InvalidValueError("loss_fn: its result does not depend on the model; call the model it is given")
        others = [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(nuisance, found[len(merged) :], strict=True)
        ]
        return loss.item(), slope, others

    def _stop(self, objective: float, best_state: dict[str, Tensor] | None) -> None:
        step = len(self.history_)
        if best_state is None:
            raise InvalidValueError(f"loss_fn: the loss or its gradient is not finite at the first step ({objective})")
        self.combiner.load_state_dict(best_state)
        self.stopped_ = f"the loss or its gradient was not finite at step {step}"
        warnings.warn(f"{self.stopped_}; the best numbers of the steps before it are kept", stacklevel=3)

    # -- what was learned ---------------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if not self._fitted:
            raise NotFittedError("SelfPositioning: call fit(batches) first")

    @property
    def coefficients_(self) -> list[Any]:
        """What each task vector is multiplied by."""
        self._check_fitted()
        return self.combiner().tolist()

    @property
    def weights_(self) -> list[float] | None:
        """The mixing weights."""
        self._check_fitted()
        return self.combiner.mixing().tolist() if isinstance(self.combiner, SlerpCombiner) else None

    @property
    def scale_(self) -> float | None:
        """The length."""
        self._check_fitted()
        length = self.combiner.length()
        return None if length is None else length.item()

    def method(self) -> MergeMethod:
        """The learned merge, for `merge` and `merge_files` with the same task vectors in the same order.

        Raises:
            NotFittedError: Before `fit`.
            InvalidValueError: The combiner has a coefficient for each weight; use `merged_state_dict`.
        """
        coefficients = self.coefficients_
        if isinstance(coefficients[0], list):
            raise InvalidValueError("combiner: has a coefficient for each weight, needs one for each task vector here")
        scale = self.scale_ or 1.0
        return Positioned([value / scale for value in coefficients], self.weights_, scale)

    def merged_state_dict(self) -> dict[str, Tensor]:
        """All tensors of the merged model, to load strictly into a model like the base."""
        self._check_fitted()
        coefficients = self.combiner().detach()
        if coefficients.ndim == 2:
            return merge(self.base_model, self.vectors, _PerWeight(coefficients, list(self._names())))
        return merge(self.base_model, self.vectors, self.method())

    def _names(self) -> Iterator[str]:
        return (name for name, _ in self.base_model.named_parameters() if name in self.vectors[0].shapes)

    def apply_(self, model: nn.Module) -> nn.Module:
        """Load the merged weights into a model like the base, in place, and return it."""
        model.load_state_dict(self.merged_state_dict())
        return model


class _PerWeight(MergeMethod):
    name: ClassVar[str] = "coefficients for each weight"

    def __init__(self, coefficients: Tensor, names: Sequence[str]) -> None:
        super().__init__()
        self.columns = dict(zip(names, coefficients.T.tolist(), strict=True))

    def merge(self, block: Block) -> Tensor:
        return weighted_sum(block.deltas, self.columns[block.name])


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
