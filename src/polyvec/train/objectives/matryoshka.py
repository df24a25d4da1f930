"""Matryoshka objectives: the same objective on several prefixes of one embedding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train.heads import MatryoshkaLinear
from polyvec.train.objectives.checks import check_finite
from polyvec.train.objectives.contrastive import InfoNCE
from polyvec.train.objectives.prefix import prefix
from polyvec.train.sizes import check_sizes, halving_sizes


def _weights(weights: Sequence[float] | None, count: int) -> Tensor:
    if weights is None:
        return torch.ones(count)
    values = [float(weight) for weight in weights]
    if len(values) != count:
        raise InvalidValueError(f"weights: got {len(values)} for {count} sizes, needs one each")
    if any(not math.isfinite(value) or value < 0 for value in values):
        raise InvalidValueError(f"weights: got {values}, needs finite numbers that are not negative")
    if not any(values):
        raise InvalidValueError("weights: all are 0, needs at least one above 0")
    return torch.tensor(values)


class MatryoshkaLoss(nn.Module):
    """Any objective on embeddings, applied to several of their prefixes, so that each prefix works on its own.

    The result is the weighted **sum** over the sizes, as in the paper, not an average: it grows with the number of
    sizes, and so does the effective learning rate of plain gradient descent. For the average of `g` sizes pass
    `weights=[1 / g] * g`.

    What is sliced: every **positional** argument that is a floating-point tensor of two or more dimensions is an
    embedding `(..., dim)`. All of them must have the same last dimension. For each size they are cut to the first
    `size` coordinates and then, with `normalize`, scaled to unit length, in this order. Lists and tuples of tensors are
    treated element by element. Everything else goes to the objective untouched: positional arguments that are
    integers, booleans, one-dimensional (labels, similarity scores) or no tensors, and **all keyword arguments**. So
    give a teacher's scores or a mask of floats by keyword, and embeddings by position.

    It needs no model: it can stand at the end of a training step, or work on the collected embeddings of a gradient
    cache, whose gradients then go back through the encoder in small pieces.

    Args:
        objective: Called as `objective(*embeddings, **options)` for each size, must return a scalar. An `nn.Module` is
            registered as a submodule; a plain function also works. Default: `InfoNCE()`.
        sizes: Increasing prefix lengths, none larger than the embedding. Coordinates after the last size are not
            trained. Default: the width of the first embedding seen at each call, halved down to 8 (the paper's rule).
        weights: One number for each size, not negative; default 1 each. Kept in a buffer, so that `.to(device)` and
            checkpoints carry it. Needs `sizes`.
        normalize: Scale each prefix to unit length. `False` for objectives on raw dot products.

    Raises:
        InvalidTypeError: No embedding among the positional arguments; objective not callable or without scalar result.
        InvalidValueError: Sizes empty, not increasing, not positive or larger than the embedding; weights of another
            number, negative or not finite; embeddings of different widths; NaN in an embedding (checked on the CPU).

    Source: Matryoshka Representation Learning (2022), equation 1 and section 3.

    Example:
        >>> import torch
        >>> from polyvec.train import InfoNCE, MatryoshkaLoss
        >>> queries, documents = torch.randn(16, 64), torch.randn(16, 64)
        >>> loss = MatryoshkaLoss(InfoNCE(), sizes=[8, 16, 32, 64])
        >>> loss(queries, documents).ndim
        0
    """

    weights: Tensor | None

    def __init__(
        self,
        objective: Callable[..., Tensor] | None = None,
        sizes: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        if objective is None:
            objective = InfoNCE()
        if not callable(objective):
            raise InvalidTypeError(f"objective: got {type(objective).__name__}, needs a callable on embeddings")
        if sizes is None and weights is not None:
            raise InvalidValueError("weights: given without sizes, needs sizes=[...] of the same length")
        self.objective = objective
        self.sizes = None if sizes is None else check_sizes(sizes)
        self.normalize = bool(normalize)
        self.register_buffer("weights", None if self.sizes is None else _weights(weights, len(self.sizes)))

    def forward(self, *embeddings: Any, **options: Any) -> Float[Tensor, ""]:
        """The weighted sum of the objective over the sizes; see the class for what is sliced."""
        width = _common_width(embeddings)
        sizes = halving_sizes(width) if self.sizes is None else check_sizes(self.sizes, "sizes", width)
        losses = []
        for size in sizes:
            loss = self.objective(*(_sliced(part, size, self.normalize) for part in embeddings), **options)
            if not isinstance(loss, Tensor) or loss.ndim != 0:
                got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
                raise InvalidTypeError(f"objective: returned {got}, needs a scalar tensor")
            losses.append(loss)
        stacked = torch.stack(losses)
        return stacked.sum() if self.weights is None else (stacked * self.weights.to(stacked)).sum()

    def extra_repr(self) -> str:
        """The arguments."""
        weights = None if self.weights is None else self.weights.tolist()
        return f"sizes={self.sizes}, weights={weights}, normalize={self.normalize}"


def _is_embedding(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2


def _sliced(value: Any, size: int, normalize: bool) -> Any:
    if _is_embedding(value):
        return prefix(value, size, normalize)
    if type(value) in (list, tuple):
        return type(value)(_sliced(part, size, normalize) for part in value)
    return value


def _embeddings_in(values: Sequence[Any]) -> list[Tensor]:
    found = []
    for value in values:
        if _is_embedding(value):
            found.append(value)
        elif type(value) in (list, tuple):
            found.extend(_embeddings_in(value))
    return found


def _common_width(values: Sequence[Any]) -> int:
    found = _embeddings_in(values)
    if not found:
        raise InvalidTypeError("embeddings: no positional argument is a floating-point tensor (batch, dimensions)")
    width = int(found[0].shape[-1])
    for position, value in enumerate(found):
        if value.shape[-1] != width:
            raise InvalidValueError(
                f"embeddings: number {position} has {value.shape[-1]} dimensions, the first has {width}; "
                "pass tensors that are not embeddings by keyword"
            )
        check_finite(value, f"embeddings number {position}")
    return width


class MatryoshkaCrossEntropy(nn.Module):
    """Supervised Matryoshka training: a classifier on each prefix, their cross-entropies summed.

    Prefixes are used as they are, without scaling to unit length, as in the paper's supervised form. The heads are a
    part of the objective: give its parameters to the optimiser too.

    Args:
        sizes: Increasing prefix lengths; the last is the embedding's width.
        classes: Number of classes.
        weights: One number for each size, not negative; default 1 each. The result is the weighted sum.
        efficient: Share one weight and one bias among the sizes (MRL-E); see `MatryoshkaLinear`.
        label_smoothing: From 0 (default) to 1, as in `torch.nn.functional.cross_entropy`; the paper's ImageNet recipe
            uses 0.1.

    Shapes:
        embeddings `(batch, sizes[-1])`, labels `(batch,)` of class numbers; returns a scalar in nats.

    Source: Matryoshka Representation Learning (2022), equation 1.
    """

    weights: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        classes: int,
        weights: Sequence[float] | None = None,
        efficient: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise InvalidValueError(f"label_smoothing: got {label_smoothing}, needs a number from 0 to 1")
        self.heads = MatryoshkaLinear(sizes, classes, efficient=efficient)
        self.label_smoothing = float(label_smoothing)
        self.register_buffer("weights", _weights(weights, len(self.heads.sizes)))

    def forward(self, embeddings: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """The weighted sum of the cross-entropies of all sizes."""
        logits = self.heads(embeddings)
        if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.shape != (len(embeddings),):
            shape = f"shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
            raise InvalidValueError(f"labels: got {shape}, needs {len(embeddings)} integers, one for each embedding")
        losses = [cross_entropy(part, labels.long(), label_smoothing=self.label_smoothing) for part in logits]
        stacked = torch.stack(losses)
        return (stacked * self.weights.to(stacked)).sum()
