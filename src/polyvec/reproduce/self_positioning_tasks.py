"""Two tasks on package descriptions that want different encoders: the material of `polyvec.reproduce.self_positioning`.

Retrieval: a synopsis finds its own long description. Sections: descriptions of one archive section lie together. The
second has ten times less data. The encoder is a table of word-piece vectors, averaged, and one square matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from polyvec.reproduce._packages import distinct_packages
from polyvec.reproduce.base import Run
from polyvec.train import InfoNCE

RETRIEVAL, SECTIONS = "retrieval", "sections"
SECTION_COUNT = 12
TEMPERATURE = 0.05
INITIAL = 0.1


class MeanEncoder(nn.Module):
    """Mean of word-piece vectors, then a square matrix; takes a list of tensors of word-piece ids."""

    def __init__(self, pieces: int, width: int, seed: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(pieces, width, mode="mean")
        self.matrix = nn.Linear(width, width, bias=False)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.table.weight.normal_(std=INITIAL, generator=generator)
            self.matrix.weight.normal_(std=width**-0.5, generator=generator)

    def forward(self, texts: Sequence[Tensor]) -> Tensor:
        """Unit vectors `(texts, width)`."""
        starts = np.cumsum([0, *(len(text) for text in texts[:-1])])
        vectors = self.matrix(self.table(torch.cat(list(texts)), torch.from_numpy(starts)))
        return nn.functional.normalize(vectors, dim=1)


@dataclass(frozen=True)
class Part:
    """Texts for one purpose (training, probe or test) as word-piece ids."""

    synopses: list[Tensor]
    descriptions: list[Tensor]
    members: list[Tensor]
    sections: np.ndarray

    def retrieval_batch(self, draws: np.random.Generator, size: int) -> tuple[list[Tensor], list[Tensor]]:
        """Pairs of a synopsis and its description."""
        rows = draws.choice(len(self.synopses), size=min(size, len(self.synopses)), replace=False)
        return [self.synopses[row] for row in rows], [self.descriptions[row] for row in rows]

    def section_batch(self, draws: np.random.Generator) -> tuple[list[Tensor], list[Tensor]]:
        """One pair of descriptions of each section."""
        pairs = [
            draws.choice(np.flatnonzero(self.sections == section), 2, replace=False) for section in range(SECTION_COUNT)
        ]
        return [self.members[first] for first, _ in pairs], [self.members[second] for _, second in pairs]

    def batch(self, task: str, draws: np.random.Generator, size: int) -> tuple[list[Tensor], list[Tensor]]:
        """A batch of a task."""
        return self.retrieval_batch(draws, size) if task == RETRIEVAL else self.section_batch(draws)


def _rows(settings: Mapping[str, Any]) -> tuple[list[str], list[str], list[str], str]:
    """Synopsis, description and section of packages without repeated texts, and the version of the index."""
    if not settings["packages"]:
        return *_planted(), "none"
    packages = distinct_packages()
    return packages.synopses, packages.descriptions, packages.sections, packages.version


def _planted() -> tuple[list[str], list[str], list[str]]:
    """Generated texts, to run the code without the package index."""
    draws = np.random.default_rng(0)
    words = [f"{first}{second}" for first in "bcdfghklmnprst" for second in "aeiou"]
    synopses, descriptions, sections = [], [], []
    for number in range(1500):
        section = number % SECTION_COUNT
        own = [*draws.choice(words, 4), words[5 * section], words[5 * section + 1]]
        synopses.append(" ".join(draws.permutation(own)[:4]))
        descriptions.append(" ".join([*draws.permutation(own), *draws.choice(words, 3)]))
        sections.append(str(section))
    return synopses, descriptions, sections


def prepare(run: Run, settings: Mapping[str, Any]) -> tuple[dict[str, Part], int]:
    """Training, probe and test parts without a package in common, and the number of word pieces."""
    from tokenizers import Tokenizer

    from polyvec.encode.text.bundled import bundled_folder

    synopses, descriptions, names, version = _rows(settings)
    if settings["packages"]:
        run.uses("debian-packages", version)
    else:
        run.note("The figures of this scale come from generated texts, not from package descriptions.")
    known, counts = np.unique(np.asarray(names), return_counts=True)
    largest = list(known[np.argsort(-counts, kind="stable")][:SECTION_COUNT])
    section = np.asarray([largest.index(name) if name in largest else -1 for name in names])
    order = np.random.default_rng(run.seed).permutation(len(names))
    # Sections first, the same number from each; what is left serves retrieval.
    shares = {part: settings[f"{part}_members"] // SECTION_COUNT for part in ("train", "probe", "test")}
    members: dict[str, list[int]] = {part: [] for part in shares}
    for position in range(SECTION_COUNT):
        rows, start = order[section[order] == position], 0
        for part, share in shares.items():
            members[part] += rows[start : start + share].tolist()
            start += share
    taken = {row for rows in members.values() for row in rows}
    others = [row for row in order.tolist() if row not in taken]
    tokenizer = Tokenizer.from_file(str(bundled_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(settings["tokens"])

    numbers: dict[int, int] = {}  # only pieces that occur get a row in the table

    def pieces(texts: Sequence[str], rows: Sequence[int]) -> list[Tensor]:
        found = tokenizer.encode_batch([texts[row] for row in rows], add_special_tokens=False)
        return [torch.tensor([numbers.setdefault(piece, len(numbers)) for piece in text.ids or [0]]) for text in found]

    parts, start = {}, 0
    for part in shares:
        rows = others[start : start + settings[f"{part}_pairs"]]
        start += len(rows)
        parts[part] = Part(
            pieces(synopses, rows),
            pieces(descriptions, rows),
            pieces(descriptions, members[part]),
            section[members[part]],
        )
    return parts, len(numbers)


def train(model: MeanEncoder, part: Part, schedule: Sequence[str], seed: int, batch_size: int) -> None:
    """One Adam step for each task named in `schedule`, in place."""
    objective = InfoNCE(TEMPERATURE)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    draws = np.random.default_rng(seed)
    for task in schedule:
        anchors, positives = part.batch(task, draws, batch_size)
        loss = objective(model(anchors), model(positives))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def mixed(steps: int, section_steps: int, seed: int) -> list[str]:
    """`steps` steps in random order, `section_steps` of them on sections."""
    schedule = np.asarray([SECTIONS, RETRIEVAL]).repeat([section_steps, steps - section_steps])
    return cast(list[str], np.random.default_rng(seed).permutation(schedule).tolist())


def evaluate(model: nn.Module, part: Part) -> dict[str, float]:
    """Mean reciprocal rank of the own description among all (first 10), and 5-nearest-neighbour section accuracy."""
    with torch.no_grad():
        queries, documents, members = (model(texts) for texts in (part.synopses, part.descriptions, part.members))
    scores = queries @ documents.T
    rank = (scores > scores.diagonal()[:, None]).sum(1) + 1
    reciprocal = torch.where(rank <= 10, 1 / rank, 0.0).mean().item()
    near = members @ members.T
    near.fill_diagonal_(-2)
    sections = torch.from_numpy(part.sections)
    found = sections[near.topk(5).indices]
    votes = nn.functional.one_hot(found, SECTION_COUNT).sum(1)
    # Between sections with as many votes the nearer neighbour decides.
    votes = votes + nn.functional.one_hot(found, SECTION_COUNT).mul(torch.arange(5, 0, -1)[:, None]).sum(1) / 100
    return {RETRIEVAL: reciprocal, SECTIONS: (votes.argmax(1) == sections).float().mean().item()}
