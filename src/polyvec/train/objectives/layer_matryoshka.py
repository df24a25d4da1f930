"""Matryoshka in two directions: the same objective on inner layers and on prefixes of one encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.randomness import check_seed, torch_generator
from polyvec.train.objectives.checks import check_positive
from polyvec.train.objectives.contrastive import InfoNCE
from polyvec.train.objectives.prefix import prefix
from polyvec.train.sizes import check_size, check_sizes

SAMPLERS = ("2dmse", "all", "diagonal")
DISTILLATIONS = ("coordinates", "scores")


class Exit(NamedTuple):
    """A layer (from 1) and a prefix length, at which the embedding is trained, with its weight in the loss."""

    layer: int
    size: int
    weight: float = 1.0


def doubling_sizes(width: int, smallest: int = 8) -> tuple[int, ...]:
    """`smallest` and its doubles below `width`: `(8, 16, 32)` for 64.

    Source: 2D Matryoshka Sentence Embeddings (2024): what a step draws its size from; the full width it trains anyway.
    """
    width, size = check_size(width, "width"), check_size(smallest, "smallest")
    sizes = []
    while size < width:
        sizes.append(size)
        size *= 2
    return tuple(sizes)


def coordinate_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """`KL(softmax(teacher / T) || softmax(student / T))` over the coordinates, mean over rows.

    The vectors are taken as they are, not scaled to unit length: with large norms the softmax is next to one-hot, so
    that the temperature matters.
    """
    return F.kl_div(
        F.log_softmax(student / temperature, dim=-1),
        F.log_softmax(teacher / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )


class LayerMatryoshkaLoss(nn.Module):
    """Any objective on embeddings, applied to several layers of one encoder and to prefixes of their vectors.

    The encoder returns the pooled output of each of its layers, one `(layers, batch, dim)` stack for each text column,
    from a single pass. A pre-norm encoder has to apply its final norm to every layer, when trained and when used. Which
    layers and sizes a step trains is the sampler's choice:

    - `"2dmse"`: one inner layer `n` and one size `d` at random. `l(N, D) + w l(n, D) + l(N, d) + w l(n, d)`, with the
      weight `w = 1 / n`.
    - `"all"`: every layer with every size and the full width, inner layers weighted by `1 / n`.
    - `"diagonal"`: the fixed `pairs`, small to large (Starbucks), each with weight 1. With the one pair `(N, D)` it is
      the objective itself.

    On top comes a distillation of the last layer (the last pair) into the others. Two different terms go under that
    name: `"coordinates"` compares softmaxes over the coordinates of raw vectors (2DMSE, and Starbucks for similarity),
    `"scores"` softmaxes over the scores of an anchor's candidates (Starbucks for retrieval). Everything is summed, not
    averaged, and so grows with the number of exits.

    Args:
        objective: Called as `objective(*embeddings, **options)`; default `InfoNCE()`.
        sizes: Increasing prefix lengths for `"2dmse"` and `"all"`; default 8, 16, 32, ... below the width.
        sampler: `"2dmse"`, `"all"` or `"diagonal"`.
        pairs: For `"diagonal"`: `(layer, size)`, increasing; the last is the whole encoder.
        prior_weight: Weight of inner layers: `"1/n"`, or a number.
        distill: `"coordinates"`, `"scores"` or `None`.
        kl_weight: Weight of the distillation; 0.3 in Starbucks for similarity, else 1.
        kl_temperature: Divides coordinates or scores before the softmax. The divergence of coordinates is multiplied by
            it, as in 2DMSE.
        detach_teacher: Whether the teacher gets no gradient from the distillation. The official code of 2DMSE lets it
            through; without, the last layer is not pulled towards its students.
        normalize: Scale slices to unit length for the objective and for `"scores"`.
        seed: Of the draws of `"2dmse"`; give all processes of a run the same.

    Shapes:
        positional floating-point tensors are stacks `(layers, batch, dim)` or `(layers, batch, each, dim)`, all with
        the same layers and width; the rest goes to the objective untouched, as do keyword arguments. Returns a scalar.

    Raises:
        InvalidTypeError: Not stacks; objective not callable.
        InvalidValueError: Unknown sampler or distillation; `"diagonal"` without pairs, pairs for another sampler; pairs
            that repeat or decrease, or do not end in `(N, D)`; layers or sizes beyond the encoder; temperature not
            above 0; stacks of different layers or widths; one layer for `"2dmse"`; `"scores"` with a single stack.

    Source: 2D Matryoshka Sentence Embeddings (2024), section 3 and its trainer; Starbucks (2024), section 3.1.

    Example:
        >>> import torch
        >>> queries, documents = torch.randn(4, 16, 64), torch.randn(4, 16, 64)
        >>> loss = LayerMatryoshkaLoss(sampler="diagonal", pairs=[(1, 8), (2, 16), (4, 64)], distill="scores")
        >>> loss(queries, documents).ndim
        0
    """

    def __init__(
        self,
        objective: Callable[..., Tensor] | None = None,
        sizes: Sequence[int] | None = None,
        *,
        sampler: str = "2dmse",
        pairs: Sequence[Sequence[int]] | None = None,
        prior_weight: float | str = "1/n",
        distill: str | None = "coordinates",
        kl_weight: float = 1.0,
        kl_temperature: float = 1.0,
        detach_teacher: bool = True,
        normalize: bool = True,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.objective = InfoNCE() if objective is None else objective
        if not callable(self.objective):
            raise InvalidTypeError(f"objective: got {type(objective).__name__}, needs a callable on embeddings")
        if sampler not in SAMPLERS:
            raise InvalidValueError(f"sampler: got {sampler!r}, needs one of {', '.join(SAMPLERS)}")
        if distill is not None and distill not in DISTILLATIONS:
            raise InvalidValueError(f"distill: got {distill!r}, needs {', '.join(DISTILLATIONS)} or None")
        if (sampler == "diagonal") != (pairs is not None):
            raise InvalidValueError(
                f"pairs: got {pairs} with sampler={sampler!r}; 'diagonal' needs them, others do not"
            )
        if sampler == "diagonal" and sizes is not None:
            raise InvalidValueError("sizes: 'diagonal' takes its sizes from pairs; leave them out")
        self.sampler, self.distill = sampler, distill
        self.pairs = None if pairs is None else _check_pairs(pairs)
        self.sizes = None if sizes is None else check_sizes(sizes)
        self.prior_weight = prior_weight if prior_weight == "1/n" else check_positive(prior_weight, "prior_weight")  # type: ignore[arg-type]
        self.kl_weight = 0.0 if kl_weight == 0 else check_positive(kl_weight, "kl_weight")
        self.kl_temperature = check_positive(kl_temperature, "kl_temperature")
        self.detach_teacher, self.normalize = bool(detach_teacher), bool(normalize)
        self._draws = torch_generator(check_seed(seed))
        self.last_exits: tuple[Exit, ...] = ()

    def forward(self, *stacks: Any, **options: Any) -> Float[Tensor, ""]:
        """The weighted sum over this step's exits, and the distillation; `last_exits` tells which exits those were."""
        layers, width = _common_shape(stacks)
        exits, students = self._plan(layers, width)
        self.last_exits = exits
        losses = [weight * self.objective(*self._at(stacks, n, d), **options) for n, d, weight in exits]
        if self.distill is not None and self.kl_weight:
            teacher = exits[-1]
            losses += [self.kl_weight * self._divergence(stacks, student, teacher) for student in students]
        return torch.stack(losses).sum()

    def _plan(self, layers: int, width: int) -> tuple[tuple[Exit, ...], list[Exit]]:
        """The exits of this step, the whole encoder last, and which of them learn from it."""
        if self.pairs is not None:
            if any(n > layers or d > width for n, d in self.pairs) or self.pairs[-1] != (layers, width):
                raise InvalidValueError(
                    f"pairs: got {list(self.pairs)} for {layers} layers of {width} dimensions; "
                    f"the last has to be ({layers}, {width}), the full model, which teaches the others"
                )
            exits = tuple(Exit(n, d) for n, d in self.pairs)
            return exits, list(exits[:-1])
        sizes = doubling_sizes(width) if self.sizes is None else check_sizes(self.sizes, "sizes", width)
        smaller = [size for size in sizes if size < width]
        if self.sampler == "all":
            exits = tuple(Exit(n, d, self._prior(n, layers)) for n in range(1, layers + 1) for d in (*smaller, width))
            return exits, [one for one in exits if one.size == width and one.layer < layers]
        if layers < 2:
            raise InvalidValueError("stacks: got one layer, needs at least 2 for sampler='2dmse'")
        if not smaller:
            raise InvalidValueError(f"sizes: none is below the width {width}; needs some for sampler='2dmse'")
        n = 1 + int(torch.randint(layers - 1, (), generator=self._draws))
        d = smaller[int(torch.randint(len(smaller), (), generator=self._draws))]
        weight = self._prior(n, layers)
        inner = Exit(n, width, weight)
        return (Exit(n, d, weight), Exit(layers, d), inner, Exit(layers, width)), [inner]

    def _prior(self, layer: int, layers: int) -> float:
        if layer == layers:
            return 1.0
        return 1 / layer if isinstance(self.prior_weight, str) else self.prior_weight

    def _at(self, stacks: Sequence[Any], layer: int, size: int) -> list[Any]:
        """The objective's arguments at one exit."""
        return [prefix(part[layer - 1], size, self.normalize) if _is_stack(part) else part for part in stacks]

    def _divergence(self, stacks: Sequence[Any], student: Exit, teacher: Exit) -> Tensor:
        if self.distill == "coordinates":
            rows = [part.flatten(1, -2) for part in stacks if _is_stack(part)]
            taught = torch.cat([part[student.layer - 1, :, : student.size] for part in rows])
            target = torch.cat([part[teacher.layer - 1, :, : student.size] for part in rows])
            scale = self.kl_temperature
        else:
            taught, target, scale = self._scores(stacks, student), self._scores(stacks, teacher), 1.0
        if self.detach_teacher:
            target = target.detach()
        return scale * coordinate_divergence(taught, target, self.kl_temperature)

    def _scores(self, stacks: Sequence[Any], at: Exit) -> Tensor:
        """Scores `(batch, candidates)` of the first column against the rows of all others."""
        anchors, *others = (part for part in self._at(stacks, at.layer, at.size) if _is_vectors(part))
        if not others:
            raise InvalidValueError("distill: 'scores' needs candidates, got a single stack; use 'coordinates'")
        return anchors @ torch.cat([part.flatten(0, -2) for part in others]).T

    def extra_repr(self) -> str:
        """The arguments."""
        which = f"pairs={self.pairs}" if self.pairs else f"sizes={self.sizes}, prior_weight={self.prior_weight!r}"
        return f"sampler={self.sampler!r}, {which}, distill={self.distill!r}, kl_weight={self.kl_weight}"


