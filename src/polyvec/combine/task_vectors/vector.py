"""Task vectors: what training added to a model's weights, as something to add, scale and measure."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from polyvec.combine.task_vectors.checkpoint import (
    Checkpoint,
    MemoryCheckpoint,
    TensorInfo,
    check_same_shape,
    open_checkpoint,
    row_blocks,
    working_type,
)
from polyvec.combine.task_vectors.weight_files import FileCheckpoint, open_files
from polyvec.combine.task_vectors.weight_writer import write_weights
from polyvec.core.errors import FormatError, InvalidTypeError, InvalidValueError
from polyvec.core.files import atomic_path

FORMAT = "polyvec task vector 1"
Known = tuple[Checkpoint, Tensor]
"""A checkpoint and the rows of it that a caller has read already."""


class _Source(Protocol):
    """Where the numbers of one part of a task vector come from."""

    def read(self, name: str, rows: slice, known: Known | None) -> Tensor:
        """Rows of a tensor, in the type in which weights are added up."""
        ...


class _Difference:
    """Tuned minus base, read from both when asked for."""

    def __init__(self, base: Checkpoint, tuned: Checkpoint) -> None:
        self.base, self.tuned = base, tuned

    def read(self, name: str, rows: slice, known: Known | None) -> Tensor:
        start = known[1] if known is not None and known[0] is self.base else self.base.read(name, rows)
        kind = working_type(start.dtype)
        return self.tuned.read(name, rows).to(device=start.device, dtype=kind) - start.to(kind)


class _Stored:
    """Differences that a checkpoint holds as they are."""

    def __init__(self, values: Checkpoint) -> None:
        self.values = values

    def read(self, name: str, rows: slice, known: Known | None) -> Tensor:
        value = self.values.read(name, rows)
        return value.to(working_type(value.dtype))


class TaskVector:
    """The difference between the weights of a tuned model and of the model it was trained from.

    Made by `from_checkpoints`, `from_tensors` or `load`. Differences of files are not computed until they are used,
    and then block by block, so a task vector of a large model takes no memory; arithmetic on task vectors is as lazy.
    Weights are all floating-point parameters; buffers and integers are not part of a task vector. Half-precision
    weights are subtracted in 32 bits.

    Attributes:
        label: What messages call it.
        shapes: Shape of each weight.

    Source: Ilharco et al., "Editing Models with Task Arithmetic" (ICLR 2023), section 2.

    Example:
        >>> import torch
        >>> base = torch.nn.Linear(2, 1)
        >>> tuned = torch.nn.Linear(2, 1)
        >>> vector = TaskVector.from_checkpoints(base, tuned)
        >>> half_way = 0.5 * vector
        >>> round(half_way.norm() / vector.norm(), 3), round(vector.cosine(-vector), 3)
        (0.5, -1.0)
    """

    def __init__(
        self,
        terms: Sequence[tuple[float, _Source]],
        tensors: Mapping[str, TensorInfo],
        base: Checkpoint | str,
        label: str,
    ) -> None:
        self._terms = tuple(terms)
        self._tensors = dict(tensors)
        self._base = base
        self.label = label

    # -- making -------------------------------------------------------------------------------------------------------

    @classmethod
    def from_checkpoints(cls, base: Any, tuned: Any, *, label: str | None = None) -> Self:
        """`tuned - base`.

        Args:
            base: The start: `nn.Module`, state dict, `.safetensors` file or folder of a model.
            tuned: A model of the same architecture that was trained from it, as any of these.
            label: What messages call it; the tuned model's path or class by default.

        The difference of two models in memory is computed at once, so that training one of them further changes
        nothing; if one of them is on the disk, its files have to stay.

        Raises:
            InvalidValueError: Weights differ in name or shape (the message names them); quantised weights.
            FileProblemError: A path cannot be read.
            FormatError: A file is not a safetensors file.
        """
        start, end = open_checkpoint(base, "the base" if isinstance(base, Mapping) else None), open_checkpoint(tuned)
        name = label or end.label
        check_same_shape(start, end.tensors, name)
        found = cls([(1.0, _Difference(start, end))], start.weights, start, name)
        if isinstance(start, FileCheckpoint) and isinstance(end, FileCheckpoint):
            return found
        values = found.tensors()
        held = MemoryCheckpoint(name, values, _infos(values))
        return cls([(1.0, _Stored(held))], held.tensors, start.fingerprint, name)

    @classmethod
    def from_tensors(cls, values: Mapping[str, Tensor], base: Any, *, label: str = "the task vector") -> Self:
        """A task vector of given differences, one tensor for each weight of `base`.

        Raises:
            InvalidValueError: Names or shapes are not those of the base.
        """
        start, held = open_checkpoint(base), open_checkpoint(dict(values), label)
        check_same_shape(start, held.tensors, label)
        return cls([(1.0, _Stored(held))], held.weights, start, label)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """A task vector that `save` wrote; its numbers stay on the disk until they are used.

        Raises:
            FormatError: A file of another kind, such as the weights of a model.
        """
        found = open_files(path)
        details = next(iter(found.metadata.values()), {})
        if details.get("format") != FORMAT:
            raise FormatError(
                f"{found.label}: holds no task vector (weights of a model? use TaskVector.from_checkpoints)"
            )
        return cls([(1.0, _Stored(found))], found.weights, details["base"], found.label)

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """Names of the weights, in a fixed order."""
        return list(self._tensors)

    @property
    def layout(self) -> Checkpoint:
        """Names, shapes and types alone, to compare others with."""
        return Checkpoint(self.label, self._tensors)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight."""
        return {name: info.shape for name, info in self._tensors.items()}

    def read(self, name: str, rows: slice = slice(None), *, known: Known | None = None) -> Tensor:
        """One weight's difference, or some of its rows, in 32 bits (64 for 64-bit weights).

        Args:
            name: The weight.
            rows: Slice of the first dimension.
            known: A checkpoint and the same rows of it, so that the base is not read once for each task vector.

        Raises:
            InvalidValueError: NaN or infinity in it; the message names the weight.
        """
        total: Tensor | None = None
        for factor, source in self._terms:
            part = source.read(name, rows, known)
            part = part if factor == 1.0 else part * factor
            total = part if total is None else total + part
        assert total is not None
        if not bool(total.isfinite().all()):
            raise InvalidValueError(f"{self.label}: {name} holds NaN or infinity; the model diverged or overflows")
        return total

    def tensors(self, dtype: torch.dtype | None = None, device: str | torch.device | None = None) -> dict[str, Tensor]:
        """All differences in memory."""
        return {name: self.read(name).to(device=device, dtype=dtype) for name in self._tensors}

    @property
    def base_fingerprint(self) -> str:
        """Hash of the base's weights; task vectors of different bases do not belong together."""
        return self._base if isinstance(self._base, str) else self._base.fingerprint

    def check_base(self, other: TaskVector | Checkpoint) -> None:
        """Refuse a base, or the base of another task vector, that is not this one's.

        Raises:
            InvalidValueError: Another base.
        """
        theirs = other._base if isinstance(other, TaskVector) else other
        if theirs is self._base or _identity(theirs) == _identity(self._base) is not None:
            return
        found = theirs if isinstance(theirs, str) else theirs.fingerprint
        if found != self.base_fingerprint:
            raise InvalidValueError(
                f"{self.label}: belongs to another base than {other.label} (fingerprints {self.base_fingerprint[:8]} "
                f"and {found[:8]}); only differences from the same start can be merged"
            )

    # -- arithmetic ---------------------------------------------------------------------------------------------------

    def __add__(self, other: TaskVector) -> TaskVector:
        if not isinstance(other, TaskVector):
            return NotImplemented
        if self._tensors.keys() != other._tensors.keys():
            raise InvalidValueError(f"{other.label}: its weights are not those of {self.label}")
        self.check_base(other)
        return TaskVector((*self._terms, *other._terms), self._tensors, self._base, f"{self.label} + {other.label}")

    def __mul__(self, factor: float) -> TaskVector:
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            return NotImplemented
        if not math.isfinite(factor):
            raise InvalidValueError(f"factor: got {factor}, needs a finite number")
        terms = [(factor * own, source) for own, source in self._terms]
        return TaskVector(terms, self._tensors, self._base, f"{factor:g} x ({self.label})")

    __rmul__ = __mul__

    def __neg__(self) -> TaskVector:
        return self * -1.0

    def __sub__(self, other: TaskVector) -> TaskVector:
        if not isinstance(other, TaskVector):
            return NotImplemented
        return self + -other

    def __repr__(self) -> str:
        numbers = sum(info.numbers for info in self._tensors.values())
        return f"TaskVector({self.label!r}, {len(self._tensors)} weights, {numbers:,} numbers)"

    # -- measuring ----------------------------------------------------------------------------------------------------

    def dot(self, other: TaskVector) -> float:
        """Inner product over all weights."""
        return float(gram_matrix([self, other])[0, 1])

    def norm(self) -> float:
        """Euclidean length over all weights: it grows with the amount of training."""
        return math.sqrt(float(gram_matrix([self])[0, 0]))

    def cosine(self, other: TaskVector) -> float:
        """Cosine of the angle.

        Raises:
            InvalidValueError: One of the two is zero.
        """
        return math.cos(self.angle(other))

    def angle(self, other: TaskVector) -> float:
        """Angle over all weights, in radians. Near a right angle is normal in so many dimensions.

        Raises:
            InvalidValueError: One of the two is zero; another base.
        """
        gram = gram_matrix([self, other])
        check_not_zero(gram, [self, other])
        squared, dot = float(gram[0, 0] * gram[1, 1]), float(gram[0, 1])
        return math.atan2(math.sqrt(max(squared - dot * dot, 0.0)), dot)

    # -- keeping ------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], dtype: torch.dtype | None = None) -> None:
        """Write as one safetensors file, block by block and atomically.

        Args:
            path: The file, ending in `.safetensors`.
            dtype: Type of the numbers; by default that of the arithmetic, 32 bits. `torch.bfloat16` halves the file.

        Raises:
            InvalidValueError: Another suffix; a type that is not floating-point.
            FileProblemError: The place cannot be written.
        """
        if Path(path).suffix != ".safetensors":
            raise InvalidValueError(f"path: got {os.fspath(path)!r}, needs a name that ends in .safetensors")
        if dtype is not None and not dtype.is_floating_point:
            raise InvalidValueError(f"dtype: got {dtype}, needs a floating-point type")
        layout = {name: (info.shape, dtype or working_type(info.dtype)) for name, info in self._tensors.items()}
        blocks = (self.read(name, rows) for name, info in self._tensors.items() for rows in row_blocks(info.shape))
        with atomic_path(path) as temporary:
            write_weights(temporary, layout, blocks, {"format": FORMAT, "base": self.base_fingerprint})

    def apply_(self, model: nn.Module, scale: float = 1.0) -> nn.Module:
        """Add `scale` times this to the model's parameters in place, and return the model.

        Raises:
            InvalidValueError: The model has other parameters.
        """
        target = open_checkpoint(model)
        check_same_shape(target, self._tensors, self.label)
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name in target.weights:
                parameter = parameters[name]
                kind = working_type(parameter.dtype)
                change = self.read(name).to(parameter.device, kind)
                parameter.copy_(parameter.to(kind) + scale * change)
        return model


