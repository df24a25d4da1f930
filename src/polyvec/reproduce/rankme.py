"""RankMe: does the rank of the projector's outputs on unlabelled source pictures pick the run that transfers best?

Small encoders are pre-trained without labels on pictures of five classes, by VICReg and by SimCLR, over a grid of
hyper-parameters that includes broken settings. A linear probe on the five other classes is the target. RankMe has to
pick a good run of each grid; label oracle, alpha-ReQ, training loss, default setting and median run stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from polyvec.core.progress import track
from polyvec.reproduce._rankme_runs import (
    GRID,
    METRICS,
    PLAIN,
    SOURCE_CLASSES,
    Outcome,
    pictures,
    probe_accuracy,
    train_and_judge,
)
from polyvec.reproduce.base import DEFAULT_SEEDS, Reproduction, Run
from polyvec.reproduce.criteria import all_of, at_least, at_most, measured
from polyvec.reproduce.report import Claim, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEAST_SHOWN = 0.92  # target accuracy at the left end of the plot of picks
SELECTORS = ("RankMe", "label oracle", "alpha-ReQ", "training loss", "default setting", "median run", "best run")


def study_name(method: str, normalisation: str) -> str:
    """How a grid is called in the tables."""
    layers = {PLAIN: "", "hidden": " with normalised hidden layers", "all": " with normalised layers"}
    return f"{method}{layers[normalisation]}"


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
    studies = settings["studies"]
    jobs = [
        (method, normalisation, name)
        for method, normalisation in studies
        for name in list(GRID[method])[: settings["runs_per_study"]]
    ]
    work = Parallel(n_jobs=settings["workers"], return_as="generator")(
        delayed(train_and_judge)(method, name, normalisation, dict(settings), run.seed)
        for method, normalisation, name in jobs
    )
    done = dict(zip(jobs, track(work, f"runs of seed {run.seed}", len(jobs), show=run.show_progress), strict=True))
    picks = {}
    for method, normalisation in studies:
        study = study_name(method, normalisation)
        outcomes = {job[2]: done[job] for job in jobs if job[:2] == (method, normalisation)}
        for name, outcome in outcomes.items():
            for metric, value in zip(METRICS, astuple(outcome), strict=True):
                run.record(f"{study}: {name}", metric, value)
        picks[study] = selected(outcomes)
        for selector, value in picks[study].items():
            run.record(selector, f"{study} target accuracy", value)
        runs = list(outcomes.values())
        for selector, scores in {
            "RankMe": [each.rank_of_projector for each in runs],
            "RankMe of representation": [each.rank_of_representation for each in runs],
            "alpha-ReQ": [-abs(each.alpha_req - 1) for each in runs],
            "training loss": [-each.training_loss for each in runs],
            "label oracle": [each.source_accuracy for each in runs],
        }.items():
            value = spearman(np.array(scores), np.array([each.target_accuracy for each in runs]))
            run.record(selector, f"{study} Spearman with target accuracy", value)
    for selector in SELECTORS:
        values = [picks[study_name(method, PLAIN)][selector] for method in GRID]
        run.record(selector, "target accuracy, mean of both methods", float(np.mean(values)))
    run.record("highest trained run", METRICS[0], max(outcome.rank_of_projector for outcome in done.values()))
    untrained = train_and_judge("VICReg", "default", PLAIN, settings, run.seed, steps=0)
    run.record("untrained network", "RankMe of projector", untrained.rank_of_projector)
    run.record("untrained network", "target accuracy", untrained.target_accuracy)
    _, labels = pictures(settings["data"])
    is_source = np.isin(labels, SOURCE_CLASSES)
    noise = np.random.default_rng(run.seed).normal(size=(len(labels), settings["outputs"]))
    run.record("pure noise", "RankMe of projector", rankme(noise[is_source][: settings["rank_rows"]]))
    run.record("pure noise", "target accuracy", probe_accuracy(noise[~is_source], labels[~is_source], run.seed))


def plot(report: Report, figure: Figure) -> None:
    """RankMe against target accuracy, a panel a study, and what each selector's pick reaches."""
    panels = figure.subplots(2, 2).ravel()
    studies = [study_name(*study) for study in report.settings["studies"]][:3]
    colours = ("tab:blue", "tab:orange", "tab:green", "tab:purple")
    last = panels[len(studies)]
    for panel, study, marker in zip(panels, studies, "os^", strict=False):
        names = [name for name in dict.fromkeys(row.method for row in report.rows) if name.startswith(f"{study}: ")]
        for number, seed in enumerate(report.seeds):
            ranks = np.array([report.values(name, METRICS[0])[seed] for name in names])
            accuracy = np.array([report.values(name, "target accuracy")[seed] for name in names])
            colour, best = colours[number % len(colours)], ranks.argmax()
            panel.scatter(ranks, accuracy, s=12, color=colour, label=f"seed {seed}")
            panel.scatter(ranks[best], accuracy[best], s=80, facecolors="none", edgecolors=colour)
            panel.axhline(np.median(accuracy), color=colour, linewidth=0.7, linestyle=":")
        correlation = np.mean(list(report.values("RankMe", f"{study} Spearman with target accuracy").values()))
        panel.set_xscale("log")
        panel.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        panel.minorticks_off()
        panel.set_xlim(0.9, 128)
        panel.set_title(f"{study}: Spearman {correlation:.2f}", fontsize=8)
        panel.set_xlabel("RankMe of projector on source classes (dimensions)", fontsize=7)
        panel.set_ylabel("target accuracy", fontsize=7)
        means = [np.mean(list(report.values(name, f"{study} target accuracy").values())) for name in SELECTORS]
        shown = np.maximum(means, _LEAST_SHOWN)
        last.plot(shown, range(len(SELECTORS)), marker, markersize=4, label=study, alpha=0.8)
        for row in np.flatnonzero(np.array(means) < _LEAST_SHOWN):
            text, offset = f"{means[row]:.2f} (off the axis)", {"xytext": (6, 0), "textcoords": "offset points"}
            last.annotate(text, (_LEAST_SHOWN, row), fontsize=6, va="center", **offset)
    panels[0].legend(fontsize=6, title="ring: RankMe's pick\ndotted: median run", title_fontsize=6, loc="lower right")
    last.set_xlim(_LEAST_SHOWN - 0.002, None)
    last.set_yticks(range(len(SELECTORS)), SELECTORS)
    last.invert_yaxis()
    last.set_xlabel("target accuracy of the pick (linear probe)", fontsize=7)
    last.set_title(f"picks by selector, seeds {', '.join(map(str, report.seeds))}", fontsize=8)
    last.legend(fontsize=6, loc="lower left")
    for panel in panels:
        panel.tick_params(labelsize=6.5)
    last.grid(axis="y", alpha=0.3)
    figure.suptitle(
        f"Choosing a run by the rank of its outputs, without labels ({report.settings['data']})", fontsize=9
    )


