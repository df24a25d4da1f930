"""Merging from files to files: a weights file, or the whole folder of a model, without loading a model."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from polyvec.combine.merging.in_memory import as_task_vectors, check_measures, merged_blocks, new_measures
from polyvec.combine.merging.methods import MergeMethod, merge_method
from polyvec.combine.task_vectors.vector import TaskVector
from polyvec.combine.task_vectors.weight_files import SKIPPED_FOLDERS, FileCheckpoint, open_files, vocabulary
from polyvec.combine.task_vectors.weight_writer import write_weights
from polyvec.core.errors import FormatError, InvalidTypeError, InvalidValueError
from polyvec.core.files import atomic_directory, atomic_path, file_problem, write_json
from polyvec.core.progress import progress

RECORD = "polyvec_merge.json"
_STALE = shutil.ignore_patterns(
    *SKIPPED_FOLDERS, ".*", "*.safetensors", "*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.onnx", "*.gguf", RECORD
)


@dataclass
class MergeReport:
    """What was merged, and how far the models are from the base.

    Attributes:
        path: Where the merged model is.
        method: The method's name.
        options: Its numbers: weights, scale and what else it has.
        base: The base's path.
        models: The models' paths.
        norms: Length of each task vector.
        cosines: Cosines of all pairs of task vectors.
        base_norm: Length of the base's weights.
        merged_norm: Length of the merged difference.
        weights: How many tensors were merged.
        numbers: How many numbers they hold.
        kept: How many tensors (buffers, integers) were taken from the base.
        seconds: Wall time.
        warnings: What looks wrong but is no error.
    """

    path: str
    method: str
    options: dict[str, Any]
    base: str
    models: list[str]
    norms: list[float] = field(default_factory=list)
    cosines: list[list[float]] = field(default_factory=list)
    base_norm: float = 0.0
    merged_norm: float = 0.0
    weights: int = 0
    numbers: int = 0
    kept: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def merge_files(
    base: str | os.PathLike[str],
    models: Iterable[str | os.PathLike[str] | TaskVector],
    to: str | os.PathLike[str],
    method: str | MergeMethod = "average",
    *,
    overwrite: bool = False,
    show_progress: bool | None = None,
    **options: Any,
) -> MergeReport:
    """Merge model folders into a folder, or weight files into a file, holding one block of one tensor at a time.

    The result has the base's files: its shards, configuration, tokenizer and modules; only the weights differ. A folder
    of a sentence-transformers model stays one. `polyvec_merge.json` in the folder says what was merged and how.
    The output appears when it is complete; an error or Ctrl-C leaves nothing behind.

    Args:
        base: The start: folder of a model or `.safetensors` file.
        models: Folders or files of the same architecture, or task vectors of this base (as objects or as saved).
        to: The folder (when the base is one) or `.safetensors` file to write.
        method: As for `merge`.
        overwrite: Whether an existing output may be replaced.
        show_progress: A bar; by default on a terminal.
        **options: The method's arguments.

    Raises:
        InvalidValueError: What `merge` refuses; folders with different vocabularies; an output that exists, or that is
            one of the inputs.
        FormatError: No weights in safetensors files there.
        FileProblemError: A file cannot be read or written.
    """
    started = time.perf_counter()
    chosen = merge_method(method, **options)
    if isinstance(models, (str, os.PathLike)):
        raise InvalidTypeError(f"models: got one {type(models).__name__}, needs a list of models or task vectors")
    models = list(models)
    start = open_files(base)
    target = Path(to)
    _check_target(target, start, [model for model in models if not isinstance(model, TaskVector)], overwrite)
    vectors = as_task_vectors(start, models)
    _check_vocabularies(start, models)
    chosen.prepare(vectors)
    measures = new_measures(len(vectors))
    report = MergeReport(
        path=str(target),
        method=chosen.name,
        options=_plain_options(chosen, len(vectors)),
        base=start.label,
        models=[vector.label for vector in vectors],
        weights=len(start.weights),
        numbers=sum(info.numbers for info in start.weights.values()),
        kept=len(start.tensors) - len(start.weights),
    )

    def finish() -> None:
        check_measures(measures, vectors)
        lengths = measures.gram.diagonal().sqrt()
        report.norms = lengths.tolist()
        report.cosines = (measures.gram / lengths.outer(lengths)).tolist()
        report.base_norm, report.merged_norm = measures.base_squared**0.5, measures.merged_squared**0.5
        report.warnings = measures.warnings
        report.seconds = round(time.perf_counter() - started, 3)

    with progress("merging", len(start.tensors), show=show_progress) as bar:

        def blocks(file: str) -> Iterator[Tensor]:
            for _, block in merged_blocks(start, vectors, chosen, start.files[file], measures, bar):
                yield block

        if start.is_folder:
            with atomic_directory(target) as folder:
                shutil.copytree(start.root, folder, dirs_exist_ok=True, ignore=_STALE, copy_function=shutil.copyfile)
                for file in start.files:
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    _write(folder / file, start, file, blocks(file))
                finish()
                write_json(folder / RECORD, report.to_dict())
        else:
            (file,) = start.files
            with atomic_path(target) as temporary:
                _write(temporary, start, file, blocks(file))
                finish()
    return report


def _write(path: Path, base: FileCheckpoint, file: str, blocks: Iterator[Tensor]) -> None:
    layout = {}
    for name, stored in base.files[file].items():
        layout[stored] = (base.tensors[name].shape, base.tensors[name].dtype)
    write_weights(path, layout, blocks, base.metadata[file])


def _check_target(target: Path, base: FileCheckpoint, models: Sequence[Any], overwrite: bool) -> None:
    if base.is_folder and target.suffix == ".safetensors":
        raise InvalidValueError(f"to: got the file {target}, needs a folder, as the base is one")
    if not base.is_folder:
        if len(base.files) > 1:
            raise FormatError(f"{base.label}: an index of shards alone cannot be the base; give the folder it is in")
        if target.suffix != ".safetensors":
            raise InvalidValueError(f"to: got {target}, needs a name that ends in .safetensors, as the base is a file")
    if not target.exists():
        return
    for given in (base.label, *models):
        path = Path(given)
        if path.exists() and (path.samefile(target) or target.resolve() in path.resolve().parents):
            raise InvalidValueError(f"to: {target} is or holds {path}, which is merged; choose another place")
    if base.is_folder != target.is_dir():
        raise file_problem(
            IsADirectoryError(21, "") if target.is_dir() else NotADirectoryError(20, ""), target, "write"
        )
    if not overwrite and not (target.is_dir() and not any(target.iterdir())):
        raise InvalidValueError(f"to: {target} exists; choose another place, or say overwrite=True (--overwrite)")


def _check_vocabularies(base: FileCheckpoint, models: Sequence[Any]) -> None:
    """Refuse models whose tokenizers give the same id to different pieces: their embedding rows do not correspond."""
    if not base.is_folder or (own := vocabulary(base.root)) is None:
        return
    for model in models:
        if isinstance(model, (str, os.PathLike)) and Path(model).is_dir():
            other = vocabulary(Path(model))
            if other is not None and other != own:
                raise InvalidValueError(
                    f"{os.fspath(model)}: its tokenizer has another vocabulary than {base.label}'s, so rows of the "
                    "embedding tables mean different things; merging needs models with one tokenizer"
                )


def _plain_options(method: MergeMethod, count: int) -> dict[str, Any]:
    """The method's numbers, without tensors."""
    options: dict[str, Any] = {"weights": method.weights_for(count), "scale": method.scale}
    for name, value in vars(method).items():
        if name not in options and not name.startswith("_") and isinstance(value, (bool, int, float, str)):
            options[name] = value
    if (coefficients := getattr(method, "coefficients", None)) is not None:
        options["coefficients"] = list(coefficients)
    return options
