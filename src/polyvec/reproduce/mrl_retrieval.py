"""Adaptive retrieval on package descriptions: the second check of `polyvec.reproduce.mrl`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from polyvec.reproduce._packages import distinct_packages
from polyvec.reproduce.base import Run

PROJECTION = "projection trained with MRL + InfoNCE"
PLAIN, PLAIN_PCA = "truncated projection trained with InfoNCE", "PCA of the projection trained with InfoNCE"
PLAIN_RANDOM = "random coordinates of the projection trained with InfoNCE"
FUNNEL, PAPER_FUNNEL = "default funnel on the MRL projection", "funnel from 8 on the MRL projection"
KEPT, SAVING = "share of full recall@10 kept", "times fewer multiply-adds"
METHODS = (PROJECTION, PLAIN, PLAIN_PCA, PLAIN_RANDOM)


def kept_at(size: int) -> str:
    """Name of the metric."""
    return f"share of full recall@10 kept, first scan {size} of 384"


@dataclass(frozen=True)
class Pairs:
    """Unit vectors of synopses and long descriptions, one a package, and which packages are for what."""

    queries: np.ndarray
    documents: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def package_texts(count: int) -> tuple[list[str], list[str], str]:
    """Synopses and long descriptions of `count` packages without repeated texts, and the version of the index."""
    packages = distinct_packages()
    chosen = np.sort(np.random.default_rng(0).permutation(len(packages.synopses))[:count])
    synopses, descriptions = ([texts[i] for i in chosen] for texts in (packages.synopses, packages.descriptions))
    return synopses, descriptions, packages.version


def prepare_pairs(run: Run, settings: Mapping[str, Any]) -> Pairs:
    """Encode once (kept in the cache), then draw the parts by the run's seed; without packages, planted pairs."""
    held = settings["held_out"]
    if not settings["packages"]:
        return _planted(run, held)
    from polyvec.data.catalogue import cached_array
    from polyvec.encode import TextEncoder

    synopses, descriptions, version = package_texts(settings["packages"])
    run.uses("debian-packages", version)
    encoder = TextEncoder(max_length=128)

    def encoded(name: str, texts: list[str]) -> np.ndarray:
        key = [json.dumps(encoder.fingerprint, sort_keys=True), "128 tokens", *texts]
        return cached_array(name, key, lambda: encoder.encode(texts, show_progress_bar=run.show_progress))

    queries = encoded("minilm-package-synopses", synopses)
    documents = encoded("minilm-package-descriptions", descriptions)
    order = np.random.default_rng(run.seed).permutation(len(queries))
    return Pairs(queries, documents, order[2 * held :], order[:held], order[held : 2 * held])


def _planted(run: Run, held: int) -> Pairs:
    """Noisy views of the same hidden vectors, to run the code without an encoder."""
    run.note("The retrieval figures of this scale come from planted vectors, not from package descriptions.")
    draws = np.random.default_rng(run.seed)
    hidden = draws.normal(size=(8 * held, 16)) @ draws.normal(size=(16, 384))
    views = [(hidden + draws.normal(size=hidden.shape)).astype(np.float32) for _ in range(2)]
    order = draws.permutation(len(hidden))
    return Pairs(views[0], views[1], order[2 * held :], order[:held], order[held : 2 * held])


def _train_projection(pairs: Pairs, sizes: Sequence[int], seed: int, steps: int) -> np.ndarray:
    """A square matrix, from the identity, by InfoNCE on the given prefixes."""
    from polyvec.train import InfoNCE, MatryoshkaLoss

    width = pairs.queries.shape[1]
    layer = nn.Linear(width, width, bias=False)
    nn.init.eye_(layer.weight)
    objective = MatryoshkaLoss(InfoNCE(0.05), sizes)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, steps)
    draws = np.random.default_rng(seed)
    for _ in range(steps):
        batch = np.sort(draws.choice(pairs.train, size=min(256, len(pairs.train)), replace=False))
        queries, documents = (torch.from_numpy(part[batch]) for part in (pairs.queries, pairs.documents))
        loss = objective(layer(queries), layer(documents))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return layer.weight.detach().numpy().T


def _recall(index: Any, queries: np.ndarray, own: np.ndarray) -> tuple[float, float]:
    """Share of queries whose own description is among the first 10, and the saving in multiply-adds."""
    _, found, cost = index.search_with_cost(queries, 10)
    return float((found == own[:, None]).any(axis=1).mean()), cost.saving


def measure_retrieval(run: Run, pairs: Pairs, settings: Mapping[str, Any]) -> None:
    """Full search, adaptive search by several first scans, and the funnel, for MRL and the baselines."""
    from sklearn.decomposition import PCA

    from polyvec.search import FunnelSearch
    from polyvec.search.schedule import funnel_schedule

    width, steps = pairs.queries.shape[1], settings["projection_steps"]
    nested = _train_projection(pairs, settings["sizes"], run.seed, steps)
    plain = _train_projection(pairs, [width], run.seed, steps)
    plain_queries, plain_documents = pairs.queries @ plain, pairs.documents @ plain
    rotation = PCA(random_state=run.seed).fit(plain_documents[pairs.train])
    order = np.random.default_rng(run.seed).permutation(width)
    spaces = {
        PROJECTION: (pairs.queries @ nested, pairs.documents @ nested),
        PLAIN: (plain_queries, plain_documents),
        PLAIN_PCA: (plain_queries @ rotation.components_.T, plain_documents @ rotation.components_.T),
        PLAIN_RANDOM: (plain_queries[:, order], plain_documents[:, order]),
    }
    for method, (queries, documents) in spaces.items():
        exact = FunnelSearch(documents, [width], [])
        full = {part: _recall(exact, queries[rows], rows)[0] for part, rows in _parts(pairs).items()}
        run.record(method, "recall@10, full size", full["test"])
        chosen = None
        for size in settings["scans"]:
            index = FunnelSearch(documents, [size, width], [settings["shortlist"]])
            found = {part: _recall(index, queries[rows], rows) for part, rows in _parts(pairs).items()}
            run.record(method, kept_at(size), found["test"][0] / full["test"])
            cut = FunnelSearch(documents, [size], [])
            run.record(method, f"recall@10 at {size} of 384", _recall(cut, queries[pairs.test], pairs.test)[0])
            enough = found["validation"][0] >= settings["keep"] * full["validation"]
            if chosen is None and enough:
                chosen = size, found["test"][0] / full["test"], found["test"][1]
        size, kept, saving = chosen or (width, 1.0, 1.0)
        run.record(method, "chosen first scan of 384", size)
        run.record(method, KEPT, kept)
        run.record(method, SAVING, saving)
        if method == PROJECTION:
            for name, smallest in ((FUNNEL, None), (PAPER_FUNNEL, 8)):
                funnel = FunnelSearch(documents, *funnel_schedule(width, smallest=smallest))
                found_by_funnel, saving = _recall(funnel, queries[pairs.test], pairs.test)
                run.record(name, KEPT, found_by_funnel / full["test"])
                run.record(name, SAVING, saving)


def _parts(pairs: Pairs) -> dict[str, np.ndarray]:
    return {"validation": pairs.validation, "test": pairs.test}