def _grid_claims(study: str, short: str) -> tuple[Claim, Claim]:
    metric = f"{study} target accuracy"
    pick = measured("RankMe", metric)
    return (
        Claim(
            f"{short}-order",
            f"{study}: RankMe of the projector's outputs goes with linear-probe accuracy on other classes.",
            at_least(measured("RankMe", f"{study} Spearman with target accuracy"), 0.4),
        ),
        Claim(
            f"{short}-pick",
            f"{study}: the run that RankMe picks is close to the best one and above the median one.",
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
    "data": "digits",
    "studies": (("VICReg", PLAIN), ("SimCLR", PLAIN), ("VICReg", "all")),
    "runs_per_study": 12,
    "hidden": 256,
    "features": 128,
    "outputs": 128,
    "batch": 256,
    "steps": 600,
    "rank_rows": 25_600,
    "workers": 2,
    "device": "cpu",
}

REPRODUCTION = Reproduction(
    slug="rankme",
    claims=(
        *_grid_claims("VICReg", "vicreg"),
        *_grid_claims("SimCLR", "simclr"),
        *_grid_claims(study_name("VICReg", "all"), "normalised-vicreg"),
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
        "smoke": {**_SMALL, "steps": 2, "runs_per_study": 2, "workers": 1},
        "small": _SMALL,
        "full": {
            **_SMALL,
            "data": "fashion-mnist",
            "hidden": 2048,
            "studies": tuple((method, where) for where in (PLAIN, "all", "hidden") for method in GRID),
            "features": 512,
            "outputs": 2048,
            "batch": 1024,
            "steps": 10_000,
            "workers": 1,
            "device": "auto",
        },
    },
    run=run,
    plot=plot,
    seeds=DEFAULT_SEEDS,
    deviations=(
        "Digits of 8 x 8 pixels and one-hidden-layer networks stand for ImageNet and ResNet-50; source and target are "
        "five classes each.",
        "The networks have no normalisation layers. Residual networks have them, so the VICReg grid is run and judged "
        "a second time with batch normalisation before every ReLU. Settings that would collapse then do not, and the "
        "order among the runs is weaker: two pilots with seed 100 gave correlations of -0.40 and 0.25.",
        "Digits are easy: in each of the three seeds a probe on the untrained network comes within two points of the "
        "best run. The accuracies tell damaged runs from sound ones more than good ones from better ones.",
        "Alpha-ReQ is taken from the centred covariance, as its authors do, and so does not see a collapse onto one "
        "constant vector, which RankMe, not centred, does.",
        "The networks were settled after pilots with seeds 100 and 101: correlations for VICReg were 0.76 to 0.84 "
        "without normalisation, 0.30 to 0.41 with batch normalisation in the hidden layers only, which the first plan "
        "had used.",
        "All runs of a seed share initial weights, batches and views, so that they differ by hyper-parameters only.",
        "A linear probe is a logistic regression on standardised representations, trained on either half and tested on "
        "the other.",
    ),
)
