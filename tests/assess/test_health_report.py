"""The health report as a whole: what it says of sound and of damaged vectors, and what it refuses."""

import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from health_testing import crowded, gaussian, values

import polyvec.assess.blocks
from polyvec.assess.health import dimensions, effective_rank, examine, health_report
from polyvec.assess.health import scan as scan_module
from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFoundError
from polyvec.core.vectors import Vectors


def examined(data, **options):
    return health_report(data, show_progress=False, **options)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rows", "dim"), [(500, 8), (1500, 16), (2500, 128)])
def test_sound_data_get_no_warning(rows, dim, seed):
    report = examined(gaussian(rows, dim, seed))
    assert report.status == "ok", report
    assert {finding.status for finding in report.findings} == {"ok"}


# -- planted defects ---------------------------------------------------------------------------------------------------


def nan_rows(data):
    data[[3, 40]] = np.nan
    data[50, 2] = np.inf


def zero_rows(data):
    data[[5, 6]] = 0


def collapse_to_a_line(data):
    data[:] = data[:, :1] * np.arange(1, data.shape[1] + 1)


def nearly_collapse(data):
    data[:, 1:] *= 1e-3


def dominant_mean(data):
    data += 10


def dominant_dimension(data):
    data[:, 3] *= 30


def one_loud_direction(data):
    data += 12 * np.random.default_rng(1).normal(size=(len(data), 1)) * np.ones(data.shape[1])


def hubs(data):
    """A thin cone around a direction that a few rows point at exactly: they are the nearest of all."""
    data += 1.5
    data[:4] = 1.5 + 0.01 * data[:4]


def dead(data):
    data[:, [2, 7]] = [0.0, 3.5]


def doubled_dimensions(data):
    data[:, 8:16] = -2 * data[:, :8]


def many_copies(data):
    data[100:400] = data[99]


def near_copies(data):
    data[100:200] = data[:100] * 1.5 + 1e-4


def long_rows(data):
    data[:20] *= 40


def strangers(data):
    """All in a tight cone but a few, which have nobody near."""
    data *= 0.2
    data[:, 0] += 5
    data[:15] = 25 * np.eye(data.shape[1], dtype=np.float32)[1:16]


def wild_norms(data):
    data *= np.exp(2.5 * np.random.default_rng(0).normal(size=(len(data), 1)))


@pytest.mark.parametrize(
    ("damage", "key", "status"),
    [
        (nan_rows, "invalid_rows", "bad"),
        (zero_rows, "zero_vectors", "warn"),
        (collapse_to_a_line, "effective_rank", "bad"),
        (nearly_collapse, "effective_rank", "bad"),
        (collapse_to_a_line, "duplicate_dimensions", "bad"),
        (collapse_to_a_line, "leading_direction", "bad"),
        (dominant_mean, "mean_cosine", "bad"),
        (dominant_mean, "effective_rank", "warn"),
        (dominant_dimension, "dominant_dimension", "bad"),
        (one_loud_direction, "leading_direction", "bad"),
        (hubs, "hubness", "bad"),
        (hubs, "orphans", "warn"),
        (dead, "dead_dimensions", "warn"),
        (doubled_dimensions, "duplicate_dimensions", "bad"),
        (many_copies, "exact_copies", "bad"),
        (near_copies, "near_duplicates", "warn"),
        (long_rows, "norm_outliers", "warn"),
        (strangers, "lonely_rows", "warn"),
        (wild_norms, "norm_spread", "bad"),
    ],
)
def test_a_planted_defect_is_found(damage, key, status):
    data = gaussian()
    before = examined(data)[key]
    damage(data)
    after = examined(data)[key]
    assert (before.status, after.status) == ("ok", status)
    assert after.advice
    assert after.source
    assert after.threshold


