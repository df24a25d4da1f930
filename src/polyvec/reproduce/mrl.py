"""Matryoshka Representation Learning: nested sizes from one network, adaptive retrieval, adaptive classification.

Three checks. Digits: one small network for six sizes, judged by 1-NN accuracy on prefixes. Package descriptions: a frozen
text encoder and one linear layer, judged by recall@10 after a cheap first scan. Cascade: how many coordinates a
classifier has to read. Figures in the criteria were fixed on seeds 100 and up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from polyvec.reproduce.base import DEFAULT_SEEDS, Reproduction, Run
from polyvec.reproduce.criteria import all_of, at_least, at_most, measured
from polyvec.reproduce.mrl_retrieval import METHODS as RETRIEVAL_METHODS
from polyvec.reproduce.mrl_retrieval import kept_at, measure_retrieval, prepare_pairs
from polyvec.reproduce.report import Claim, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (2, 4, 8, 16, 32, 64)
MRL, EFFICIENT, SHAM = "MRL", "MRL-E", "sham: loss on the full vector only"
CUT, RANDOM, PCA, SEPARATE = "truncated full-size network", "random coordinates", "PCA", "separate networks"
CASCADE = "cascade over the MRL heads"


def accuracy_at(size: int) -> str:
    """Name of the metric."""
    return f"1-NN accuracy at {size} of 64"


def head_accuracy_at(size: int) -> str:
    """Name of the metric."""
    return f"classifier accuracy at {size} of 64"


# -- digits -----------------------------------------------------------------------------------------------------------


def _train(
    images: np.ndarray, labels: np.ndarray, objective: Mapping[str, Any], width: int, seed: int, steps: int
) -> tuple[nn.Module, Any]:
    """A 64-128-width network trained with `MatryoshkaCrossEntropy(**objective)`."""
    from polyvec.train import MatryoshkaCrossEntropy

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, width))
        loss = MatryoshkaCrossEntropy(classes=10, **objective)
    optimiser = torch.optim.AdamW([*network.parameters(), *loss.parameters()], lr=3e-3, weight_decay=1e-3)
    inputs, targets = torch.from_numpy(images), torch.from_numpy(labels)
    draws = np.random.default_rng(seed)
    for _ in range(steps):
        batch = torch.from_numpy(draws.integers(len(inputs), size=128))
        value = loss(network(inputs[batch]), targets[batch])
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    return network, loss


def _embed(network: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(images)).numpy()


def _nearest_neighbour_accuracy(
    stored: np.ndarray, stored_labels: np.ndarray, asked: np.ndarray, labels: np.ndarray
) -> float:
    from polyvec.search import FunnelSearch

    _, found = FunnelSearch(stored, [stored.shape[1]], []).search(asked, 1)
    return float((stored_labels[found[:, 0]] == labels).mean())


def _digits(run: Run, settings: Mapping[str, Any]) -> None:
    from sklearn.decomposition import PCA as FittedPCA
    from sklearn.model_selection import train_test_split

    from polyvec.data import load
    from polyvec.data.catalogue import version_used

    digits = load("digits")
    run.uses("digits", version_used("digits")["version"])
    images = (digits.images.reshape(len(digits.images), -1) / 16).astype(np.float32)
    split = train_test_split(images, digits.labels, test_size=0.4, stratify=digits.labels, random_state=run.seed)
    train, test, train_labels, test_labels = split
    steps = settings["digits_steps"]

    def score(method: str, stored: np.ndarray, asked: np.ndarray, size: int) -> None:
        value = _nearest_neighbour_accuracy(stored[:, :size], train_labels, asked[:, :size], test_labels)
        run.record(method, accuracy_at(size), value)

    only_full = [0.0] * (len(SIZES) - 1) + [1.0]
    shared: dict[str, dict[str, Any]] = {
        MRL: {"sizes": SIZES},
        EFFICIENT: {"sizes": SIZES, "efficient": True},
        SHAM: {"sizes": SIZES, "weights": only_full},
        CUT: {"sizes": SIZES[-1:]},
    }
    trained = {
        method: _train(train, train_labels, objective, 64, run.seed, steps) for method, objective in shared.items()
    }
    for method, (network, _) in trained.items():
        for size in SIZES:
            score(method, _embed(network, train), _embed(network, test), size)
    full_train, full_test = (_embed(trained[CUT][0], part) for part in (train, test))
    rotation = FittedPCA(random_state=run.seed).fit(full_train)
    order = np.random.default_rng(run.seed).permutation(64)
    for size in SIZES:
        score(PCA, rotation.transform(full_train), rotation.transform(full_test), size)
        score(RANDOM, full_train[:, order], full_test[:, order], size)
        network, _ = _train(train, train_labels, {"sizes": (size,)}, size, run.seed, steps)
        score(SEPARATE, _embed(network, train), _embed(network, test), size)
    _cascade(run, trained[MRL], split, steps, settings["folds"])


# -- cascade ----------------------------------------------------------------------------------------------------------


def _logits(network: nn.Module, loss: Any, images: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        return [part.numpy() for part in loss.heads(network(torch.from_numpy(images)))]


def _cascade(run: Run, model: tuple[nn.Module, Any], split: Sequence[np.ndarray], steps: int, folds: int) -> None:
    """Thresholds from logits of networks that did not see the item, all inside the training part."""
    from sklearn.model_selection import StratifiedKFold

    from polyvec.compress import fit_cascade

    train, test, train_labels, test_labels = split
    held_out = [np.empty((len(train), 10), dtype=np.float32) for _ in SIZES]
    parts = StratifiedKFold(folds, shuffle=True, random_state=run.seed).split(train, train_labels)
    for fold, (seen, unseen) in enumerate(parts):
        fitted = _train(train[seen], train_labels[seen], {"sizes": SIZES}, 64, 1000 * (fold + 1) + run.seed, steps)
        for kept, logits in zip(held_out, _logits(*fitted, train[unseen]), strict=True):
            kept[unseen] = logits
    cascade = fit_cascade(held_out, train_labels, SIZES)
    logits = _logits(*model, test)
    for size, part in zip(SIZES, logits, strict=True):
        run.record(MRL, head_accuracy_at(size), float((part.argmax(1) == test_labels).mean()))
    result = cascade.predict(logits)
    run.record(CASCADE, "classifier accuracy", float((result.labels == test_labels).mean()))
    run.record(CASCADE, "expected size of 64", result.expected_size)


# -- the whole --------------------------------------------------------------------------------------------------------


def run(run: Run, settings: Mapping[str, Any]) -> None:
    """Measure one seed."""
    _digits(run, settings)
    measure_retrieval(run, prepare_pairs(run, settings), settings)


def plot(report: Report, figure: Figure) -> None:
    """Accuracy against size on digits; recall kept against the size of the first scan on package descriptions."""
    left, right = figure.subplots(1, 2)
    for method in (MRL, EFFICIENT, SEPARATE, PCA, RANDOM, CUT):
        values = [report.mean(method, accuracy_at(size)) for size in SIZES]
        left.plot(SIZES, values, marker="o", markersize=3, linewidth=1.2, label=method)
    left.set(xscale="log", xlabel="coordinates used (of 64)", ylabel="1-NN accuracy (test part)")
    left.set_xticks(SIZES, [str(size) for size in SIZES])
    left.set_title("Digits: accuracy by prefix", fontsize=9)
    scans = [size for size in report.settings["scans"] if report.values(RETRIEVAL_METHODS[0], kept_at(size))]
    for method in RETRIEVAL_METHODS:
        values = [100 * report.mean(method, kept_at(size)) for size in scans]
        right.plot(scans, values, marker="o", markersize=3, linewidth=1.2, label=method)
    right.axhline(99, color="grey", linewidth=0.8, linestyle=":", label="99%")
    right.set(
        xscale="log", xlabel="coordinates in the first scan (of 384)", ylabel="recall@10 kept after re-ranking (%)"
    )
    right.set_xticks(scans, [str(size) for size in scans])
    right.set_title("Package descriptions: shortlist 200, re-rank", fontsize=9)
    for axes in (left, right):
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=6.5)
        axes.tick_params(labelsize=8)


REPRODUCTION = None  # filled after the pilots
_ = (all_of, at_least, at_most, measured, Claim, DEFAULT_SEEDS, Reproduction)
