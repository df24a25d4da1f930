"""Merging: many models of one start into one, in memory or streamed from files to files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polyvec.combine.merging.methods import Block, MergeMethod, merge_method
from polyvec.combine.task_vectors.checkpoint import (
    BLOCK_NUMBERS,
    Checkpoint,
    MemoryCheckpoint,
    check_same_shape,
    open_checkpoint,
    row_blocks,
    working_type,
)
from polyvec.combine.task_vectors.vector import TaskVector, check_not_zero
from polyvec.combine.task_vectors.weight_files import FileCheckpoint
from polyvec.core.errors import FormatError, InvalidTypeError, InvalidValueError
from polyvec.core.progress import ProgressHandle


@dataclass
class Measures:
    """What a merge saw on its way through the weights.

    Attributes:
        gram: Inner products of the task vectors.
        base_squared: Squared length of the base's weights.
        merged_squared: Squared length of the merged difference.
    """

    gram: Tensor
    base_squared: float = 0.0
    merged_squared: float = 0.0
    warnings: list[str] = field(default_factory=list)


def as_task_vectors(base: Checkpoint, models: Iterable[Any]) -> list[TaskVector]:
    """Task vectors of models (modules, state dicts, files, folders), or given ones, checked against the base.

    Raises:
        InvalidValueError: None; another architecture; a task vector of another base.
    """
    if isinstance(models, (str, os.PathLike, nn.Module, TaskVector, Mapping)):
        raise InvalidTypeError(f"models: got one {type(models).__name__}, needs a list of models or task vectors")
    vectors = []
    for model in models:
        vector = model if isinstance(model, TaskVector) else _stored_vector(model)
        if vector is None:
            vector = TaskVector.from_checkpoints(base, model)
        else:
            check_same_shape(base, vector.layout.tensors, vector.label)
            vector.check_base(base)
        vectors.append(vector)
    if not vectors:
        raise InvalidValueError("models: got none, needs at least one model beside the base")
    return vectors


def _stored_vector(model: Any) -> TaskVector | None:
    """The task vector in a file that `TaskVector.save` wrote, `None` for anything else."""
    if not isinstance(model, (str, os.PathLike)) or not Path(model).is_file():
        return None
    try:
        return TaskVector.load(model)
    except FormatError:
        return None


def merged_blocks(
    base: Checkpoint,
    vectors: Sequence[TaskVector],
    method: MergeMethod,
    names: Iterable[str],
    measures: Measures,
    bar: ProgressHandle | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """The merged tensors, row block after row block, each in the base's type.

    At most one block of the base, one of each task vector and two of the result are in memory.

    Raises:
        InvalidValueError: NaN in a task vector; a merged number that the base's type cannot hold.
    """
    for name in names:
        info = base.tensors[name]
        whole = not info.merged or method.needs_whole(name)
        for rows in [slice(None)] if whole else row_blocks(info.shape, BLOCK_NUMBERS):
            stored = base.read(name, rows)
            if info.merged:
                kind = working_type(info.dtype)
                deltas = [vector.read(name, rows, known=(base, stored)).to(stored.device, kind) for vector in vectors]
                change = method.scale * method.merge(Block(name, rows, deltas))
                start = stored.to(kind)
                _measure(measures, start, deltas, change)
                del deltas
                stored = (start + change).to(info.dtype)
                if not bool(stored.isfinite().all()):
                    raise InvalidValueError(
                        f"{name}: the merged weights do not fit in {info.dtype}; choose a smaller scale or weights"
                    )
            yield name, stored
        if bar is not None:
            bar.advance()


def _measure(measures: Measures, base: Tensor, deltas: Sequence[Tensor], change: Tensor) -> None:
    flat = [delta.flatten() for delta in deltas]
    for i, first in enumerate(flat):
        for j in range(i, len(flat)):
            value = float(first @ flat[j])
            measures.gram[i, j] += value
            if i != j:
                measures.gram[j, i] += value
    measures.base_squared += float(base.flatten() @ base.flatten())
    measures.merged_squared += float(change.flatten() @ change.flatten())


def check_measures(measures: Measures, vectors: Sequence[TaskVector]) -> None:
    """Refuse zero task vectors; note those that are too long to come from this base.

    Raises:
        InvalidValueError: A model is the same as the base.
    """
    check_not_zero(measures.gram, vectors)
    for vector, squared in zip(vectors, measures.gram.diagonal().tolist(), strict=True):
        if squared > measures.base_squared:
            measures.warnings.append(
                f"{vector.label}: is further from the base ({squared**0.5:.4g}) than the base is from zero "
                f"({measures.base_squared**0.5:.4g}); was it really trained from this base?"
            )


def new_measures(count: int) -> Measures:
    """Measures of `count` task vectors before the pass."""
    return Measures(torch.zeros(count, count, dtype=torch.float64))


def merge(base: Any, models: Iterable[Any], method: str | MergeMethod = "average", **options: Any) -> dict[str, Tensor]:
    """Merge models that were trained from one start; returns a state dict.

    Args:
        base: The start: `nn.Module`, state dict, `.safetensors` file, index of shards, or folder of a model.
        models: Models of the same architecture, as any of these, or `TaskVector`s; or files that `TaskVector.save`
            wrote. At least one.
        method: `"average"`, `"task-arithmetic"`, `"slerp"`, `"ties"`, `"dare"`, `"fisher"`, `"regmean"`, or a
            `MergeMethod`. Self Positioning learns its numbers, see `SelfPositioning`.
        **options: The method's arguments. All take `weights` (one number for each model) and `scale`.

    Returns:
        All tensors of the base under its names, tied ones under both, in the base's types and on its device. Weights
        are merged; buffers (batch statistics, position ids) and integers are the base's. Nothing shares memory with
        the base. After merging a model with batch normalisation, estimate its statistics again.

    Raises:
        InvalidValueError: Another architecture (the first differing names are in the message), another base, quantised
            weights, a model that equals the base, NaN, a bad option.
        NotFoundError: No such method.

    Example:
        >>> import torch
        >>> base, first, second = (torch.nn.Linear(3, 2) for _ in range(3))
        >>> merged = merge(base, [first, second])
        >>> torch.allclose(merged["weight"], (first.weight + second.weight) / 2)
        True
    """
    chosen = merge_method(method, **options)
    start = open_checkpoint(base, "the base" if isinstance(base, Mapping) else None)
    vectors = as_task_vectors(start, models)
    chosen.prepare(vectors)
    measures = new_measures(len(vectors))
    parts: dict[str, list[Tensor]] = {}
    for name, block in merged_blocks(start, vectors, chosen, start.tensors, measures):
        parts.setdefault(name, []).append(block)
    check_measures(measures, vectors)
    values = {
        name: torch.cat(blocks) if len(blocks) > 1 else blocks[0].clone() if blocks else start.read(name).clone()
        for name, blocks in ((name, parts.get(name, [])) for name in start.tensors)
    }
    if isinstance(start, FileCheckpoint):
        return values
    aliases = start.aliases if isinstance(start, MemoryCheckpoint) else {}
    every: Mapping[str, Any] = base.state_dict() if isinstance(base, nn.Module) else base
    return {name: values.get(aliases.get(name, name), value) for name, value in every.items()}