def test_the_planted_rows_are_named():
    ids = [f"doc{number}" for number in range(1200)]
    data = gaussian()
    nan_rows(data)
    zero_rows(data)
    data[100] = data[99]
    data[300] = 2 * data[299]
    data[7] *= 100
    report = examined(Vectors(data, ids=ids))
    assert report["invalid_rows"].examples[0].ids == ("doc3", "doc40", "doc50")
    assert report["invalid_rows"].details == {"with_nan": 2, "with_infinity": 1}
    assert report["zero_vectors"].examples[0].ids == ("doc5", "doc6")
    assert report["exact_copies"].examples[0].ids == ("doc99", "doc100")
    assert report["near_duplicates"].examples[0].ids == ("doc299", "doc300")
    assert report["norm_outliers"].examples[0].ids == ("doc7",)
    assert any("3 rows with NaN or infinity" in statement for statement in report.statements)
    assert any("2 vectors of zeros" in statement for statement in report.statements)
    assert any("1 exact copy left out" in statement for statement in report.statements)


def test_rows_with_nan_change_nothing_else():
    data = crowded()
    damaged = np.insert(data, [0, 50, 700], np.nan, axis=0)
    damaged[0, 1:] = 0
    clean, report = examined(data), examined(damaged)
    assert report["invalid_rows"].value == 3
    assert report.examined == clean.examined == 700
    expected, found = values(clean), values(report)
    del expected["invalid_rows"], found["invalid_rows"]
    assert found == pytest.approx(expected, rel=1e-12)


# -- determinism and invariance ----------------------------------------------------------------------------------------


def test_same_seed_same_report():
    data = crowded(900)
    first, second = (examined(data, sample=200, seed=4) for _ in range(2))
    assert first == second
    assert first.to_json() == second.to_json()
    other = examined(data, sample=200, seed=5)
    assert other.series["rank_curve"] != first.series["rank_curve"]
    assert examined(data, seed=None)["mean_cosine"].value == first["mean_cosine"].value


def test_scale_does_not_matter():
    data = crowded()
    assert values(examined(data * 8)) == pytest.approx(values(examined(data)), rel=1e-12)


def test_rotation_matters_to_dimensions_only():
    data = crowded()
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
    before, after = values(examined(data.astype(np.float64))), values(examined(data @ rotation))
    for key in ("dominant_dimension", "hubness", "orphans"):
        del before[key], after[key]
    assert after == pytest.approx(before, rel=1e-5, abs=1e-9)


def test_order_of_rows_does_not_matter():
    data = crowded()
    before, after = values(examined(data)), values(examined(data[::-1].copy()))
    del before["rank_growth"], after["rank_growth"]  # of random subsets
    assert after == pytest.approx(before, rel=1e-9, abs=1e-12)


# -- kinds of input ----------------------------------------------------------------------------------------------------


def test_every_kind_of_matrix_gets_the_same_report():
    data = crowded(300).astype(np.float16).astype(np.float32)
    expected = values(examined(data))
    kinds = [
        data.astype(np.float64), data.astype(np.float16), np.asfortranarray(data), data.tolist(), pd.DataFrame(data),
        torch.from_numpy(data), torch.from_numpy(data).half(), Vectors(data, ids=[f"a{n}" for n in range(300)]),
    ]  # fmt: skip
    for kind in kinds:
        assert values(examined(kind)) == pytest.approx(expected, rel=1e-6, abs=1e-9), type(kind)
    whole = np.random.default_rng(0).integers(-9, 9, size=(300, 7))
    assert values(examined(whole)) == values(examined(whole.astype(np.float64)))


def test_input_is_left_alone():
    data = crowded(300).astype(np.float64)
    data[3] = np.nan
    data[4] = -0.0
    before = data.copy()
    data.flags.writeable = False
    examined(data)
    assert np.array_equal(data, before, equal_nan=True)


