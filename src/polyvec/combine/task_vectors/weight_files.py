"""Weights in safetensors files: one file, a sharded set with its index, or the folder of a model."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from polyvec.combine.task_vectors.checkpoint import Checkpoint, TensorInfo, describe
from polyvec.core.errors import FormatError, InvalidValueError
from polyvec.core.files import file_problem

INDEX_SUFFIX = ".safetensors.index.json"
SKIPPED_FOLDERS = frozenset({"onnx", "openvino"})
"""Folders beside the weights that hold the same model for another runtime; they would be stale after merging."""

_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An open safetensors file.

    It is opened again for each read: its pages are mapped into memory and count as used until it is closed.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as handle:
            yield handle
    except SafetensorError as error:
        raise FormatError(f"{path}: not a readable safetensors file ({error})") from error
    except OSError as error:
        raise file_problem(error, path, "read") from error


class FileCheckpoint(Checkpoint):
    """Weights in one or more safetensors files, read from the disk block by block.

    Args:
        label: What messages call it.
        files: For each file its path below `root` and the prefix of its tensors' names.
        root: The folder that `files` are in.
        folder: Whether `root` is the folder of a model, with a configuration and a tokenizer beside the weights.
    """

    def __init__(self, label: str, files: Mapping[str, str], root: Path, *, folder: bool) -> None:
        self.root, self.is_folder = root, folder
        self.files: dict[str, dict[str, str]] = {}  # file: its tensors' names in the checkpoint: in the file
        self.metadata: dict[str, dict[str, str]] = {}
        self._place: dict[str, tuple[Path, str]] = {}
        tensors: dict[str, TensorInfo] = {}
        for file, prefix in files.items():
            with opened(root / file) as handle:
                self.metadata[file] = dict(handle.metadata() or {})
                names = {prefix + stored: stored for stored in handle.keys()}  # noqa: SIM118 - not a mapping
                for name, stored in names.items():
                    if name in tensors:
                        raise FormatError(
                            f"{label}: {name} stands in two files, {self._place[name][0].name} and {file}"
                        )
                    part = handle.get_slice(stored)
                    dtype = _TYPES.get(part.get_dtype())
                    if dtype is None:
                        raise InvalidValueError(
                            f"{label}: {name} has the type {part.get_dtype()}, which cannot be merged; convert the "
                            "weights to 32, 16 or bfloat16 first"
                        )
                    tensors[name] = describe(name, tuple(part.get_shape()), dtype, label)
                    self._place[name] = (root / file, stored)
            self.files[file] = names
        super().__init__(label, tensors)

    def read(self, name: str, rows: slice = slice(None)) -> Tensor:
        """The tensor, or a slice of its first dimension, as it is stored."""
        path, stored = self._place[name]
        with opened(path) as handle:
            if not self.tensors[name].shape:
                return handle.get_tensor(stored)
            # A copy, as what comes back is a view of the mapped file.
            return handle.get_slice(stored)[rows].clone()

    @cached_property
    def identity(self) -> tuple[Any, ...]:
        """Paths, sizes and times of the files: equal for the same files opened twice."""
        found = []
        for file in self.files:
            path = (self.root / file).resolve()
            state = path.stat()
            found.append((str(path), state.st_size, state.st_mtime_ns))
        return tuple(found)


def open_files(source: str | os.PathLike[str]) -> FileCheckpoint:
    """The weights of a `.safetensors` file, of an index of shards, or of all weight files in a model's folder.

    In a folder the names of weights in sub-folders (sentence-transformers' later modules) start with the sub-folder.

    Raises:
        FileProblemError: The path does not exist.
        FormatError: No safetensors files there; an index that names missing files; two sets of weights in one folder.
        InvalidValueError: An adapter instead of a model; quantised weights.
    """
    path = Path(source)
    label = os.fspath(source)
    if path.is_dir():
        return _open_folder(path, label)
    if not path.exists():
        raise file_problem(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), path, "read")
    if path.name.endswith(INDEX_SUFFIX):
        return FileCheckpoint(label, dict.fromkeys(_shards(path), ""), path.parent, folder=False)
    if path.suffix != ".safetensors":
        raise FormatError(
            f"{label}: needs a .safetensors file, a {INDEX_SUFFIX} index or a model's folder; pickled weights (.bin, "
            ".pt) are never opened, save them with safetensors first"
        )
    return FileCheckpoint(label, {path.name: ""}, path.parent, folder=False)


def _open_folder(folder: Path, label: str) -> FileCheckpoint:
    _check_configuration(folder, label)
    found: dict[str, str] = {}
    for place in sorted({folder, *_weight_folders(folder)}):
        below = place.relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in _files_of(place, label):
            found[prefix + name] = prefix
    if not found:
        pickled = next((file.name for ending in ("*.bin", "*.pt") for file in folder.rglob(ending)), None)
        hint = f"; {pickled} is pickled, which is never opened: save the model with safetensors" if pickled else ""
        raise FormatError(f"{label}: holds no .safetensors weights{hint}")
    return FileCheckpoint(label, found, folder, folder=True)


def _weight_folders(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*.safetensors"):
        below = file.relative_to(folder).parts[:-1]
        if not any(part in SKIPPED_FOLDERS or part.startswith(".") for part in below):
            yield file.parent


def _files_of(folder: Path, label: str) -> list[str]:
    """Weight files of one folder: those of the index when there is one."""
    indexes = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    if len(indexes) > 1:
        listed = ", ".join(index.name for index in indexes)
        raise FormatError(f"{label}: holds several sets of weights ({listed}); keep one")
    if indexes:
        return _shards(indexes[0])
    names = sorted(file.name for file in folder.glob("*.safetensors") if not file.name.startswith("."))
    if "adapter_model.safetensors" in names:
        raise InvalidValueError(
            f"{label}: is an adapter (adapter_model.safetensors), not a model; its two factors cannot be merged one by "
            "one: fold it into its base first (peft: merge_and_unload)"
        )
    return names


def _shards(index: Path) -> list[str]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{index}: not an index of safetensors shards ({error})") from error
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise FormatError(f"{index}: names the shard {name!r}, which is not beside it; fetch the model again")
    return names


def _check_configuration(folder: Path, label: str) -> None:
    """Refuse a model whose configuration says that its weights are quantised."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise FormatError(f"{file}: cannot be read ({error})") from error
    if isinstance(config, dict) and config.get("quantization_config"):
        raise InvalidValueError(
            f"{label}: config.json says that its weights are quantised; merge the unquantised models, then quantise "
            "the result"
        )


def vocabulary(folder: Path) -> Any:
    """What the tokenizer in a model's folder maps to ids, or `None` when there is none that can be compared."""
    for file in sorted(folder.rglob("tokenizer.json")):
        try:
            return json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return None
