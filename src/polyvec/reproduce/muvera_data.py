"""Sets of vectors for `polyvec.reproduce.muvera`: bags of package descriptions, and token vectors of descriptions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from polyvec.compress import VectorSets
from polyvec.reproduce.base import Run

MAX_LENGTH = 128


@dataclass(frozen=True)
class Faces:
    """Unit vectors of descriptions and synopses, one row a package."""

    descriptions: np.ndarray
    synopses: np.ndarray


@dataclass(frozen=True)
class Tokens:
    """Unit token vectors, one set a package."""

    descriptions: VectorSets
    synopses: VectorSets


@cache
def package_texts(count: int) -> tuple[list[str], list[str], str]:
    """Synopses and descriptions of `count` packages of different sources, and the version of the index.

    Packages of one source often share their description, so that their bags could not be told apart.
    """
    from polyvec.data import load
    from polyvec.data.catalogue import version_used

    table = load("debian-packages", view="tables")["package"].select(["source", "synopsis", "description"])
    synopses: list[str] = []
    descriptions: list[str] = []
    seen: set[str] = set()
    for row in table.to_pylist():
        keys = set(row.values())
        if not row["description"] or not row["synopsis"] or keys & seen:
            continue
        seen |= keys
        synopses.append(row["synopsis"])
        descriptions.append(row["description"])
    chosen = np.sort(np.random.default_rng(0).permutation(len(synopses))[:count])
    version = version_used("debian-packages")["version"]
    return [synopses[i] for i in chosen], [descriptions[i] for i in chosen], version


def prepare(run: Run, settings: Mapping[str, Any]) -> tuple[Faces, Tokens]:
    """Encode once (kept in the cache); without packages, planted vectors."""
    count, with_tokens = settings["bags"] * settings["faces"], settings["documents"]
    if not settings["packages"]:
        return _planted(run, count, with_tokens)
    from polyvec.encode import TextEncoder

    synopses, descriptions, version = package_texts(max(count, with_tokens))
    run.uses("debian-packages", version)
    encoder = TextEncoder(max_length=MAX_LENGTH)
    described, described_tokens = _encoded(encoder, "muvera-descriptions", descriptions, with_tokens, run)
    asked, asked_tokens = _encoded(encoder, "muvera-synopses", synopses, with_tokens, run)
    return Faces(described[:count], asked[:count]), Tokens(described_tokens, asked_tokens)


def _encoded(encoder: Any, name: str, texts: list[str], with_tokens: int, run: Run) -> tuple[np.ndarray, VectorSets]:
    """The texts' vectors, and unit vectors of the tokens (but the special ones) of the first texts, in one pass.

    The model's vector of a text is the mean of all its token vectors, scaled to unit length. Tokens are kept in half
    precision.
    """
    from polyvec.data.catalogue import cached_array

    key = [json.dumps(encoder.fingerprint, sort_keys=True), f"{MAX_LENGTH} tokens", str(with_tokens), *texts]

    @cache
    def parts() -> list[np.ndarray]:
        return encoder.encode(texts, output="tokens", show_progress_bar=run.show_progress)

    def tokens() -> np.ndarray:
        return np.concatenate([one[1:-1] for one in parts()[:with_tokens]]).astype(np.float16)  # [CLS] ... [SEP]

    def means() -> np.ndarray:
        return np.stack([one.mean(axis=0) for one in parts()])

    values = np.asarray(cached_array(f"{name}-tokens", key, tokens), dtype=np.float32)
    pooled = np.asarray(cached_array(f"{name}-means", key, means))
    lengths = encoder.tokenize(texts[:with_tokens])["attention_mask"].sum(axis=1) - 2
    sets = VectorSets(_unit(values), np.concatenate([[0], np.cumsum(lengths)]))
    return _unit(pooled), sets


def _unit(matrix: np.ndarray) -> np.ndarray:
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def _planted(run: Run, count: int, with_tokens: int) -> tuple[Faces, Tokens]:
    """Noisy views of the same hidden vectors, to run the code without an encoder."""
    run.note("The figures of this scale come from planted vectors, not from package descriptions.")
    draws = np.random.default_rng(run.seed)

    hidden = draws.normal(size=(count, 96))
    faces = Faces(_unit(hidden), _unit(hidden + draws.normal(size=hidden.shape)))
    lengths = draws.integers(8, 24, size=with_tokens)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    documents = VectorSets(_unit(draws.normal(size=(bounds[-1], 96))), bounds)
    asked = [_unit(one[:4] + 0.1 * draws.normal(size=(4, 96))) for one in documents]
    return faces, Tokens(documents, VectorSets.from_list(asked))