def test_a_mapped_file_is_never_copied_whole(tmp_path, monkeypatch):
    path = tmp_path / "vectors.npy"
    np.save(path, gaussian(40_000, 192))
    size = path.stat().st_size
    mapped = Vectors.load(path, memory_map=True)
    assert isinstance(mapped.matrix, np.memmap)
    monkeypatch.setattr(polyvec.assess.blocks, "_BLOCK_VALUES", 1 << 16)
    examined(mapped[:500])  # what is imported along the way is not counted
    tracemalloc.start()
    report = examined(mapped, sample=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.35 * size
    assert (report.examined, report.sample, report["effective_rank"].status) == (40_000, 300, "ok")


def test_a_sample_stands_for_all():
    data = crowded(4000)
    data[1000:1400] = data[:400] * 2 + 1e-4
    exact, sampled = examined(data), examined(data, sample=1500)
    assert (exact.sample, sampled.sample) == (4000, 1500)
    assert any("1,500 rows drawn at random" in statement for statement in sampled.statements)
    exact_values, sampled_values = values(exact), values(sampled)
    for key in ("effective_rank", "mean_cosine", "exact_copies", "norm_outliers", "norm_spread", "dead_dimensions"):
        assert sampled_values[key] == exact_values[key]
    finding = sampled["near_duplicates"]
    assert finding.details["compared"] == 1000
    assert finding.details["low"] < exact_values["near_duplicates"] < finding.details["high"]
    assert finding.status == exact["near_duplicates"].status == "warn"


def test_a_stranger_among_many_is_found_though_only_a_sample_is_compared():
    data = gaussian(3000, 16)
    data *= 0.2
    data[:, 0] += 5
    data[1234] = 30 * np.eye(16)[5]
    finding = examined(data, sample=100)["lonely_rows"]
    assert finding.examples[0].ids == (1234,)
    assert "z -" in finding.examples[0].note
    assert finding.details["rows"] >= 1


def test_a_crowd_is_no_stranger():
    data = gaussian(800)
    data[:60] = data[0] + 0.2 * data[:60]  # far nearer to each other than the rest
    finding = examined(data)["lonely_rows"]
    assert finding.details["rows"] == 0
    assert finding.examples[0].ids[0] >= 60


# -- little, flat and wide data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 3, 9, 10, 19, 20, 99, 100, 101])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_few_rows_say_what_cannot_be_computed(rows, dim):
    report = examined(gaussian(rows, dim))
    json.loads(report.to_json())
    for finding in report.of_status("not computed"):
        assert finding.value is None
        assert finding.shown.startswith(("needs at least", "there is only one", "all vectors"))
    assert report["invalid_rows"].status == "ok"
    assert (report["mean_cosine"].status == "not computed") == (rows < 10)
    assert (report["hubness"].status == "not computed") == (rows < 100)
    assert (report["exact_copies"].status == "not computed") == (rows < 2)
    assert (report["effective_rank"].status == "not computed") == (rows < 10 or dim == 1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            np.full((50, 4), np.nan),
            {"invalid_rows": "bad", "zero_vectors": "not computed", "mean_cosine": "not computed"},
        ),
        (np.full((50, 4), np.inf), {"invalid_rows": "bad"}),
        (np.zeros((50, 4)), {"zero_vectors": "bad", "exact_copies": "not computed", "effective_rank": "bad"}),
        (np.ones((150, 4)), {"exact_copies": "bad", "effective_rank": "bad", "dead_dimensions": "bad"}),
        (np.repeat(np.eye(3), 50, axis=0), {"exact_copies": "bad"}),
        (np.eye(150), {"mean_cosine": "ok", "effective_rank": "ok"}),
        (np.full((30, 3), 1e30, dtype=np.float32), {"mean_cosine": "bad"}),
        (np.arange(200.0)[:, None] - 50, {"mean_cosine": "ok", "dominant_dimension": "not computed"}),
    ],
)
def test_degenerate_data_get_a_report(data, expected):
    report = examined(data)
    assert {key: report[key].status for key in expected} == expected
    json.dumps(report.to_dict(), allow_nan=False)
    assert str(report)


@pytest.mark.parametrize("data", [np.full((50, 4), np.nan), np.zeros((50, 4)), np.ones((150, 4)), np.ones((1, 1))])
def test_degenerate_reports_can_be_drawn(data, tmp_path):
    report = examined(data)
    report.save_html(tmp_path / "report.html")
    report.save_png(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 10_000
    assert "Findings" in (tmp_path / "report.html").read_text()


def test_more_dimensions_than_rows():
    data = gaussian(40, 300)
    report = examined(data)
    details = report["effective_rank"].details
    assert (details["possible"], details["capped"]) == (40, True)
    assert "fewer rows than dimensions" in report["effective_rank"].meaning
    shares = np.linalg.svd(data.astype(np.float64), compute_uv=False)
    shares = shares / shares.sum() + 1e-7
    assert details["rankme"] == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-6)


