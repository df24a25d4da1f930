"""Learned merges of sentence-transformers folders: the models are run on pairs, the weights are merged as files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from polyvec.combine.merging.methods import MergeMethod, merge_method
from polyvec.combine.merging.positioning import SelfPositioning
from polyvec.combine.merging.probe import ContrastiveProbe, balanced_batches
from polyvec.combine.task_vectors.checkpoint import Checkpoint
from polyvec.combine.task_vectors.vector import TaskVector
from polyvec.combine.task_vectors.weight_files import FileCheckpoint, open_files
from polyvec.core.errors import FormatError, InvalidValueError
from polyvec.data import read
from polyvec.encode.text.sentence_transformer import load_object

if TYPE_CHECKING:
    from collections.abc import Iterator

Pairs = tuple[list[str], list[str]]

LEARNED = ("fisher", "regmean", "self-positioning")
"""Methods that look at examples."""

_COLUMNS = (
    ("anchor", "positive"), ("query", "positive"), ("query", "document"), ("query", "passage"), ("query", "answer"),
    ("question", "answer"), ("question", "context"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2"),
    ("text1", "text2"), ("text_a", "text_b"), ("source", "target"), ("title", "body"), ("synopsis", "description"),
)  # fmt: skip


def read_pairs(path: str | os.PathLike[str], columns: tuple[str, str] | None = None) -> Pairs:
    """Anchors and positives of a table (CSV, JSON lines, Parquet ...).

    Rows with an empty side, or with the same text on both, are left out.

    Args:
        path: The file.
        columns: Names of the two columns. By default a usual pair of names (anchor and positive, query and document,
            question and answer, sentence1 and sentence2 ...), else the title and the text as `polyvec.data.read` finds
            them.

    Raises:
        FileProblemError: The file cannot be read.
        FormatError: The columns are not there.
        InvalidValueError: Fewer than two pairs.
    """
    anchors, positives = [], []
    for document in _rows(path, columns):
        anchor, positive = (document.title or "").strip(), document.text.strip()
        if anchor and positive and anchor != positive:
            anchors.append(anchor)
            positives.append(positive)
    if len(anchors) < 2:
        raise InvalidValueError(
            f"{os.fspath(path)}: holds {len(anchors)} usable pairs of texts, needs at least 2; name the two columns "
            "(--columns anchor,positive)"
        )
    return anchors, positives


def _rows(path: str | os.PathLike[str], columns: tuple[str, str] | None) -> Iterator[Any]:
    if columns is not None:
        return read(path, title_field=columns[0], text_field=columns[1], on_error="raise")
    for first, second in _COLUMNS:
        found = read(path, title_field=first, text_field=second, on_error="raise")
        try:
            start = next(found)
        except (FormatError, StopIteration):
            continue

        def chained(start: Any = start, found: Any = found) -> Iterator[Any]:
            yield start
            yield from found

        return chained()
    return read(path, on_error="raise")


def load_text_model(folder: str | os.PathLike[str], device: str | None = None) -> Any:
    """The `SentenceTransformer` in a folder, in 32 bits, without asking any model hub.

    Raises:
        DataUnavailableError: It cannot be loaded.
    """
    return load_object(os.fspath(folder), device=device, precision="exact", local_only=True)


def embedder(model: Any) -> Callable[[Any, Sequence[str]], Tensor]:
    """`embed(network, texts)` with the tokenizer of `model` and the weights of `network`, which is called like it."""
    prepare = getattr(model, "preprocess", None) or model.tokenize

    def embed(network: Callable[[Any], Any], texts: Sequence[str]) -> Tensor:
        features = {
            name: value.to(model.device) if isinstance(value, Tensor) else value
            for name, value in prepare(list(texts)).items()
        }
        return network(features)["sentence_embedding"]

    return embed


def file_names(model: nn.Module, files: Checkpoint) -> dict[str, str]:
    """Under which name each parameter of a loaded model stands in its files.

    Libraries rename weights when they load them, so names are compared from their end and the values decide.
    """
    by_end: dict[str, list[str]] = {}
    for name in files.weights:
        by_end.setdefault(_end(name), []).append(name)
    found = {}
    for name, value in model.named_parameters():
        same = [
            other
            for other in by_end.get(_end(name), [])
            if files.weights[other].shape == tuple(value.shape)
            and torch.equal(files.read(other).to(value), value.detach())
        ]
        if same:
            found[name] = max(same, key=lambda other: _common_end(name, other))
    return found


def _parts(name: str) -> list[str]:
    return name.replace("/", ".").split(".")


def _end(name: str) -> str:
    return ".".join(_parts(name)[-2:])


def _common_end(first: str, second: str) -> int:
    count = 0
    for left, right in zip(reversed(_parts(first)), reversed(_parts(second)), strict=False):
        if left != right:
            break
        count += 1
    return count


def learned_method(
    method: str,
    base: str | os.PathLike[str],
    models: Sequence[str | os.PathLike[str]],
    probes: Mapping[str, Pairs],
    *,
    batch_size: int = 64,
    steps: int = 300,
    lr: float = 1e-2,
    mu: float = 0.01,
    temperature: float = 0.05,
    learn_temperature: bool = True,
    seed: int | None = 0,
    device: str | None = None,
    show_progress: bool | None = None,
    **options: Any,
) -> MergeMethod:
    """A merge of sentence-transformers folders whose numbers come from example pairs; for `merge_files`.

    Args:
        method: `"self-positioning"`: the probes are the tasks, each has the same share of every batch. `"fisher"` and
            `"regmean"`: one probe for each model, in the order of the models, of that model's own task.
        base: Folder of the start.
        models: Folders of the models.
        probes: Pairs of texts by the name of their task.
        batch_size: Pairs of each task in a batch.
        steps: Batches of Self Positioning; for the others at most so many, one pass over the probe at the most.
        lr: Step size of Self Positioning.
        mu: Its penalty on the length.
        temperature: Of the contrastive loss; where Self Positioning's learned temperatures start.
        learn_temperature: `False` keeps Self Positioning's temperature fixed, as in its source.
        seed: Which pairs.
        device: Where the models run; the CPU by default.
        show_progress: A bar; by default on a terminal.
        **options: The method's other arguments.

    Raises:
        InvalidValueError: Models that are not folders; another number of probes than the method needs.
    """
    for path in (base, *models):
        if not Path(path).is_dir():
            raise InvalidValueError(
                f"{method}: {os.fspath(path)} is no folder; this method runs the models, so it needs folders of "
                "sentence-transformers models (in Python: any nn.Module)"
            )
    if method != "self-positioning" and len(probes) != len(models):
        raise InvalidValueError(
            f"{method}: got {len(probes)} files of pairs for {len(models)} models, needs one for "
            "each model, in the same order"
        )
    if not probes:
        raise InvalidValueError(f"{method}: got no file of pairs, needs at least one")
    if method == "self-positioning":
        start = load_text_model(base, device)
        vectors = [
            TaskVector.from_checkpoints(start, load_text_model(path, device), label=os.fspath(path)) for path in models
        ]
        loss = ContrastiveProbe(
            list(probes), temperature, learn_temperature=learn_temperature, embed=embedder(start)
        ).to(start.device)
        search = SelfPositioning(start, vectors, loss, mu=mu, lr=lr, steps=steps)
        return search.fit(balanced_batches(probes, batch_size, steps=steps, seed=seed), show_progress).method()
    from polyvec.combine.merging.fisher import diagonal_fisher
    from polyvec.combine.merging.regmean import linear_grams

    statistics = []
    for path, (task, pairs) in zip(models, probes.items(), strict=True):
        model = load_text_model(path, device)
        passes = max(1, len(pairs[0]) // batch_size)
        batches = balanced_batches({task: pairs}, batch_size, steps=min(steps, passes), seed=seed)
        loss = ContrastiveProbe([task], temperature, learn_temperature=False, embed=embedder(model)).to(model.device)
        files = open_files(path)
        names = file_names(model, files)
        if method == "fisher":
            found = diagonal_fisher(model, loss, batches)
            statistics.append(_renamed(found, names, files))
        else:
            grams = linear_grams(model, loss, batches)
            statistics.append({names[name]: gram for name, gram in grams.items() if name in names})
    return merge_method(method, **{"fishers" if method == "fisher" else "grams": statistics}, **options)


def _renamed(values: Mapping[str, Tensor], names: Mapping[str, str], files: FileCheckpoint) -> dict[str, Tensor]:
    """Statistics under the names of the files; weights that the loaded model does not use get zeros."""
    found = {names[name]: value.cpu() for name, value in values.items() if name in names}
    for name, info in files.weights.items():
        if name not in found:
            found[name] = torch.zeros(info.shape)
    return found
