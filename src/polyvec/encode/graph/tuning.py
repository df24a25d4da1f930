"""Chooses FastRP's degree correction and hop weights on a validation split, as the paper does (section 4.3)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from polyvec.core.errors import InvalidValueError
from polyvec.core.progress import progress
from polyvec.encode.graph.checks import hop_weights, number_between, one_of, positive_int
from polyvec.encode.graph.fastrp import FastRP
from polyvec.encode.graph.labels import Positions, class_numbers, label_scores, stratified_split
from polyvec.encode.graph.streams import resolve_seed
from polyvec.encode.graph.view import as_graph

_WEIGHTS_PER_BETA = 4  # a new beta costs all products, new weights only a sum
_LARGEST_WEIGHT = 64.0


@dataclass(frozen=True, slots=True)
class FastRPTrial:
    """One setting and its score on the validation nodes."""

    beta: float
    weights: tuple[float, ...]
    score: float


@dataclass(frozen=True, slots=True)
class FastRPTuning:
    """The best setting that was tried, and all the trials in their order."""

    best: FastRPTrial
    trials: tuple[FastRPTrial, ...]
    template: FastRP

    def encoder(self, **changes: Any) -> FastRP:
        """A new, unfitted `FastRP` with the best setting; `changes` are further arguments, such as `dim`."""
        encoder: FastRP = clone(self.template)
        return encoder.set_params(**{"beta": self.best.beta, "weights": self.best.weights, **changes})


def tune_fastrp(
    graph: Any,
    y: Any,
    trials: int = 20,
    *,
    encoder: FastRP | None = None,
    x: Any = None,
    nodes: npt.ArrayLike | None = None,
    betas: Sequence[float] | None = None,
    weights: Sequence[Sequence[float]] | None = None,
    validation: float = 0.2,
    metric: str = "macro",
    dim: int = 64,
    c: float = 0.1,
    seed: int | None = None,
    show_progress: bool | None = None,
) -> FastRPTuning:
    """Try settings of FastRP on a validation split of the labelled nodes.

    The powers are computed once for each beta at a low dimension and shared by all hop weights. What is not given is
    drawn as in the paper: beta uniformly from [-1, 0], weights (0, 0, 1, a) with a log-uniformly from [1, 64]; draws
    are spread evenly over these ranges.

    Args:
        graph: Anything `FastRP` takes.
        y: One label a node: integers (negative: no label) or strings (`None`: no label).
        trials: About how many settings to try when `betas` or `weights` are drawn; the paper takes 20.
        encoder: `FastRP` whose other arguments are used and whose `encoder()` comes back; default `FastRP(seed=seed)`.
        x: Node features for the fits.
        nodes: The labelled nodes that may be looked at; by default all. Leave test nodes out here: their labels are
            then never used.
        betas: Degree corrections to try; with `weights`, all pairs are tried.
        weights: Hop weights to try.
        validation: Share of each class that is scored; the rest trains the classifier.
        metric: `"macro"` or `"micro"` F1.
        dim: Dimensions during the search; low, because what is best carries over to the full dimension.
        c: Inverse penalty of the logistic regression; see `label_scores`.
        seed: Of the draws, the split and the projections.
        show_progress: `None` shows a bar on a terminal.

    Raises:
        InvalidValueError: A bad argument, fewer than two classes, or no class with two members.
    """
    count, low = positive_int(trials, "trials"), positive_int(dim, "dim")
    one_of(metric, "metric", ("macro", "micro"))
    share = number_between(validation, "validation", 0.0, 1.0)
    known_seed = resolve_seed(seed)
    random = np.random.default_rng(known_seed)
    template = FastRP(seed=known_seed) if encoder is None else encoder
    view = as_graph(graph, directed=bool(template.directed))
    classes = class_numbers(y, view.num_nodes)
    fitted, scored = stratified_split(classes, _usable(nodes, classes), share, random)
    if not len(scored) or len(np.unique(classes[fitted])) < 2:
        raise InvalidValueError(
            "y: got too few labelled nodes, needs at least two classes, one of them with two members"
        )
    chosen_betas, chosen_weights = _settings(count, betas, weights, random)
    longest = max(chosen_weights, key=len)
    done: list[FastRPTrial] = []
    with progress("FastRP settings", len(chosen_betas) * len(chosen_weights), show=show_progress) as bar:
        for beta in chosen_betas:
            model: FastRP = clone(template).set_params(beta=beta, weights=longest, dim=low, keep_powers=True)
            with warnings.catch_warnings():
                if done:  # what is wrong with the graph has been said once
                    warnings.simplefilter("ignore", UserWarning)
                model.fit(view, x)
            for setting in chosen_weights:
                scores = label_scores(model.reweight(setting), classes, fitted, scored, c=c)
                done.append(FastRPTrial(beta, setting, getattr(scores, metric)))
                bar.advance()
    return FastRPTuning(max(done, key=lambda trial: trial.score), tuple(done), template)


def _usable(nodes: npt.ArrayLike | None, classes: npt.NDArray[np.int64]) -> Positions:
    labelled = classes >= 0
    if nodes is None:
        return np.flatnonzero(labelled)
    given = np.asarray(nodes)
    if (
        given.dtype.kind not in "iu"
        or given.ndim != 1
        or (len(given) and not 0 <= given.min() <= given.max() < len(classes))
    ):
        raise InvalidValueError(f"nodes: needs a flat array of node numbers from 0 to {len(classes) - 1}")
    return np.unique(given[labelled[given]])


def _settings(
    count: int,
    betas: Sequence[float] | None,
    weights: Sequence[Sequence[float]] | None,
    random: np.random.Generator,
) -> tuple[list[float], list[tuple[float, ...]]]:
    """The betas and the weights whose pairs are tried."""
    if betas is not None and not len(betas):
        raise InvalidValueError("betas: got none, needs at least one, or None to draw them")
    if weights is not None and not len(weights):
        raise InvalidValueError("weights: got none, needs at least one tuple of hop weights, or None to draw them")
    many = max(1, count // len(betas)) if betas is not None else min(_WEIGHTS_PER_BETA, count)
    if weights is None:
        powers = (random.permutation(many) + random.random(many)) / many
        drawn: list[tuple[float, ...]] = [(0.0, 0.0, 1.0, float(_LARGEST_WEIGHT**power)) for power in powers]
    else:
        drawn = [hop_weights(setting) for setting in weights]
    if betas is None:
        some = max(1, count // len(drawn))
        return [float(beta) for beta in -(random.permutation(some) + random.random(some)) / some], drawn
    return [number_between(beta, "betas", -1.0, 1.0) for beta in betas], drawn
