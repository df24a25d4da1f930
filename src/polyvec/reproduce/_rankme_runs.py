"""The runs behind the reproduction of RankMe: small self-supervised encoders over a grid of hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polyvec.core.errors import InvalidValueError

if TYPE_CHECKING:
    import torch

SOURCE_CLASSES = (0, 1, 2, 3, 4)
PLAIN = "none"
DEFAULT_RATE = 1e-3

# Name of a run -> learning rate, arguments of the objective. The first of each method is its published default
# (SimCLR's temperature is the one of its small-picture experiments).
GRID: dict[str, dict[str, tuple[float, dict[str, float]]]] = {
    "VICReg": {
        "default": (DEFAULT_RATE, {}),
        **{f"covariance {weight:g}": (DEFAULT_RATE, {"covariance": weight}) for weight in (0.0, 0.25, 4.0, 16.0)},
        **{f"variance {weight:g}": (DEFAULT_RATE, {"variance": weight}) for weight in (0.05, 0.5, 1.0, 5.0)},
        **{f"invariance {weight:g}": (DEFAULT_RATE, {"invariance": weight}) for weight in (1.0, 5.0, 100.0)},
    },
    "SimCLR": {
        "default": (DEFAULT_RATE, {}),
        **{f"temperature {t:g}": (DEFAULT_RATE, {"temperature": t}) for t in (0.03, 0.1, 0.2, 1.0, 2.0, 5.0)},
        **{f"learning rate {rate:g}": (rate, {}) for rate in (1e-5, 1e-4, 1e-2, 3e-2)},
    },
}


@dataclass(frozen=True)
class Outcome:
    """What one run of the grid is judged by."""

    rank_of_projector: float
    rank_of_representation: float
    alpha_req: float
    training_loss: float
    source_accuracy: float
    target_accuracy: float


WORST_ALPHA = 100.0
DIVERGED = Outcome(0.0, 0.0, WORST_ALPHA, 1e9, 0.0, 0.0)  # finite, so that it can be stored
METRICS = (
    "RankMe of projector", "RankMe of representation", "alpha-ReQ of projector", "training loss", "source accuracy",
    "target accuracy",
)  # fmt: skip


def _networks(side: int, settings: Mapping[str, Any], normalisation: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Encoder and projector, one hidden layer each.

    Batch normalisation: "none" nowhere, "hidden" in both hidden layers, "all" also before the encoder's last ReLU, as
    residual networks have it.
    """
    from torch import nn

    hidden, features, outputs = settings["hidden"], settings["features"], settings["outputs"]

    def normalised(width: int, where: tuple[str, ...]) -> list[nn.Module]:
        return [nn.BatchNorm1d(width)] if normalisation in where else []

    encoder = nn.Sequential(
        nn.Linear(side * side, hidden),
        *normalised(hidden, ("hidden", "all")),
        nn.ReLU(),
        nn.Linear(hidden, features),
        *normalised(features, ("all",)),
        nn.ReLU(),
    )
    projector = nn.Sequential(
        nn.Linear(features, hidden),
        *normalised(hidden, ("hidden", "all")),
        nn.ReLU(),
        nn.Linear(hidden, outputs),
    )
    return encoder, projector


