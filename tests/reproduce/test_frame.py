import json
from dataclasses import replace

import pytest

from polyvec.core.errors import FileProblemError, FormatError, InvalidValueError, NotFoundError
from polyvec.reproduce import runner
from polyvec.reproduce.base import DEFAULT_SEEDS, Reproduction
from polyvec.reproduce.criteria import all_of, at_least, at_most, measured
from polyvec.reproduce.report import FAILS, HOLDS, NOT_JUDGED, Claim, Report, compare, judge


@pytest.fixture
def report():
    result = Report("demo", "small", [0, 1, 2])
    for seed, (ours, theirs) in enumerate([(0.9, 0.7), (0.8, 0.75), (0.7, 0.72)]):
        result.record("ours", "accuracy", ours, seed)
        result.record("theirs", "accuracy", theirs, seed)
    return result


@pytest.mark.parametrize(
    ("criterion", "holds"),
    [
        (at_least(measured("ours", "accuracy"), 0.79), True),
        (at_least(measured("ours", "accuracy"), 0.81), False),
        (at_least(measured("ours", "accuracy", "min"), 0.7), True),
        (at_most(measured("ours", "accuracy", "max"), 0.9), True),
        (at_least(measured("ours", "accuracy"), measured("theirs", "accuracy") + 0.07), True),
        (at_least(measured("ours", "accuracy"), 1.2 * measured("theirs", "accuracy")), False),
        (at_least(measured("ours", "accuracy") - measured("theirs", "accuracy"), 0, every_seed=True), False),
        (at_least(measured("ours", "accuracy"), measured("theirs", "accuracy") - 0.03, every_seed=True), True),
        (all_of(at_least(measured("ours", "accuracy"), 0.5), at_most(measured("ours", "accuracy"), 0.6)), False),
    ],
)
def test_criteria_are_computed_from_the_rows(report, criterion, holds):
    outcome = criterion.judge(report)
    assert outcome.holds is holds
    assert "accuracy of ours" in criterion.text()
    assert any(character.isdigit() for character in outcome.text)


def test_a_criterion_on_something_not_recorded_is_an_error(report):
    with pytest.raises(NotFoundError, match="'speed' of 'ours'"):
        at_least(measured("ours", "speed"), 1).judge(report)
    report.record("extra", "accuracy", 1.0, 0)
    with pytest.raises(NotFoundError, match="seed 1"):
        at_least(measured("extra", "accuracy"), measured("ours", "accuracy"), every_seed=True).judge(report)
    with pytest.raises(InvalidValueError, match="reduce"):
        measured("a", "b", "best")


def test_numbers_that_are_not_finite_or_come_twice_are_refused(report):
    for value in (float("nan"), float("inf")):
        with pytest.raises(InvalidValueError, match="finite"):
            report.record("ours", "loss", value, 0)
    with pytest.raises(InvalidValueError, match="already"):
        report.record("ours", "accuracy", 0.5, 0)


def test_verdicts(report):
    good = Claim("a", "ours is right", at_least(measured("ours", "accuracy"), 0.5))
    bad = Claim("b", "ours is perfect", at_least(measured("ours", "accuracy"), 1.0))
    never = Claim("c", "ours wins on the moon", reason="no moon here")
    later = replace(bad, id="d", scales=("full",))
    report.verdicts = [judge(claim, report) for claim in (good, bad, never, later)]
    assert [verdict.verdict for verdict in report.verdicts] == [HOLDS, FAILS, NOT_JUDGED, NOT_JUDGED]
    assert report.verdict == "1 of 2 claims hold"
    assert not report.all_hold
    with pytest.raises(InvalidValueError, match="reason"):
        Claim("e", "no criterion and no reason")


def test_reports_survive_the_disk_and_damage_is_an_error(report, tmp_path):
    report.verdicts = [judge(Claim("a", "right", at_least(measured("ours", "accuracy"), 0.5)), report)]
    report.save(tmp_path / "r.json")
    assert Report.load(tmp_path / "r.json") == report
    for damage in (
        "",
        "{",
        "[]",
        '{"format": 99}',
        '{"format": 1}',
        '{"format": 1, "rows": [], "verdicts": [], "x": 1}',
    ):
        (tmp_path / "bad.json").write_text(damage)
        with pytest.raises(FormatError, match=r"bad\.json"):
            Report.load(tmp_path / "bad.json")
    with pytest.raises(FileProblemError):
        Report.load(tmp_path / "none.json")