def _is_vectors(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2


def _is_stack(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 3


def _check_pairs(pairs: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    """`(layer, size)` pairs, of which neither part ever decreases and no two are the same."""
    checked = []
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InvalidTypeError(f"pairs: got {pair!r}, needs (layer, size) such as (2, 32)")
        checked.append((check_size(pair[0], "layer"), check_size(pair[1], "size")))
    if not checked:
        raise InvalidValueError("pairs: got none, needs at least (layers, width)")
    for smaller, larger in pairwise(checked):
        if larger == smaller or larger[0] < smaller[0] or larger[1] < smaller[1]:
            raise InvalidValueError(f"pairs: got {checked}, needs increasing layers and sizes without repeats")
    return tuple(checked)


def _common_shape(stacks: Sequence[Any]) -> tuple[int, int]:
    """Number of layers and width that all stacks share."""
    found = []
    for position, part in enumerate(stacks):
        if _is_vectors(part) and not _is_stack(part):
            raise InvalidValueError(
                f"stacks: number {position} has shape {tuple(part.shape)}, needs (layers, batch, dimensions); "
                "an encoder that cannot return inner layers cannot be trained so"
            )
        if _is_stack(part):
            found.append((position, (part.shape[0], part.shape[-1])))
    if not found:
        raise InvalidTypeError("stacks: no positional argument is a floating-point tensor (layers, batch, dimensions)")
    shape = found[0][1]
    for position, other in found:
        if other != shape:
            raise InvalidValueError(
                f"stacks: number {position} has {other[0]} layers of {other[1]} dimensions, "
                f"the first has {shape[0]} of {shape[1]}"
            )
    return int(shape[0]), int(shape[1])
