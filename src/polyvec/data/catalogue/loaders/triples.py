"""Knowledge graphs as `TripleSet`: tab-separated files of head, relation, tail, one file a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvec.core.errors import FormatError
from polyvec.data.catalogue.types import TripleSet


def load_splits(folder: Path) -> TripleSet:
    """The splits "train", "valid" and "test"; entities and relations are numbered in the order of their names."""
    return triple_set({name: _read(folder / f"{name}.txt") for name in ("train", "valid", "test")})


def triple_set(splits: Mapping[str, Sequence[Sequence[str]]]) -> TripleSet:
    """Number the names of (head, relation, tail) rows; a row of the result belongs to one split."""
    rows = [row for split in splits.values() for row in split]
    entities = sorted({row[0] for row in rows} | {row[2] for row in rows})
    relations = sorted({row[1] for row in rows})
    entity = {name: position for position, name in enumerate(entities)}
    relation = {name: position for position, name in enumerate(relations)}
    numbers = [(entity[head], relation[link], entity[tail]) for head, link, tail in rows]
    ends = np.cumsum([0, *(len(split) for split in splits.values())])
    places = {name: np.arange(ends[part], ends[part + 1]) for part, name in enumerate(splits)}
    return TripleSet(np.asarray(numbers, np.int64).reshape(-1, 3), entities, relations, places)


def _read(path: Path) -> list[list[str]]:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]
    for number, row in enumerate(rows, 1):
        if len(row) != 3:
            raise FormatError(f"{path}: line {number} has {len(row)} columns, needs head, relation and tail")
    return rows