def test_very_many_dimensions_are_examined_on_a_sample_of_rows(monkeypatch):
    data = gaussian(600, 48)
    narrow = examined(data)
    for module in (scan_module, effective_rank, dimensions):
        monkeypatch.setattr(module, "LARGEST_GRAM", 20)
    for module in (examine, effective_rank):
        monkeypatch.setattr(module, "_LARGEST_COPY", 200 * 48)
    wide = examined(data)
    assert wide["duplicate_dimensions"].status == "not computed"
    assert wide["effective_rank"].details["n"] == 20
    assert "from 20 rows" in wide["effective_rank"].shown
    assert wide.sample == 200
    assert wide["mean_cosine"].value == narrow["mean_cosine"].value
    assert wide["dead_dimensions"] == narrow["dead_dimensions"]


# -- texts, and what is refused ----------------------------------------------------------------------------------------


def test_texts_come_with_examples():
    data = gaussian(200, 8)
    data[50], data[61] = data[51], data[60]
    texts = [f"text  of\n{number}" for number in range(200)]
    texts[60] = texts[61]
    finding = examined(data, texts=texts)["exact_copies"]
    notes = {example.ids: example.note for example in finding.examples}
    assert notes[(50, 51)] == "2 equal rows; different texts"
    assert notes[(60, 61)] == "2 equal rows; same text"
    assert finding.examples[0].texts == ("text of 50", "text of 51")
    ids = [f"id{number}" for number in range(200)]
    by_id = dict(zip(ids, texts, strict=True))
    looked_up = examined(Vectors(data, ids=ids), texts=lambda wanted: [by_id[key] for key in wanted])["exact_copies"]
    assert looked_up.examples[0].texts == ("text of 50", "text of 51")
    long = examined(data, texts=["word " * 1000] * 200)["exact_copies"].examples[0]
    assert len(long.texts[0]) <= 200


def test_unknown_finding():
    report = examined(gaussian(50, 3))
    with pytest.raises(NotFoundError, match="no finding is called 'rank'; there are invalid_rows, "):
        report["rank"]


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (np.zeros((0, 4)), {}, InvalidValueError, "at least one of each"),
        (np.zeros(4), {}, InvalidValueError, "one vector"),
        (np.zeros((4, 0)), {}, InvalidValueError, "dimensions"),
        ([["a", "b"]], {}, InvalidTypeError, "needs real numbers"),
        (np.ones((3, 3), dtype=complex), {}, InvalidTypeError, "needs real numbers"),
        (scipy.sparse.eye(9).tocsr(), {}, InvalidTypeError, "sparse"),
        ([[1.0], [1.0, 2.0]], {}, InvalidValueError, "different lengths"),
        (np.full((20, 2), 1e200), {}, InvalidValueError, "row 0 holds 1e\\+200"),
        (np.ones((20, 2)), {"sample": 99}, InvalidValueError, "sample: got 99, needs at least 100"),
        (np.ones((20, 2)), {"sample": True}, InvalidTypeError, "sample: got bool"),
        (np.ones((20, 2)), {"seed": -1}, InvalidValueError, "seed: got -1"),
        (np.ones((20, 2)), {"texts": ["a"]}, InvalidValueError, "texts: got 1 for 20 vectors"),
        (np.ones((20, 2)), {"texts": "a" * 20}, InvalidTypeError, "texts: got str"),
        (np.ones((20, 2)), {"texts": 3}, InvalidTypeError, "texts: got int"),
    ],
)
def test_bad_input_is_refused_in_one_line(data, options, error, message):
    with pytest.raises(error, match=message) as caught:
        examined(data, **options)
    assert "\n" not in str(caught.value)


def test_the_row_with_too_large_a_number_is_named_beside_rows_with_nan():
    data = np.ones((30, 2))
    data[2] = np.nan
    data[17, 1] = 1e190
    with pytest.raises(InvalidValueError, match="row 17 holds 1e\\+190"):
        examined(data)
