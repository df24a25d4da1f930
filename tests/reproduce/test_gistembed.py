import json

import numpy as np
import pytest
import torch

from polyvec.reproduce import compare, run_reproduction
from polyvec.reproduce.base import Run
from polyvec.reproduce.gistembed import (
    ARMS,
    COLD_GUIDED,
    COLD_UNGUIDED,
    EACH,
    GUIDED,
    MASKED,
    MASKED_TRUE,
    ORACLE,
    OWN,
    PLAIN,
    RANDOM,
    RECALL,
    REPRODUCTION,
    UNGUIDED,
    _elsewhere,
    prepare,
)
from polyvec.reproduce.report import FAILS, HOLDS, NOT_JUDGED, Report, judge

CARD = {  # the card's measured means: recall of the source's four, recall of the own description
    PLAIN: (0.417, 0.600),
    UNGUIDED: (0.419, 0.601),
    RANDOM: (0.419, 0.601),
    GUIDED: (0.463, 0.633),
    ORACLE: (0.500, 0.628),
    COLD_UNGUIDED: (0.40, 0.55),
    COLD_GUIDED: (0.46, 0.62),
}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return run_reproduction("gistembed", "smoke", to=folder, resume=False), folder


def test_smoke_measures_every_arm_and_writes_both_files(smoke):
    report, folder = smoke
    for arm in (*ARMS, COLD_GUIDED, COLD_UNGUIDED):
        assert 0 < report.mean(arm, RECALL) <= 1
        assert 0 < report.mean(arm, OWN) <= 1
    assert 0 < report.mean(GUIDED, MASKED_TRUE) <= min(EACH - 1, report.mean(GUIDED, MASKED))
    written = json.loads((folder / "gistembed" / "smoke.json").read_text())
    assert written["verdict"] == NOT_JUDGED
    assert any("planted" in note for note in written["notes"])
    assert (folder / "gistembed" / "smoke.png").stat().st_size < 100_000


def test_same_seed_same_figures(smoke):
    report, _ = smoke
    again = run_reproduction("gistembed", "smoke", to=None, resume=False)
    assert all(change.old == change.new for change in compare(report, again))


def test_test_sources_are_others_and_the_guide_never_sees_them():
    run = Run(Report("gistembed", "smoke", [5]), 5, "smoke")
    train, test, pieces = prepare(run, REPRODUCTION.settings["smoke"])
    assert test.guide is None
    assert not set(train.source) & set(test.source)
    assert (np.bincount(train.source) == EACH).all()
    assert [len(part) for part in train.guide] == [len(train), len(train)]
    used = {int(piece) for part in (train, test) for side in part.pieces for text in side for piece in text}
    assert used == set(range(pieces))


def test_random_masks_have_as_many_entries_in_each_row_and_never_the_diagonal():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(12, 12, generator=generator) < 0.3
    moved = _elsewhere(mask, np.random.default_rng(0))
    off = ~torch.eye(12, dtype=torch.bool)
    assert torch.equal(moved.sum(1), (mask & off).sum(1))
    assert not moved.diagonal().any()
    assert not torch.equal(moved, mask & off)
    draws = np.random.default_rng(1)
    often = sum(_elsewhere(mask, draws).int() for _ in range(400)) / 400
    expected = ((mask & off).sum(1) / 11)[:, None].expand(12, 12)[off]
    assert torch.allclose(often[off], expected, atol=0.12)


def example(changes=None):
    report = Report("gistembed", "small", [0, 1, 2])
    for arm, (recall, own) in {**CARD, **(changes or {})}.items():
        for seed, shift in ((0, -0.004), (1, 0.0), (2, 0.004)):
            report.record(arm, RECALL, recall + shift, seed)
            report.record(arm, OWN, own + shift, seed)
    return {claim.id: judge(claim, report).verdict for claim in REPRODUCTION.claims}


def test_criteria_hold_for_the_figures_of_the_card():
    verdicts = example()
    judged = {name: verdict for name, verdict in verdicts.items() if verdict != NOT_JUDGED}
    assert len(judged) == 5
    assert set(judged.values()) == {HOLDS}
    assert verdicts["MTEB"] == NOT_JUDGED


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({GUIDED: (0.443, 0.633)}, "guided beats unguided"),
        ({UNGUIDED: (0.439, 0.601)}, "guided beats unguided"),
        ({RANDOM: (0.439, 0.601)}, "which ones matters"),
        ({ORACLE: (0.56, 0.628)}, "much of what is possible"),
        ({GUIDED: (0.463, 0.600)}, "own description not lost"),
        ({COLD_GUIDED: (0.42, 0.62)}, "at the source's temperature"),
    ],
)
def test_each_bound_counts(changes, claim):
    assert example(changes)[claim] == FAILS


def test_a_sham_fails():
    """A mask that is always empty is the loss without a guide."""
    verdicts = example({GUIDED: CARD[UNGUIDED], COLD_GUIDED: CARD[COLD_UNGUIDED]})
    assert verdicts["guided beats unguided"] == verdicts["which ones matters"] == FAILS


def test_one_bad_seed_is_enough_to_fail():
    report = Report("gistembed", "small", [0, 1])
    for seed, guided in ((0, 0.50), (1, 0.44)):
        report.record(GUIDED, RECALL, guided, seed)
        report.record(UNGUIDED, RECALL, 0.42, seed)
    claim = next(claim for claim in REPRODUCTION.claims if claim.id == "guided beats unguided")
    assert judge(claim, report).verdict == FAILS
