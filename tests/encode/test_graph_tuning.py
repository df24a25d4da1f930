"""Tuning FastRP on a validation split, and the label helpers behind it."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.encode.graph import FastRP, tune_fastrp
from polyvec.encode.graph.labels import class_numbers, label_scores, stratified_split

BLOCKS = np.repeat(np.arange(3), 50)


@pytest.fixture(scope="module")
def graph() -> nx.Graph:
    return nx.stochastic_block_model([50, 50, 50], (0.12 * np.eye(3) + 0.02).tolist(), seed=0)


def test_a_grid_tries_every_pair_and_scores_it_like_a_fit_of_its_own(graph):
    betas, weights = (0, -0.6), ((0, 1), (0, 0, 1, 4))
    tuned = tune_fastrp(graph, BLOCKS, betas=betas, weights=weights, dim=8, seed=3)
    assert [(trial.beta, trial.weights) for trial in tuned.trials] == [
        (beta, tuple(map(float, setting))) for beta in betas for setting in weights
    ]
    assert tuned.best.score == max(trial.score for trial in tuned.trials)
    random = np.random.default_rng(3)
    train, held_out = stratified_split(BLOCKS, np.arange(150), 0.2, random)
    for trial in tuned.trials:
        vectors = FastRP(8, trial.weights, trial.beta, seed=3).fit_transform(graph)
        assert label_scores(vectors, BLOCKS, train, held_out).macro == trial.score


def test_the_encoder_has_the_best_setting(graph):
    template = FastRP(32, normalize=False, seed=9)
    tuned = tune_fastrp(graph, BLOCKS, 8, encoder=template, dim=8, seed=0, metric="micro")
    encoder = tuned.encoder(dim=64)
    assert (encoder.dim, encoder.beta, encoder.weights) == (64, tuned.best.beta, tuned.best.weights)
    assert (encoder.normalize, encoder.seed) == (False, 9)
    assert tuned.encoder().dim == 32
    assert (template.dim, template.beta) == (32, -0.5)
    assert not hasattr(template, "powers_")


@pytest.mark.parametrize("trials", [1, 3, 20])
def test_drawn_settings_are_in_the_papers_ranges(graph, trials):
    tuned = tune_fastrp(graph, BLOCKS, trials, dim=4, seed=1)
    assert len(tuned.trials) <= trials
    assert len(tuned.trials) >= trials - 3
    for trial in tuned.trials:
        assert -1 <= trial.beta <= 0
        assert trial.weights[:3] == (0, 0, 1)
        assert 1 <= trial.weights[3] <= 64
    if trials == 20:
        assert len({trial.beta for trial in tuned.trials}) == 5
        assert max(trial.beta for trial in tuned.trials) > -0.2
        assert min(trial.beta for trial in tuned.trials) < -0.8


def test_only_the_betas_or_only_the_weights_can_be_given(graph):
    tuned = tune_fastrp(graph, BLOCKS, 6, betas=(-0.1, -0.2), dim=4, seed=1)
    assert [trial.beta for trial in tuned.trials] == [-0.1] * 3 + [-0.2] * 3
    tuned = tune_fastrp(graph, BLOCKS, 6, weights=((1, 2), (3,)), dim=4, seed=1)
    assert len({trial.beta for trial in tuned.trials}) == 3
    assert {trial.weights for trial in tuned.trials} == {(1, 2), (3,)}


def test_the_same_seed_gives_the_same_trials(graph):
    first, second = (tune_fastrp(graph, BLOCKS, 4, dim=4, seed=5).trials for _ in range(2))
    assert first == second
    assert tune_fastrp(graph, BLOCKS, 4, dim=4, seed=6).trials != first


def test_labels_of_other_nodes_are_never_used(graph):
    usable = np.random.default_rng(0).choice(150, 80, replace=False)
    hidden = np.setdiff1d(np.arange(150), usable)
    reference = tune_fastrp(graph, BLOCKS, 4, nodes=usable, dim=4, seed=0)
    scrambled = BLOCKS.copy()
    scrambled[hidden] = np.random.default_rng(1).integers(0, 3, len(hidden))
    assert tune_fastrp(graph, scrambled, 4, nodes=usable, dim=4, seed=0).trials == reference.trials
    missing = BLOCKS.copy()
    missing[hidden] = -1
    assert tune_fastrp(graph, missing, 4, dim=4, seed=0).trials == reference.trials
    scrambled[usable[0]] = (scrambled[usable[0]] + 1) % 3
    assert tune_fastrp(graph, scrambled, 4, nodes=usable, dim=4, seed=0).trials != reference.trials


def test_it_finds_the_hops_that_matter():
    """Four hops average over a node's block; one hop sees a few noisy neighbours only."""
    random = np.random.default_rng(0)
    left, right = np.repeat(np.arange(2), 100), random.integers(0, 2, 200)
    dense = np.zeros((400, 400))
    dense[:200, 200:] = random.random((200, 200)) < np.where(left[:, None] == right[None, :], 0.08, 0.01)
    labels = np.concatenate([left, np.full(200, -1)])
    tuned = tune_fastrp(
        sp.csr_array(dense + dense.T), labels, betas=[0], weights=[(1,), (0, 0, 0, 1)], dim=32, seed=0, validation=0.5
    )
    assert tuned.best.weights == (0, 0, 0, 1)


