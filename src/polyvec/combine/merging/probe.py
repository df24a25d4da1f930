"""Probe losses: how good a merged encoder is on a few balanced examples of every task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFoundError
from polyvec.core.randomness import numpy_generator
from polyvec.train import InfoNCE
from polyvec.train.objectives.prefix import unit_length

Sampler = Callable[[np.random.Generator], tuple[Any, Any]]


class ContrastiveProbe(nn.Module):
    """InfoNCE of every task, averaged over the tasks, with a temperature for each that is learned or fixed.

    A loss for `SelfPositioning`: `probe(model, batch)` with a batch that maps each task's name to its anchors and
    positives. Its temperatures are learned along with the mixing numbers and then thrown away. With a fixed low
    temperature the loss on examples that no model was trained on punishes confidence more than it rewards ranking,
    and the cheapest way down is to shrink the merged vector; a temperature of its own takes that over.

    Args:
        tasks: Names of the tasks.
        temperature: Where the temperatures start, or stay; that of training is a good choice.
        learn_temperature: `False` is the form of the source.
        symmetric: Also look for the anchor of each positive.
        embed: `embed(model, inputs)` returns `(batch, dim)` embeddings; by default `model(inputs)`.

    Raises:
        InvalidValueError: No tasks; a temperature that is not above 0.

    Source: Li et al. (arXiv 2410.15035). Deviation: the learned temperatures, as above.

    Example:
        >>> import torch
        >>> probe = ContrastiveProbe(["pairs"])
        >>> pairs = torch.eye(4), torch.eye(4)
        >>> probe(torch.nn.Identity(), {"pairs": pairs}).item() < 1e-3
        True
    """

    def __init__(
        self,
        tasks: Sequence[str],
        temperature: float = 0.05,
        *,
        learn_temperature: bool = True,
        symmetric: bool = False,
        embed: Callable[[Any, Any], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(tasks, str) or not tasks:
            raise InvalidValueError(f"tasks: got {tasks!r}, needs a list of at least one name")
        start = InfoNCE(temperature).temperature  # checks it
        self.tasks = list(tasks)
        self.log_temperatures = nn.Parameter(torch.full((len(tasks),), math.log(start)), learn_temperature)
        # Scores are divided here, as the objective's own temperature is fixed.
        self.objective = InfoNCE(1.0, symmetric=symmetric, normalize=False)
        self.embed = embed

    def forward(self, model: Callable[..., Any], batch: Mapping[str, tuple[Any, Any]]) -> Float[Tensor, ""]:
        """The mean of the tasks' losses.

        Raises:
            NotFoundError: A task that was not named.
        """
        losses = []
        for task, (anchors, positives) in batch.items():
            if task not in self.tasks:
                raise NotFoundError(f"batch: has the task {task!r}, the probe knows {', '.join(self.tasks)}")
            temperature = self.log_temperatures[self.tasks.index(task)].exp()
            first, second = (
                model(inputs) if self.embed is None else self.embed(model, inputs) for inputs in (anchors, positives)
            )
            scaled = unit_length(first) / temperature.to(first)
            losses.append(self.objective(scaled, unit_length(second)))
        if not losses:
            raise InvalidValueError("batch: got no task, needs a mapping of tasks to (anchors, positives)")
        return torch.stack(losses).mean()

    @property
    def temperatures(self) -> dict[str, float]:
        """The temperature of each task."""
        return dict(zip(self.tasks, self.log_temperatures.detach().exp().tolist(), strict=True))

    def extra_repr(self) -> str:
        """The arguments."""
        return f"tasks={self.tasks}, learn_temperature={self.log_temperatures.requires_grad}"


def balanced_batches(
    tasks: Mapping[str, tuple[Any, Any] | Sampler], batch_size: int = 64, *, steps: int = 300, seed: int | None = 0
) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Batches for a probe in which every task has its share, however many examples it has.

    Args:
        tasks: For each task its anchors and positives, two sequences (lists, arrays, tensors) of one length; or a
            function that draws `(anchors, positives)` with the generator it is given.
        batch_size: Pairs of each task in a batch; all of them when a task has fewer.
        steps: Number of batches.
        seed: Which pairs.

    Raises:
        InvalidValueError: No tasks; sides of different lengths; fewer than two pairs.
    """
    if not tasks:
        raise InvalidValueError("tasks: got none, needs at least one task with its pairs")
    if batch_size < 2:
        raise InvalidValueError(f"batch_size: got {batch_size}, needs at least 2: each pair is told apart from others")
    for name, pairs in tasks.items():
        if callable(pairs):
            continue
        if not isinstance(pairs, tuple) or len(pairs) != 2:
            raise InvalidTypeError(f"tasks[{name!r}]: needs (anchors, positives) or a function that draws them")
        if len(pairs[0]) != len(pairs[1]) or len(pairs[0]) < 2:
            raise InvalidValueError(
                f"tasks[{name!r}]: got {len(pairs[0])} anchors and {len(pairs[1])} positives, needs the same number, "
                "at least 2"
            )
    return _batches(tasks, batch_size, steps, numpy_generator(seed))


def _batches(
    tasks: Mapping[str, tuple[Any, Any] | Sampler], batch_size: int, steps: int, draws: np.random.Generator
) -> Iterator[dict[str, tuple[Any, Any]]]:
    for _ in range(steps):
        batch = {}
        for name, pairs in tasks.items():
            if callable(pairs):
                batch[name] = pairs(draws)
                continue
            anchors, positives = pairs
            rows = draws.choice(len(anchors), size=min(batch_size, len(anchors)), replace=False)
            batch[name] = _rows(anchors, rows), _rows(positives, rows)
        yield batch


def _rows(values: Any, rows: np.ndarray) -> Any:
    if isinstance(values, Tensor):
        return values[torch.from_numpy(rows).to(values.device)]
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[row] for row in rows.tolist()]