def _view(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random view of pictures `(n, side, side)` in [0, 1], flattened: shifted, dimmed, noisy, a square erased."""
    import torch
    from torch.nn import functional

    n, side, _ = images.shape
    shift, square = max(1, side // 8), round(3 * side / 8)
    device = images.device

    def draw(upper: int) -> torch.Tensor:
        return torch.randint(0, upper, (n, 1), generator=generator).to(device)

    place = torch.arange(side, device=device)
    rows, columns = draw(2 * shift + 1) + place, draw(2 * shift + 1) + place
    padded = functional.pad(images, (shift, shift, shift, shift))
    shifted = padded[torch.arange(n, device=device)[:, None, None], rows[:, :, None], columns[:, None, :]]
    gain = 0.7 + 0.6 * torch.rand(n, 1, 1, generator=generator).to(device)
    noise = 0.15 * torch.randn(n, side, side, generator=generator).to(device)
    top, left = draw(side - square + 1), draw(side - square + 1)
    in_rows, in_columns = (place >= top) & (place < top + square), (place >= left) & (place < left + square)
    kept = ~(in_rows[:, :, None] & in_columns[:, None, :])
    return ((shifted * gain + noise) * kept).flatten(1)


def probe_accuracy(representations: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Accuracy of a linear probe: one half trains, the other tests, and the other way round; the mean of both."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    halves = StratifiedKFold(2, shuffle=True, random_state=seed).split(representations, labels)
    scores = []
    for train, test in halves:
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        scores.append(probe.fit(representations[train], labels[train]).score(representations[test], labels[test]))
    return float(np.mean(scores))


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def train_and_judge(
    method: str, name: str, normalisation: str, settings: Mapping[str, Any], seed: int, steps: int | None = None
) -> Outcome:
    """Pre-train one run of the grid and judge it; `steps=0` judges the untrained network.

    All runs of a seed start from the same weights and see the same batches and views, so that they differ by their
    hyper-parameters only. Runs on one thread: the result does not depend on how many runs go on beside it.
    """
    import torch

    from polyvec.assess import rankme, spectrum_report
    from polyvec.train.objectives.normalized_temperature import NTXentLoss
    from polyvec.train.objectives.variance_invariance import VICRegLoss

    images, labels = pictures(settings["data"])
    is_source = np.isin(labels, SOURCE_CLASSES)
    device = torch.device("cuda" if settings["device"] == "auto" and torch.cuda.is_available() else "cpu")
    pixels = torch.from_numpy(images).to(device)
    source = pixels[torch.from_numpy(is_source).to(device)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, projector = (part.to(device) for part in _networks(images.shape[1], settings, normalisation))
    generator = torch.Generator().manual_seed(seed)
    rate, arguments = GRID[method][name]
    objective = (VICRegLoss if method == "VICReg" else NTXentLoss)(**arguments)
    optimiser = torch.optim.Adam([*encoder.parameters(), *projector.parameters()], lr=rate, fused=True)
    steps = settings["steps"] if steps is None else steps
    losses = torch.zeros(steps, device=device)
    for step in range(steps):
        batch = source[torch.randperm(len(source), generator=generator)[: settings["batch"]].to(device)]
        views = torch.cat([_view(batch, generator), _view(batch, generator)])
        try:
            loss = objective(*projector(encoder(views)).chunk(2))
        except InvalidValueError:  # NaN in the embeddings
            return DIVERGED
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses[step] = loss.detach()
    encoder.eval()
    projector.eval()
    with torch.inference_mode():
        representations = encoder(pixels.flatten(1))
        rows = np.flatnonzero(is_source)[: settings["rank_rows"]]
        ranked = representations[torch.from_numpy(rows).to(device)]
        outputs = projector(ranked)
    if not (torch.isfinite(representations).all() and torch.isfinite(outputs).all()):
        return DIVERGED
    rank_of_projector = rankme(outputs, on_collapse="zero")
    alpha = spectrum_report(outputs)["alpha_req"] if rank_of_projector > 0 else WORST_ALPHA
    features = representations.cpu().numpy()
    return Outcome(
        rank_of_projector=rank_of_projector,
        rank_of_representation=rankme(ranked, on_collapse="zero"),
        alpha_req=min(alpha, WORST_ALPHA),
        training_loss=float(losses[-50:].mean()) if steps else 0.0,
        source_accuracy=probe_accuracy(features[is_source], labels[is_source], seed),
        target_accuracy=probe_accuracy(features[~is_source], labels[~is_source], seed),
    )


def pictures(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures `(n, side, side)` as float32 in [0, 1] and their labels."""
    from polyvec.data import load

    loaded = load(name)
    scale = 16 if name == "digits" else 255
    return loaded.images.astype(np.float32) / scale, loaded.labels
