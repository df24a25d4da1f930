"""FastRP's reproduction: the smoke run, its criteria, and the baselines it stands beside."""

import networkx as nx
import numpy as np
import pytest

from polyvec.encode.graph import as_graph
from polyvec.reproduce import run_reproduction
from polyvec.reproduce.fastrp import REPRODUCTION
from polyvec.reproduce.graph_baselines import DeepWalkRecipe, adjacency_powers, deepwalk, unit_rows, weighted_sum


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    finished = run_reproduction("fastrp", "smoke", to=folder, resume=False, show_progress=False)
    assert (folder / "fastrp" / "smoke.json").exists()
    assert (folder / "fastrp" / "smoke.png").stat().st_size > 10_000
    return finished


def test_smoke_run_measures_every_method(report):
    for method in (
        "FastRP",
        "FastRP, 20 drawn settings",
        "FastRP without unit rows",
        "FastRP, one hop",
        "DeepWalk",
        "adjacency powers",
        "adjacency powers, tuned",
        "Gaussian noise",
    ):
        assert 0 < report.mean(method, "macro F1") <= 1
    assert report.mean("FastRP", "macro F1") > report.mean("Gaussian noise", "macro F1") + 0.15
    assert report.mean("DeepWalk", "macro F1") > report.mean("Gaussian noise", "macro F1") + 0.15
    assert report.mean("DeepWalk / FastRP", "wall-clock ratio") > 0
    exact = next(verdict for verdict in report.verdicts if verdict.id == "exact")
    assert exact.verdict == "holds"


def test_every_judged_quantity_is_recorded(report):
    for claim in REPRODUCTION.claims:
        if claim.criterion is not None:
            claim.criterion.judge(report)  # raises where a row is missing


def test_criteria_are_the_ones_of_the_card():
    texts = {claim.id: claim.criterion.text() for claim in REPRODUCTION.claims if claim.criterion}
    assert texts["quality"] == "macro F1 of FastRP >= 0.5; and macro F1 of FastRP >= macro F1 of DeepWalk x 0.85"
    assert texts["adjacency-powers"] == "macro F1 of FastRP >= macro F1 of adjacency powers x 2"
    assert texts["speed"] == "wall-clock ratio of DeepWalk / FastRP >= 50"
    small = REPRODUCTION.settings["small"]
    assert small["betas"] == (0.0, -0.3, -0.6, -0.9)
    assert {len(weights) for weights in small["weights"]} == {4, 5}
    assert DeepWalkRecipe(**small["deepwalk"][0]) == DeepWalkRecipe(walks=5, length=40, window=5)


def test_adjacency_powers_are_the_dense_product():
    graph = as_graph(nx.karate_club_graph())
    powers = adjacency_powers(graph, 3, 8, seed=1)
    dense = graph.adjacency.toarray().astype(np.float64)
    start = np.random.default_rng(1).standard_normal((34, 8), dtype=np.float32)
    for hop, power in enumerate(powers, start=1):
        expected = np.linalg.matrix_power(dense, hop) @ start
        np.testing.assert_allclose(power, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(weighted_sum(powers, (2.0, 0.5)), 2 * powers[0] + 0.5 * powers[1], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(unit_rows(powers[2]), axis=1), 1, rtol=1e-5)
    assert not unit_rows(np.zeros((2, 3), np.float32)).any()


@pytest.mark.parametrize(
    "recipe", [DeepWalkRecipe(10, 20, 4), DeepWalkRecipe(10, 20, 4, negative=5, epochs=5, sample=0)]
)
def test_deepwalk_tells_blocks_apart_and_repeats_with_one_worker(recipe):
    graph = as_graph(nx.stochastic_block_model([40, 40], [[0.3, 0.01], [0.01, 0.3]], seed=0))
    vectors, seconds = deepwalk(graph, recipe, 16, seed=0, workers=1)
    assert vectors.shape == (80, 16)
    assert seconds > 0
    unit = unit_rows(vectors)
    cosines, block = unit @ unit.T, np.repeat([0, 1], 40)
    same = block[:, None] == block[None, :]
    assert cosines[same].mean() > cosines[~same].mean() + 0.1
    np.testing.assert_array_equal(deepwalk(graph, recipe, 16, seed=0, workers=1)[0], vectors)


def test_recipes_name_themselves_and_count_their_samples():
    recipe = DeepWalkRecipe(5, 40, 5, negative=5, epochs=2)
    assert recipe.name == "5 walks x 40, window 5, 5 negatives, 2 epochs"
    assert DeepWalkRecipe().name == "5 walks x 40, window 5, hierarchical softmax"
    assert DeepWalkRecipe(sample=0).name.endswith(", no subsampling")
    assert recipe.pairs(10) == 10 * 5 * 40 * 6 * 2
