import dataclasses

import numpy as np
import pytest
import torch

from polyvec.reproduce import rankme as reproduction
from polyvec.reproduce import run_reproduction
from polyvec.reproduce._rankme_runs import (
    DIVERGED,
    GRID,
    METRICS,
    PLAIN,
    Outcome,
    _view,
    pictures,
    probe_accuracy,
    train_and_judge,
)
from polyvec.reproduce.report import FAILS, HOLDS, Report, judge

SMALL = reproduction.REPRODUCTION.settings["small"]
SMOKE = reproduction.REPRODUCTION.settings["smoke"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return run_reproduction("rankme", "smoke", to=folder, resume=False), folder


def test_smoke_measures_every_study_and_writes_both_files(smoke) -> None:
    report, folder = smoke
    for study in ("VICReg", "SimCLR", "VICReg with normalised layers"):
        for name in list(GRID[study.split()[0]])[:2]:
            for metric in METRICS:
                assert np.isfinite(report.mean(f"{study}: {name}", metric))
        for selector in reproduction.SELECTORS:
            assert 0 < report.mean(selector, f"{study} target accuracy") <= 1
        assert -1 <= report.mean("RankMe", f"{study} Spearman with target accuracy") <= 1
    assert report.mean("pure noise", "RankMe of projector") > 120
    assert report.mean("pure noise", "target accuracy") < 0.4
    assert set(report.data) == {"digits"}
    assert (folder / "rankme" / "smoke.json").exists()
    assert (folder / "rankme" / "smoke.png").stat().st_size < 100_000


def test_the_grid_is_the_one_of_the_check() -> None:
    assert [len(GRID[method]) for method in ("VICReg", "SimCLR")] == [12, 11]
    assert all(next(iter(names)) == "default" for names in GRID.values())
    weights = {name: arguments for name, (_, arguments) in GRID["VICReg"].items()}
    assert {arguments.get("covariance") for arguments in weights.values()} >= {0, 16}
    assert {arguments.get("variance") for arguments in weights.values()} >= {0.05, 5}
    assert {arguments.get("invariance") for arguments in weights.values()} >= {1, 100}
    assert {rate for rate, _ in GRID["SimCLR"].values()} >= {1e-5, 3e-2}
    assert {arguments.get("temperature") for _, arguments in GRID["SimCLR"].values()} >= {0.03, 5}
    assert (SMALL["steps"], SMALL["batch"], SMALL["runs_per_study"]) == (600, 256, 12)


def test_a_run_depends_on_its_seed_only() -> None:
    settings = {**SMOKE, "steps": 3}
    state = torch.random.get_rng_state()
    first = train_and_judge("VICReg", "default", PLAIN, settings, 100)
    torch.manual_seed(1234)
    assert train_and_judge("VICReg", "default", PLAIN, settings, 100) == first
    assert train_and_judge("VICReg", "default", PLAIN, settings, 101) != first
    assert train_and_judge("VICReg", "covariance 16", PLAIN, settings, 100) != first
    torch.random.set_rng_state(state)
    train_and_judge("VICReg", "default", PLAIN, settings, 100)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.slow
def test_result_does_not_depend_on_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {}
    for workers in (1, 2):
        plan = dataclasses.replace(
            reproduction.REPRODUCTION,
            settings={"smoke": {**SMOKE, "steps": 20, "workers": workers}},
        )
        monkeypatch.setattr(reproduction, "REPRODUCTION", plan)
        report = run_reproduction("rankme", "smoke", to=None, resume=False)
        values[workers] = [(row.method, row.metric, row.value) for row in report.rows]
    assert values[1] == values[2]


def test_a_run_that_diverges_is_the_worst_of_its_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRID["VICReg"], "broken", (1e30, {}))
    outcome = train_and_judge("VICReg", "broken", PLAIN, {**SMOKE, "steps": 5}, 100)
    assert outcome == DIVERGED
    runs = {"default": Outcome(5.0, 5.0, 2.0, 1.0, 0.9, 0.8), "broken": outcome}
    assert {value for name, value in reproduction.selected(runs).items() if name != "median run"} == {0.8}


