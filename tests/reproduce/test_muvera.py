import json

import pytest

from polyvec.reproduce import compare, run_reproduction
from polyvec.reproduce.muvera import (
    BAG_SIZES,
    BAGS,
    COSINE,
    DOT,
    FILLED,
    HEURISTIC,
    LARGE,
    MIDDLE,
    PROJECTED,
    QUANTISED,
    REPEATED,
    REPRODUCTION,
    RERANKED,
    SHAM,
    SINGLE,
    SMALL,
    TOKEN_SIZES,
    TOKENS,
    UNFILLED,
    WIDE,
    WRONG,
    dimensions,
    label,
    top,
)
from polyvec.reproduce.report import FAILS, HOLDS, Report, judge

CARD_BAGS = {FILLED: (0.61, 0.65, 0.83, 0.92), UNFILLED: (0.44, 0.47, 0.53, 0.75), SHAM: (0.40, 0.34, 0.53, 0.69)}
CARD_TOKENS = {(10, 3, 8): 0.615, (20, 3, 8): 0.74, (20, 4, 8): 0.77, (20, 5, 16): 0.825}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return run_reproduction("muvera", "smoke", to=folder, resume=False), folder


def test_smoke_measures_every_method_and_writes_both_files(smoke):
    report, folder = smoke
    for task in (BAGS, SINGLE):
        for method in (COSINE, DOT, *(label(name, size) for name in CARD_BAGS for size in BAG_SIZES)):
            assert 0 <= report.mean(method, top(1, task)) <= report.mean(method, top(10, task)) <= 1
    for method in (COSINE, HEURISTIC, REPEATED, *(label(FILLED, size) for size in TOKEN_SIZES)):
        shares = [report.mean(method, top(count, TOKENS)) for count in (1, 10, 50)]
        assert shares == sorted(shares)
        assert shares[-1] > 0.2
    assert report.mean(label(WRONG, LARGE), top(1, TOKENS)) < 0.2
    assert report.mean(label(FILLED, LARGE), RERANKED) > 0.9
    written = json.loads((folder / "muvera" / "smoke.json").read_text())
    assert written["data"] == {}
    assert (folder / "muvera" / "smoke.png").stat().st_size < 120_000


def test_same_seed_same_figures(smoke):
    report, _ = smoke
    again = run_reproduction("muvera", "smoke", to=None, resume=False)
    assert all(change.old == change.new for change in compare(report, again))


def test_dimensions_are_those_of_the_source():
    assert [dimensions(size) for size in (SMALL, (20, 3, 8), MIDDLE, LARGE, WIDE)] == [640, 1280, 2560, 10240, 40960]


def example(bags=CARD_BAGS, tokens=CARD_TOKENS, pooled=0.53, **changes):
    single = {"heuristic": 0.535, "reranked": 0.98, "wrong": 0.0, "projected": 0.80, "pq10": 0.95, "pq50": 0.99}
    single |= changes
    report = Report("muvera", "small", [0])
    for method, values in bags.items():
        for size, value in zip(BAG_SIZES, values, strict=True):
            report.record(label(method, size), top(1, BAGS), value, 0)
    report.record(COSINE, top(1, BAGS), pooled, 0)
    for size, value in tokens.items():
        report.record(label(FILLED, size), top(1, TOKENS), value, 0)
    report.record(label(FILLED, MIDDLE), top(10, TOKENS), 0.96, 0)
    report.record(label(FILLED, MIDDLE), top(50, TOKENS), 1.0, 0)
    report.record(label(FILLED, LARGE), RERANKED, single["reranked"], 0)
    report.record(label(QUANTISED, MIDDLE), top(10, TOKENS), single["pq10"], 0)
    report.record(label(QUANTISED, MIDDLE), top(50, TOKENS), single["pq50"], 0)
    report.record(label(PROJECTED, WIDE), top(1, TOKENS), single["projected"], 0)
    report.record(label(WRONG, LARGE), top(1, TOKENS), single["wrong"], 0)
    report.record(HEURISTIC, top(1, TOKENS), single["heuristic"], 0)
    return {claim.id: judge(claim, report).verdict for claim in REPRODUCTION.claims}


def test_criteria_hold_for_the_figures_of_the_card():
    verdicts = example()
    assert [id for id, verdict in verdicts.items() if verdict == HOLDS] == [
        claim.id for claim in REPRODUCTION.claims if claim.criterion is not None
    ]


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"pooled": 0.66}, "finds what Chamfer finds"),
        ({"bags": {**CARD_BAGS, FILLED: (0.61, 0.65, 0.83, 0.84)}}, "finds what Chamfer finds"),
        ({"bags": {**CARD_BAGS, UNFILLED: CARD_BAGS[FILLED]}}, "means and filling are the cause"),
        ({"bags": {**CARD_BAGS, SHAM: (0.4, 0.34, 0.66, 0.69)}}, "means and filling are the cause"),
        ({"bags": {**CARD_BAGS, FILLED: (0.66, 0.65, 0.83, 0.92)}}, "better with more dimensions"),
        ({"tokens": {**CARD_TOKENS, SMALL: 0.71}}, "better with more dimensions"),
        ({"heuristic": 0.68}, "better than searching each query vector"),
        ({"reranked": 0.965}, "exact after re-ranking"),
        ({"wrong": 0.055}, "one seed for both sides"),
        ({"pq10": 0.92}, "32 times smaller by product quantisation"),
        ({"pq50": 0.97}, "32 times smaller by product quantisation"),
        ({"projected": 0.76}, "final projection"),
    ],
)
def test_each_bound_counts(change, claim):
    assert example(**change)[claim] == FAILS


def test_superiority_over_mean_pooling_on_tokens_is_not_claimed():
    claim = next(claim for claim in REPRODUCTION.claims if claim.id == "better than mean pooling on token vectors")
    assert claim.criterion is None
