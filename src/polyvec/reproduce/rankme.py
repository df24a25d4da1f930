"""RankMe: does the rank of the projector's outputs on unlabelled source pictures pick the run that transfers best?

Small encoders are pre-trained without labels on pictures of five classes, by VICReg and by SimCLR, over a grid of
hyper-parameters that includes broken settings. A linear probe on the five other classes is the target. RankMe has to
pick a good run of each grid; label oracle, alpha-ReQ, training loss, default setting and median run stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from polyvec.core.progress import track
from polyvec.reproduce.base import DEFAULT_SEEDS, Reproduction, Run
from polyvec.reproduce.criteria import all_of, at_least, at_most, measured
from polyvec.reproduce.report import Claim, Report

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

SOURCE_CLASSES = (0, 1, 2, 3, 4)
DEFAULT_RATE = 1e-3

# Name of a run -> learning rate, arguments of the objective. The first of each method is its published default
# (SimCLR's temperature is the one of its small-picture experiments).
GRID: dict[str, dict[str, tuple[float, dict[str, float]]]] = {
    "VICReg": {
        "default": (DEFAULT_RATE, {}),
        **{f"covariance {weight:g}": (DEFAULT_RATE, {"covariance": weight}) for weight in (0, 0.25, 4, 16)},
        **{f"variance {weight:g}": (DEFAULT_RATE, {"variance": weight}) for weight in (0.05, 0.5, 1, 5)},
        **{f"invariance {weight:g}": (DEFAULT_RATE, {"invariance": weight}) for weight in (1, 5, 100)},
    },
    "SimCLR": {
        "default": (DEFAULT_RATE, {}),
        **{f"temperature {t:g}": (DEFAULT_RATE, {"temperature": t}) for t in (0.03, 0.1, 0.2, 1, 2, 5)},
        **{f"learning rate {rate:g}": (rate, {}) for rate in (1e-5, 1e-4, 1e-2, 3e-2)},
    },
}
SELECTORS = ("RankMe", "label oracle", "alpha-ReQ", "training loss", "default setting", "median run", "best run")


@dataclass(frozen=True)
class Outcome:
    """What one run of the grid is judged by."""

    rank_of_projector: float
    rank_of_representation: float
    alpha_req: float
    training_loss: float
    source_accuracy: float
    target_accuracy: float


METRICS = (
    "RankMe of projector", "RankMe of representation", "alpha-ReQ of projector", "training loss", "source accuracy",
    "target accuracy",
)  # fmt: skip


def _networks(side: int, settings: Mapping[str, Any], normalisation: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Encoder and projector, one hidden layer each.

    Batch normalisation: "hidden" after both hidden layers, "all" also before the encoder's last ReLU, "none" nowhere.
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


def train_and_judge(
    method: str, name: str, normalisation: str, settings: Mapping[str, Any], seed: int, steps: int | None = None
) -> Outcome:
    """Pre-train one run of the grid and judge it; `steps=0` judges the untrained network.

    All runs of a seed start from the same weights and see the same batches and views, so that they differ by their
    hyper-parameters only. Runs on one thread: the result does not depend on how many runs go on beside it.
    """
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return _train_and_judge(method, name, normalisation, settings, seed, steps)
    finally:
        torch.set_num_threads(threads)


def _train_and_judge(
    method: str, name: str, normalisation: str, settings: Mapping[str, Any], seed: int, steps: int | None
) -> Outcome:
    import torch

    from polyvec.assess import spectrum_report
    from polyvec.train.objectives.normalized_temperature import NTXentLoss
    from polyvec.train.objectives.variance_invariance import VICRegLoss

    images, labels = _pictures(settings["data"])
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
    optimiser = torch.optim.Adam([*encoder.parameters(), *projector.parameters()], lr=rate)
    losses = []
    for _ in range(settings["steps"] if steps is None else steps):
        batch = source[torch.randperm(len(source), generator=generator)[: settings["batch"]].to(device)]
        views = torch.cat([_view(batch, generator), _view(batch, generator)])
        loss = objective(*projector(encoder(views)).chunk(2))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    encoder.eval()
    projector.eval()
    with torch.inference_mode():
        representations = encoder(pixels.flatten(1))
        rows = np.flatnonzero(is_source)[: settings["rank_rows"]]
        ranked = representations[torch.from_numpy(rows).to(device)]
        of_projector = spectrum_report(projector(ranked))
        of_representation = spectrum_report(ranked)
    features = representations.cpu().numpy()
    return Outcome(
        rank_of_projector=of_projector["rankme"],
        rank_of_representation=of_representation["rankme"],
        alpha_req=of_projector["alpha_req"],
        training_loss=float(torch.stack(losses[-50:]).mean()) if losses else 0.0,
        source_accuracy=probe_accuracy(features[is_source], labels[is_source], seed),
        target_accuracy=probe_accuracy(features[~is_source], labels[~is_source], seed),
    )


def _pictures(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures `(n, side, side)` as float32 in [0, 1] and their labels."""
    from polyvec.data import load

    pictures = load(name)
    scale = 16 if name == "digits" else 255
    return pictures.images.astype(np.float32) / scale, pictures.labels