def test_compare_shows_changed_figures_and_verdicts(report):
    other = Report.from_dict(json.loads(json.dumps(report.to_dict())))
    other.rows = [replace(row, value=row.value + 0.1) for row in other.rows if row.method == "ours"]
    changes = {(change.method, change.metric): (change.old, change.new) for change in compare(report, other)}
    assert changes["ours", "accuracy"] == pytest.approx((0.8, 0.9))
    assert changes["theirs", "accuracy"][1] is None
    with pytest.raises(InvalidValueError, match="same system"):
        compare(report, Report("another", "small", [0]))


def make_plan(calls, fail_at=None):
    def run(run, settings):
        if run.seed == fail_at:
            raise KeyboardInterrupt
        calls.append(run.seed)
        run.record("ours", "accuracy", settings["base"] + run.seed / 100)
        run.uses("digits", "1.0")
        run.note("a remark")

    def plot(report, figure):
        figure.add_subplot().plot(list(report.values("ours", "accuracy").values()))

    claim = Claim("a", "right", at_least(measured("ours", "accuracy"), 0.5), scales=("smoke", "small"))
    return Reproduction(
        "mrl", (claim,), {"smoke": {"base": -1.0}, "small": {"base": 0.6}}, run, plot, DEFAULT_SEEDS, ("differs",)
    )


@pytest.fixture
def plan(monkeypatch, tmp_path):
    monkeypatch.setenv("POLYVEC_CACHE", str(tmp_path / "cache"))

    def install(**options):
        calls = []
        made = make_plan(calls, **options)
        monkeypatch.setattr(runner, "reproduction", lambda slug: made)
        return calls

    return install


def test_a_run_writes_json_and_plot(plan, tmp_path):
    calls = plan()
    report = runner.run_reproduction("mrl", "small", to=tmp_path / "out", show_progress=False)
    assert calls == [0, 1, 2]
    assert report.verdict == "1 of 1 claims hold"
    assert report.data == {"digits": "1.0"}
    assert report.notes == ["differs", "a remark"]
    assert {"python", "numpy", "torch"} <= set(report.versions)
    assert report.machine["cores"] >= 1
    assert Report.load(tmp_path / "out/mrl/small.json") == report
    assert (tmp_path / "out/mrl/small.png").read_bytes().startswith(b"\x89PNG")
    assert runner.run_reproduction("mrl", "smoke", to=None).verdict == "0 of 1 claims hold"


def test_an_interrupted_run_goes_on_where_it_stopped(plan, tmp_path):
    plan(fail_at=2)
    with pytest.raises(KeyboardInterrupt):
        runner.run_reproduction("mrl", "small", to=tmp_path / "out", show_progress=False)
    assert not (tmp_path / "out").exists()
    calls = plan()
    runner.run_reproduction("mrl", "small", to=tmp_path / "out", show_progress=False)
    assert calls == [2]
    calls = plan()
    runner.run_reproduction("mrl", "small", to=tmp_path / "out", show_progress=False)
    assert calls == [0, 1, 2]  # a finished run is not taken over by the next one


def test_other_seeds_do_not_overwrite_the_official_result(plan, tmp_path):
    plan()
    runner.run_reproduction("mrl", "small", seeds=[100, 101], to=tmp_path / "out", show_progress=False)
    assert sorted(path.name for path in (tmp_path / "out/mrl").iterdir()) == [
        "small-seeds-100-101.json",
        "small-seeds-100-101.png",
    ]


def test_bad_requests():
    with pytest.raises(NotFoundError, match="no system"):
        runner.reproduction("nothing-like-it")
    with pytest.raises(NotFoundError, match="planned"):
        runner.reproduction("uniter")
    with pytest.raises(InvalidValueError, match="scale"):
        runner.run_reproduction("mrl", "huge")
    with pytest.raises(InvalidValueError, match="seeds"):
        runner.run_reproduction("mrl", "small", seeds=[])


def test_every_reproduction_has_the_three_scales_and_claims():
    ready = runner.reproducible()
    assert {"rankme", "fastrp", "mrl"} <= set(ready)
    for slug in ready:
        plan = runner.reproduction(slug)
        assert plan.slug == slug
        assert set(plan.settings) == {"smoke", "small", "full"}
        assert any(claim.criterion is not None and "small" in claim.scales for claim in plan.claims)
        assert len({claim.id for claim in plan.claims}) == len(plan.claims)
        assert not set(plan.seeds["small"]) & {100, 101, 102}


def test_committed_results_are_complete_and_agree_with_the_code():
    for slug in runner.reproducible():
        report = runner.committed_report(slug)
        assert report is not None, f"results/{slug}/small.json is missing"
        plan = runner.reproduction(slug)
        assert tuple(report.seeds) == plan.seeds["small"]
        assert report.settings == json.loads(json.dumps(dict(plan.settings["small"])))
        assert [verdict.id for verdict in report.verdicts] == [claim.id for claim in plan.claims]
        assert [judge(claim, report) for claim in plan.claims] == report.verdicts