def test_views_stay_on_the_picture_and_differ() -> None:
    images = torch.zeros(200, 8, 8)
    images[:, 3:5, 3:5] = 1.0
    generator = torch.Generator().manual_seed(0)
    first, second = (_view(images, generator).view(-1, 8, 8) for _ in range(2))
    assert first.shape == images.shape
    assert not torch.equal(first, second)
    assert ((first == 0).sum((1, 2)) >= 9).all()  # the erased square
    mean = torch.stack([_view(images, generator).view(-1, 8, 8).mean(0) for _ in range(50)]).mean(0)
    # a bright 2 x 2 square moved by up to one pixel covers 4 x 4; a tenth or so is erased
    assert mean[2:6, 2:6].sum().item() == pytest.approx(4 * (1 - 0.22), rel=0.1)
    assert mean[0].abs().max() < 0.05


def test_probe_is_at_chance_on_noise_and_perfect_on_labels() -> None:
    labels = np.arange(400) % 4
    noise = np.random.default_rng(0).normal(size=(400, 6))
    assert probe_accuracy(noise, labels, 0) == pytest.approx(0.25, abs=0.08)
    assert probe_accuracy(np.eye(4)[labels] + 0.01 * noise[:, :4], labels, 0) == 1.0


def test_pictures_are_scaled() -> None:
    images, labels = pictures("digits")
    assert images.shape == (1797, 8, 8)
    assert (images.min(), images.max()) == (0.0, 1.0)
    assert set(labels) == set(range(10))


def test_selectors_pick_what_they_say() -> None:
    runs = {
        "default": Outcome(10, 1, 3.0, 5.0, 0.90, 0.90),
        "high rank": Outcome(50, 1, 2.0, 4.0, 0.91, 0.95),
        "best source": Outcome(20, 1, 2.5, 3.0, 0.99, 0.93),
        "alpha one": Outcome(30, 1, 0.9, 2.0, 0.92, 0.94),
        "low loss": Outcome(5, 1, 4.0, 1.0, 0.50, 0.60),
    }
    assert reproduction.selected(runs) == {
        "RankMe": 0.95,
        "label oracle": 0.93,
        "alpha-ReQ": 0.94,
        "training loss": 0.60,
        "default setting": 0.90,
        "median run": 0.93,
        "best run": 0.95,
    }
    assert reproduction.spearman(np.array([1.0, 2, 3]), np.array([0.1, 0.2, 0.3])) == pytest.approx(1)
    assert reproduction.spearman(np.array([1.0, 1, 1]), np.array([0.1, 0.2, 0.3])) == 0.0


def report_of(pick: float, order: float) -> Report:
    report = Report(slug="rankme", scale="small", seeds=[0])
    for study in ("VICReg", "SimCLR", "VICReg with normalised layers"):
        report.record("RankMe", f"{study} target accuracy", pick, 0)
        report.record("best run", f"{study} target accuracy", 0.97, 0)
        report.record("median run", f"{study} target accuracy", 0.95, 0)
        report.record("RankMe", f"{study} Spearman with target accuracy", order, 0)
    for name, value in (("RankMe", pick), ("label oracle", 0.965), ("alpha-ReQ", 0.955)):
        report.record(name, "target accuracy, mean of both methods", value, 0)
    report.record("highest trained run", "RankMe of projector", 70.0, 0)
    report.record("pure noise", "RankMe of projector", 120.0, 0)
    report.record("pure noise", "target accuracy", 0.2, 0)
    return report


@pytest.mark.parametrize(
    ("pick", "order", "failing"),
    [
        (0.965, 0.5, set()),
        (0.965, 0.39, {"vicreg-order", "simclr-order", "normalised-vicreg-order"}),
        (0.954, 0.5, {"vicreg-pick", "simclr-pick", "normalised-vicreg-pick", "selector"}),
        (0.9585, 0.5, {"selector"}),
    ],
)
def test_criteria_can_fail(pick: float, order: float, failing: set[str]) -> None:
    report = report_of(pick, order)
    verdicts = {claim.id: judge(claim, report).verdict for claim in reproduction.REPRODUCTION.claims}
    assert {name for name, verdict in verdicts.items() if verdict == FAILS} == failing
    assert sum(verdict == HOLDS for verdict in verdicts.values()) == 8 - len(failing)
