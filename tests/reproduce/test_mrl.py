import json

import pytest

from polyvec.reproduce import compare, run_reproduction
from polyvec.reproduce.mrl import (
    CASCADE,
    CASCADE_ACCURACY,
    CASCADE_SIZE,
    CUT,
    EFFICIENT,
    MRL,
    PCA,
    RANDOM,
    REPRODUCTION,
    SEPARATE,
    SHAM,
    SIZES,
    accuracy_at,
    head_accuracy_at,
)
from polyvec.reproduce.mrl_retrieval import (
    FUNNEL,
    KEPT,
    METHODS,
    PAPER_FUNNEL,
    PLAIN,
    PLAIN_PCA,
    PLAIN_RANDOM,
    PROJECTION,
    SAVING,
    kept_at,
)
from polyvec.reproduce.report import FAILS, HOLDS, Report, judge

CARD = {  # the card's measured means
    MRL: (0.674, 0.939, 0.968, 0.971, 0.971, 0.971),
    EFFICIENT: (0.684, 0.946, 0.968, 0.968, 0.968, 0.968),
    CUT: (0.334, 0.768, 0.955, 0.975, 0.975, 0.976),
    SHAM: (0.334, 0.768, 0.955, 0.975, 0.975, 0.976),
    RANDOM: (0.380, 0.795, 0.955, 0.975, 0.977, 0.976),
    PCA: (0.467, 0.845, 0.968, 0.970, 0.970, 0.970),
    SEPARATE: (0.791, 0.952, 0.971, 0.976, 0.977, 0.976),
}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return run_reproduction("mrl", "smoke", to=folder, resume=False), folder


def test_smoke_measures_every_method_and_writes_both_files(smoke):
    report, folder = smoke
    for method in CARD:
        for size in SIZES:
            assert 0 <= report.mean(method, accuracy_at(size)) <= 1
    for method in METHODS:
        assert 0 <= report.mean(method, kept_at(8)) <= 1.5
        assert report.mean(method, SAVING) >= 1
    assert 2 <= report.mean(CASCADE, CASCADE_SIZE) <= 64
    assert report.mean(FUNNEL, SAVING) > 1
    written = json.loads((folder / "mrl" / "smoke.json").read_text())
    assert written["data"].keys() == {"digits"}
    assert (folder / "mrl" / "smoke.png").stat().st_size < 100_000


def test_same_seed_same_figures(smoke):
    report, _ = smoke
    again = run_reproduction("mrl", "smoke", to=None, resume=False)
    assert all(change.old == change.new for change in compare(report, again))


def example(
    digits=CARD, kept=(0.994, 5.6), first_scan=(0.70, 0.43, 0.61, 0.42), funnels=(0.995, 0.70), cascade=(6.0, 0.97)
):
    report = Report("mrl", "small", [0])
    for method, values in digits.items():
        for size, value in zip(SIZES, values, strict=True):
            report.record(method, accuracy_at(size), value, 0)
    report.record(MRL, head_accuracy_at(64), 0.971, 0)
    report.record(PROJECTION, KEPT, kept[0], 0)
    report.record(PROJECTION, SAVING, kept[1], 0)
    for method, value in zip((PROJECTION, PLAIN, PLAIN_PCA, PLAIN_RANDOM), first_scan, strict=True):
        report.record(method, kept_at(8), value, 0)
    for method, value in zip((FUNNEL, PAPER_FUNNEL), funnels, strict=True):
        report.record(method, KEPT, value, 0)
        report.record(method, SAVING, 7.0, 0)
    report.record(CASCADE, CASCADE_SIZE, cascade[0], 0)
    report.record(CASCADE, CASCADE_ACCURACY, cascade[1], 0)
    return {claim.id: judge(claim, report).verdict for claim in REPRODUCTION.claims}


def test_criteria_hold_for_the_figures_of_the_card():
    verdicts = example()
    assert verdicts["nested sizes"] == verdicts["nesting is the cause"] == HOLDS
    assert verdicts["adaptive retrieval"] == verdicts["adaptive classification"] == HOLDS
    assert verdicts["funnel from 8 coordinates"] == FAILS


@pytest.mark.parametrize(("position", "by"), [(0, 0.10), (1, 0.06), (5, 0.02)])
def test_worse_prefixes_fail(position, by):
    values = list(CARD[MRL])
    values[position] -= by
    assert example({**CARD, MRL: tuple(values)})["nested sizes"] == FAILS


def test_a_sham_fails():
    verdicts = example({**CARD, MRL: CARD[CUT]})
    assert verdicts["nested sizes"] == verdicts["nesting is the cause"] == FAILS
    assert example({**CARD, SHAM: CARD[MRL]})["nesting is the cause"] == FAILS


def test_each_retrieval_and_cascade_bound_counts():
    assert example(kept=(0.989, 5.6))["adaptive retrieval"] == FAILS
    assert example(kept=(0.995, 4.9))["adaptive retrieval"] == FAILS
    assert example(first_scan=(0.50, 0.43, 0.61, 0.42))["better than reducing afterwards"] == FAILS
    assert example(funnels=(0.98, 0.70))["funnel"] == FAILS
    assert example(cascade=(8.1, 0.97))["adaptive classification"] == FAILS
    assert example(cascade=(6.0, 0.965))["adaptive classification"] == FAILS


def test_superiority_over_separate_models_is_not_claimed():
    claim = next(claim for claim in REPRODUCTION.claims if claim.id == "better than separate models")
    assert claim.criterion is None