def test_label_scores_are_scikit_learns():
    random = np.random.default_rng(0)
    classes = random.integers(0, 4, 300)
    vectors = (random.normal(size=(300, 6)) + np.eye(6)[classes]) * [1, 10, 100, 1, 1, 1]
    train, test = np.arange(200), np.arange(200, 300)
    scaler = StandardScaler().fit(vectors[train])
    model = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(vectors[train]), classes[train])
    predicted = model.predict(scaler.transform(vectors[test]))
    scores = label_scores(vectors, classes, train, test)
    assert scores.micro == pytest.approx(np.mean(predicted == classes[test]))
    assert scores.macro == pytest.approx(f1_score(classes[test], predicted, average="macro"))
    assert scores.micro > 0.3


def test_the_split_is_stratified():
    classes = np.repeat(np.arange(4), [1, 2, 30, 100])
    first, second = stratified_split(classes, np.arange(133), 0.2, 0)
    assert np.array_equal(np.sort(np.concatenate([first, second])), np.arange(133))
    assert np.bincount(classes[second], minlength=4).tolist() == [0, 1, 6, 20]
    assert not np.array_equal(stratified_split(classes, np.arange(133), 0.2, 1)[1], second)


def test_labels_of_every_kind():
    assert class_numbers([3, -1, 3, 7], 4).tolist() == [0, -1, 0, 1]
    assert class_numbers(["b", None, "b", "a"], 4).tolist() == [1, -1, 1, 0]
    assert class_numbers(np.array([0.0, np.nan, 1.0]), 3).tolist() == [0, -1, 1]
    assert class_numbers(np.array(["x", "y"]), 2).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": BLOCKS[:-1]}, r"y: got shape \(149,\)"),
        ({"y": np.zeros(150, int)}, "y: got 1 classes"),
        ({"y": np.full(150, -1)}, "y: got 0 classes"),
        ({"trials": 0}, "trials: got 0"),
        ({"validation": 1.5}, "validation: got 1.5"),
        ({"metric": "accuracy"}, "metric: got 'accuracy'"),
        ({"betas": ()}, "betas: got none"),
        ({"betas": (-2,)}, "betas: got -2"),
        ({"weights": ()}, "weights: got none"),
        ({"weights": ((0, 0),)}, "weights: got only zeros"),
        ({"nodes": [150]}, "nodes: needs"),
        ({"nodes": [0, 50]}, "too few labelled nodes"),
    ],
)
def test_bad_arguments_are_refused(graph, arguments, message):
    with pytest.raises(InvalidValueError, match=message):
        tune_fastrp(**{"graph": graph, "y": BLOCKS, "dim": 4, "seed": 0, **arguments})


def test_isolated_nodes_are_mentioned_once():
    graph = nx.stochastic_block_model([30, 30], [[0.3, 0.02], [0.02, 0.3]], seed=0)
    graph.add_node(60)
    labels = np.append(np.repeat([0, 1], 30), -1)
    with pytest.warns(UserWarning, match="1 of 61 nodes") as caught:
        tune_fastrp(graph, labels, 20, dim=4, seed=0)
    assert len(caught) == 1


def test_labels_of_a_bad_type_are_refused(graph):
    with pytest.raises(InvalidTypeError, match="labels of type"):
        tune_fastrp(graph, np.zeros(150, complex))