def _identity(base: Checkpoint | str) -> Any:
    return base.identity if isinstance(base, FileCheckpoint) else None


def _infos(values: Mapping[str, Tensor]) -> dict[str, TensorInfo]:
    return {name: TensorInfo(tuple(value.shape), value.dtype, True) for name, value in values.items()}


def gram_matrix(vectors: Sequence[TaskVector]) -> Tensor:
    """Inner products of all pairs of task vectors `(count, count)`, in 64 bits, in one pass over the weights.

    Raises:
        InvalidTypeError: Not task vectors.
        InvalidValueError: None; of different bases; NaN in one.
    """
    if not vectors:
        raise InvalidValueError("vectors: got none, needs at least one task vector")
    for vector in vectors:
        if not isinstance(vector, TaskVector):
            raise InvalidTypeError(f"vectors: got {type(vector).__name__}, needs TaskVector objects")
        if vector.names != vectors[0].names and set(vector.names) != set(vectors[0].names):
            raise InvalidValueError(f"{vector.label}: its weights are not those of {vectors[0].label}")
        vector.check_base(vectors[0])
    total = torch.zeros(len(vectors), len(vectors), dtype=torch.float64)
    for name, shape in vectors[0].shapes.items():
        for rows in row_blocks(shape):
            parts = torch.stack([vector.read(name, rows).double().flatten().cpu() for vector in vectors])
            total += parts @ parts.T
    return total


def check_not_zero(gram: Tensor, vectors: Sequence[TaskVector]) -> None:
    """Refuse a task vector of length 0, which has no direction.

    Raises:
        InvalidValueError: The message names it.
    """
    for vector, squared in zip(vectors, gram.diagonal().tolist(), strict=True):
        if squared == 0:
            raise InvalidValueError(
                f"{vector.label}: is the same as its base, so it adds nothing and has no direction; leave it out"
            )