def spearman(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Rank correlation; 0 where one of the two does not vary."""
    from scipy.stats import spearmanr

    if np.ptp(scores) == 0 or np.ptp(accuracies) == 0:
        return 0.0
    return float(spearmanr(scores, accuracies).statistic)


def selected(outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    """Target accuracy of the run that each selector picks; `outcomes` by name, "default" first."""
    runs = list(outcomes.values())
    column = {each.name: np.array([getattr(run, each.name) for run in runs]) for each in fields(Outcome)}
    target = column["target_accuracy"]
    return {
        "RankMe": target[column["rank_of_projector"].argmax()],
        "label oracle": target[column["source_accuracy"].argmax()],
        "alpha-ReQ": target[np.abs(column["alpha_req"] - 1).argmin()],
        "training loss": target[column["training_loss"].argmin()],
        "default setting": outcomes["default"].target_accuracy,
        "median run": float(np.median(target)),
        "best run": target.max(),
    }


def run(run: Run, settings: Mapping[str, Any]) -> None:
    """Train the grids of one seed, rank the runs, record what each selector picked."""
    from joblib import Parallel, delayed

    from polyvec.assess import rankme
    from polyvec.data.catalogue import get, version_used

    get(settings["data"])  # before the workers start, so that they do not wait for each other
    run.uses(settings["data"], version_used(settings["data"])["version"])
    jobs = [
        (normalisation, method, name)
        for normalisation in settings["normalisation"]
        for method, names in GRID.items()
        for name in list(names)[: settings["runs_per_method"]]
    ]
    work = Parallel(n_jobs=settings["workers"], return_as="generator")(
        delayed(train_and_judge)(method, name, normalisation, dict(settings), run.seed)
        for normalisation, method, name in jobs
    )
    done = dict(zip(jobs, track(work, f"runs of seed {run.seed}", len(jobs), show=run.show_progress), strict=True))
    first = settings["normalisation"][0]
    picks: dict[str, list[float]] = {name: [] for name in SELECTORS}
    for normalisation in settings["normalisation"]:
        suffix = "" if normalisation == first else f", normalisation {normalisation}"
        for method in GRID:
            outcomes = {job[2]: done[job] for job in jobs if job[:2] == (normalisation, method)}
            for name, outcome in outcomes.items():
                for metric, value in zip(METRICS, astuple(outcome), strict=True):
                    run.record(f"{method} {name}{suffix}", metric, value)
            chosen = selected(outcomes)
            for selector in SELECTORS:
                run.record(f"{selector}{suffix}", f"{method} target accuracy", chosen[selector])
                if normalisation == first:
                    picks[selector].append(chosen[selector])
            runs = list(outcomes.values())
            target = np.array([each.target_accuracy for each in runs])
            for selector, scores in {
                "RankMe": [each.rank_of_projector for each in runs],
                "RankMe of representation": [each.rank_of_representation for each in runs],
                "alpha-ReQ": [-abs(each.alpha_req - 1) for each in runs],
                "training loss": [-each.training_loss for each in runs],
                "label oracle": [each.source_accuracy for each in runs],
            }.items():
                value = spearman(np.array(scores), target)
                run.record(f"{selector}{suffix}", f"{method} Spearman with target accuracy", value)
    for selector, values in picks.items():
        run.record(selector, "target accuracy, mean of both methods", float(np.mean(values)))
    trained = [outcome for job, outcome in done.items() if job[0] == first]
    run.record("highest trained run", "RankMe of projector", max(each.rank_of_projector for each in trained))
    untrained = train_and_judge("VICReg", "default", first, settings, run.seed, steps=0)
    run.record("untrained network", "RankMe of projector", untrained.rank_of_projector)
    run.record("untrained network", "target accuracy", untrained.target_accuracy)
    _, labels = _pictures(settings["data"])
    is_source = np.isin(labels, SOURCE_CLASSES)
    noise = np.random.default_rng(run.seed).normal(size=(len(labels), settings["outputs"]))
    run.record("pure noise", "RankMe of projector", rankme(noise[is_source][: settings["rank_rows"]]))
    run.record("pure noise", "target accuracy", probe_accuracy(noise[~is_source], labels[~is_source], run.seed))


def plot(report: Report, figure: Figure) -> None:
    """RankMe against target accuracy, a panel a method, and what each selector's pick reaches."""
    panels = figure.subplots(1, 3, width_ratios=(1, 1, 0.9))
    colours = ("tab:blue", "tab:orange", "tab:green", "tab:purple")
    for panel, method in zip(panels, GRID, strict=False):
        names = [f"{method} {name}" for name in GRID[method] if report.values(f"{method} {name}", "target accuracy")]
        for number, seed in enumerate(report.seeds):
            ranks = np.array([report.values(name, "RankMe of projector")[seed] for name in names])
            accuracy = np.array([report.values(name, "target accuracy")[seed] for name in names])
            colour = colours[number % len(colours)]
            panel.scatter(ranks, accuracy, s=14, color=colour, label=f"seed {seed}")
            best = ranks.argmax()
            panel.scatter(ranks[best], accuracy[best], s=90, facecolors="none", edgecolors=colour)
            panel.axhline(np.median(accuracy), color=colour, linewidth=0.7, linestyle=":")
        correlation = np.mean(list(report.values("RankMe", f"{method} Spearman with target accuracy").values()))
        panel.set_xscale("log")
        panel.set_title(f"{method}: mean Spearman {correlation:.2f}", fontsize=9)
        panel.set_xlabel("RankMe of projector, source classes", fontsize=8)
    panels[0].set_ylabel("linear probe accuracy, target classes", fontsize=8)
    panels[0].legend(fontsize=7, title="ring: RankMe's pick\ndots: median run", title_fontsize=7, loc="lower right")
    last = panels[2]
    for marker, method in zip("os", GRID, strict=True):
        means = [np.mean(list(report.values(name, f"{method} target accuracy").values())) for name in SELECTORS]
        last.plot(means, range(len(SELECTORS)), marker, markersize=5, label=method, alpha=0.8)
    last.set_yticks(range(len(SELECTORS)), SELECTORS, fontsize=7)
    last.invert_yaxis()
    last.set_xlabel("target accuracy of the pick", fontsize=8)
    last.set_title(f"picks, mean of {len(report.seeds)} seeds", fontsize=9)
    last.legend(fontsize=7)
    for panel in panels:
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
    figure.suptitle(
        f"Choosing a run by the rank of its outputs ({report.settings['data']}, no labels used)", fontsize=10
    )


def _grid_claims(method: str, short: str) -> tuple[Claim, Claim]:
    pick, metric = measured("RankMe", f"{method} target accuracy"), f"{method} target accuracy"
    return (
        Claim(
            f"{short}-order",
            f"Among {method} runs, RankMe of the projector's outputs goes with linear-probe accuracy on other classes.",
            at_least(measured("RankMe", f"{method} Spearman with target accuracy"), 0.4),
        ),
        Claim(
            f"{short}-pick",
            f"The {method} run that RankMe picks is close to the best one and above the median one.",
            # 0.001 makes "above" strict: it is about one picture of the target set
            all_of(
                at_least(pick, measured("best run", metric) - 0.015),
                at_least(pick, measured("median run", metric) + 0.001),
            ),
        ),
    )


_MEAN = "target accuracy, mean of both methods"
_RANK = METRICS[0]
_SMALL: dict[str, Any] = {
    "data": "digits", "normalisation": ("hidden",), "hidden": 256, "features": 128, "outputs": 128, "batch": 256,
    "steps": 600, "rank_rows": 25_600, "runs_per_method": 12, "workers": 2, "device": "cpu",
}  # fmt: skip

REPRODUCTION = Reproduction(
    slug="rankme",
    claims=(
        *_grid_claims("VICReg", "vicreg"),
        *_grid_claims("SimCLR", "simclr"),
        Claim(
            "selector",
            "Choosing by RankMe costs on average less than half a point against choosing by source labels, and beats "
            "choosing by alpha-ReQ.",
            all_of(
                at_least(measured("RankMe", _MEAN), measured("label oracle", _MEAN) - 0.005),
                at_least(measured("RankMe", _MEAN), measured("alpha-ReQ", _MEAN) + 0.001),
            ),
        ),
        Claim(
            "not-sufficient",
            "A high rank is not sufficient: pure noise scores above every trained run and is useless.",
            all_of(
                at_least(measured("pure noise", _RANK), measured("highest trained run", _RANK)),
                at_most(measured("pure noise", "target accuracy"), 0.5),
            ),
        ),
        Claim(
            "imagenet",
            "The same holds for VICReg, SimCLR and DINO on ImageNet and ten other picture sets.",
            reason="needs hundreds of pre-training runs on ImageNet",
        ),
        Claim(
            "no-settings",
            "RankMe needs no training, no labels and no hyper-parameters of its own.",
            reason="a property of the definition; the function takes embeddings only",
        ),
        Claim(
            "one-method-only",
            "RankMe must not be used to compare different methods or architectures.",
            reason="a warning; every ranking here stays within one method and one architecture",
        ),
    ),
    settings={
        "smoke": {**_SMALL, "steps": 2, "runs_per_method": 2, "workers": 1},
        "small": _SMALL,
        "full": {
            **_SMALL, "data": "fashion-mnist", "normalisation": ("hidden", "none", "all"), "hidden": 2048,
            "features": 512, "outputs": 2048, "batch": 1024, "steps": 10_000, "workers": 1, "device": "auto",
        },
    },
    run=run,
    plot=plot,
    seeds=DEFAULT_SEEDS,
    deviations=(
        "Digits of 8 x 8 pixels and one-hidden-layer networks stand for ImageNet and ResNet-50; source and target are "
        "five classes each.",
        "Batch normalisation sits after the hidden layers only. The outcome depends on that: see the full run, which "
        "measures none and all as well.",
        "All runs of a seed share initial weights, batches and views, so that they differ by hyper-parameters only.",
        "A linear probe is a logistic regression on standardised representations, trained on either half and tested on "
        "the other.",
    ),
)  # fmt: skip
