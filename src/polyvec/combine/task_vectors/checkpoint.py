"""Checkpoints: named weights that are read one block of rows at a time, from a module, a state dict or files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from polyvec.core.errors import InvalidTypeError, InvalidValueError

BLOCK_NUMBERS = 1 << 19
"""Most numbers of one tensor that are held at once while streaming (2 MiB in 32 bits)."""

MERGED_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_QUANTISED_TYPES = ("float8", "float4", "int4", "uint4", "qint", "quint")
_QUANTISED_ENDINGS = (
    ".qweight", ".qzeros", ".g_idx", ".absmax", ".quant_map", ".SCB", ".weight_scale", ".weight_scale_inv",
)  # fmt: skip
_BUFFER_NAMES = frozenset({"running_mean", "running_var", "num_batches_tracked", "position_ids", "inv_freq"})


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Shape and type of one tensor; `merged` tells weights from what is taken over from the base as it is."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    merged: bool

    @property
    def numbers(self) -> int:
        """How many numbers the tensor holds."""
        return int(torch.Size(self.shape).numel())


class Checkpoint:
    """Named tensors that can be read piece by piece.

    Args:
        label: What messages call it.
        tensors: Shape, type and role of every tensor, in a fixed order.

    Subclasses implement `read`. Weights are tensors of 16, 32 or 64-bit floating-point numbers that are parameters;
    buffers (batch statistics, position ids) and integers are not weights.
    """

    def __init__(self, label: str, tensors: Mapping[str, TensorInfo]) -> None:
        self.label = label
        self.tensors = dict(tensors)

    def read(self, name: str, rows: slice = slice(None)) -> Tensor:
        """The tensor, or a slice of its first dimension, as it is stored."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its tensors are read")

    @cached_property
    def weights(self) -> dict[str, TensorInfo]:
        """The tensors that merging changes."""
        return {name: info for name, info in self.tensors.items() if info.merged}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the names, shapes and 32-bit values of all weights: the same for a copy stored in another way."""
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(self.weights):
            info = self.weights[name]
            digest.update(f"{name}{info.shape}".encode())
            for rows in row_blocks(info.shape):
                digest.update(self.read(name, rows).float().contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()


class MemoryCheckpoint(Checkpoint):
    """Tensors in memory; not copied, so a model that is trained further changes what is read.

    Args:
        label: What messages call it.
        values: The tensors.
        tensors: Shape, type and role of each.
        aliases: Second names of tied tensors, and the first name that stands for each.
    """

    def __init__(
        self,
        label: str,
        values: Mapping[str, Tensor],
        tensors: Mapping[str, TensorInfo],
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(label, tensors)
        self._values = values
        self.aliases = dict(aliases or {})

    def read(self, name: str, rows: slice = slice(None)) -> Tensor:
        """The tensor, or a slice of its first dimension, as it is stored."""
        value = self._values[name].detach()
        return value[rows] if value.ndim else value


def working_type(dtype: torch.dtype) -> torch.dtype:
    """The type in which weights are added up: 64 bits for 64-bit weights, 32 bits for all others."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def row_blocks(shape: tuple[int, ...], numbers: int = BLOCK_NUMBERS) -> Iterator[slice]:
    """Slices of the first dimension that together cover it, each of at most `numbers` numbers (but at least a row)."""
    if not shape:
        yield slice(None)
        return
    row = max(1, int(torch.Size(shape[1:]).numel()))
    step = max(1, numbers // row)
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def describe(
    name: str, shape: tuple[int, ...], dtype: torch.dtype, label: str, merged: bool | None = None
) -> TensorInfo:
    """Shape, type and role of a tensor; refuses quantised weights.

    Args:
        name: Its name.
        shape: Its shape.
        dtype: Its type.
        label: What messages call the checkpoint.
        merged: Whether it is a parameter; `None` guesses from name and type, as files do not say.

    Raises:
        InvalidValueError: The tensor is a part of quantised weights.
    """
    kind = str(dtype).removeprefix("torch.")
    parameter = merged if merged is not None else name.rpartition(".")[2] not in _BUFFER_NAMES
    packed = name.endswith(".weight") and not dtype.is_floating_point and not dtype.is_complex
    if kind.startswith(_QUANTISED_TYPES) or name.endswith(_QUANTISED_ENDINGS) or (parameter and packed):
        raise InvalidValueError(
            f"{label}: {name} is quantised ({kind}), and codes cannot be added; merge the unquantised models, then "
            "quantise the result"
        )
    return TensorInfo(shape, dtype, parameter and dtype in MERGED_TYPES)


def _of_module(module: nn.Module, label: str) -> Checkpoint:
    parameters = dict(module.named_parameters())  # a tied one once, under its first name
    first = {id(value): name for name, value in parameters.items()}
    every = module.named_parameters(remove_duplicate=False)
    aliases = {name: first[id(value)] for name, value in every if first[id(value)] != name}
    values: dict[str, Tensor] = {**parameters, **dict(module.named_buffers())}
    tensors = {
        name: describe(name, tuple(value.shape), value.dtype, label, name in parameters)
        for name, value in values.items()
    }
    return MemoryCheckpoint(label, values, tensors, aliases)


def _of_mapping(values: Mapping[str, Any], label: str) -> Checkpoint:
    tensors: dict[str, TensorInfo] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise InvalidTypeError(f"{label}: {name!r} is {type(value).__name__}, needs tensors as in a state_dict()")
        place = (value.device, value.data_ptr(), tuple(value.shape), value.stride())
        if value.numel() and place in first:
            aliases[name] = first[place]  # tied: the same storage under a second name
            continue
        first[place] = name
        tensors[name] = describe(name, tuple(value.shape), value.dtype, label)
    return MemoryCheckpoint(label, values, tensors, aliases)


def open_checkpoint(source: Any, label: str | None = None) -> Checkpoint:
    """The checkpoint behind a module, a state dict, a `.safetensors` file or a folder of a model.

    Args:
        source: `nn.Module`, mapping of names to tensors, path, or a `Checkpoint`, which passes through.
        label: What messages call it; the path or the class by default.

    Raises:
        InvalidTypeError: Something else.
        InvalidValueError: No weights in it; quantised weights.
        FileProblemError: The path does not exist or cannot be read.
        FormatError: The file is not a safetensors file; the folder has no safetensors files.
    """
    if isinstance(source, Checkpoint):
        return source
    if isinstance(source, nn.Module):
        found = _of_module(source, label or type(source).__name__)
    elif isinstance(source, Mapping):
        found = _of_mapping(source, label or "the state dict")
    elif isinstance(source, (str, os.PathLike)):
        from polyvec.combine.task_vectors.weight_files import open_files

        found = open_files(source)
    else:
        raise InvalidTypeError(
            f"checkpoint: got {type(source).__name__}, needs an nn.Module, a state dict, a .safetensors file or a "
            "folder of a model"
        )
    if not found.weights:
        raise InvalidValueError(f"{found.label}: holds no floating-point weights, so there is nothing to merge")
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_same_shape(base: Checkpoint, other: Mapping[str, TensorInfo], label: str) -> None:
    """Refuse weights of another architecture than the base's, naming the first tensors that differ.

    Raises:
        InvalidValueError: A weight of the base is missing, there is one too many, or a shape differs.
    """
    weights = base.weights
    if missing := [name for name in weights if name not in other]:
        raise InvalidValueError(
            f"{label}: lacks {_listed(missing)}, which {base.label} has; merging needs models of one architecture"
        )
    if extra := [name for name, info in other.items() if info.merged and name not in weights]:
        raise InvalidValueError(
            f"{label}: has {_listed(extra)}, which {base.label} lacks; merging needs models of one architecture"
        )
    for name, info in weights.items():
        if other[name].shape != info.shape or not other[name].merged:
            hint = "; do they share the tokenizer?" if "embed" in name else ""
            raise InvalidValueError(
                f"{label}: {name} is {_kind(other[name])}, in {base.label} it is {_kind(info)}; merging needs models "
                f"of one architecture{hint}"
            )


def _kind(info: TensorInfo) -> str:
    return f"{list(info.shape)} of {str(info.dtype).removeprefix('torch.')}"
