"""Every measure of the health report against a brute-force oracle."""

import dataclasses

import numpy as np
import pytest
from health_testing import cosines, crowded, gaussian
from scipy import stats

import polyvec.assess.blocks
from polyvec.assess.health import health_report
from polyvec.assess.health.anisotropy import mean_cosine
from polyvec.assess.health.dimensions import dead_dimensions, duplicate_dimensions
from polyvec.assess.health.duplicates import exact_copies, wilson_interval
from polyvec.assess.health.hubness import occurrences, skewness
from polyvec.assess.health.neighbours import compare_with_references, neighbours_within
from polyvec.assess.health.outliers import modified_z_scores
from polyvec.assess.health.rows import Rows
from polyvec.assess.health.scan import scan
from polyvec.core.progress import ProgressHandle
from polyvec.search import scoring

HANDLE = ProgressHandle()


@pytest.fixture(scope="module")
def data():
    return crowded()


@pytest.fixture(scope="module")
def report(data):
    return health_report(data, show_progress=False)


def rank_of(matrix):
    shares = np.linalg.svd(np.asarray(matrix, dtype=np.float64), compute_uv=False)
    shares = shares / shares.sum() + 1e-7
    return np.exp(-np.sum(shares * np.log(shares)))


def test_effective_rank_and_its_curve(data, report):
    details = report["effective_rank"].details
    assert details["rankme"] == pytest.approx(rank_of(data), rel=1e-6)
    assert report["effective_rank"].value == pytest.approx((rank_of(data) - 1) / 11, rel=1e-6)
    curve = report.series["rank_curve"]
    assert curve["rows"][-1] == len(data)
    assert curve["rows"] == sorted(set(curve["rows"]))
    assert curve["rank"][-1] == pytest.approx(rank_of(data), rel=1e-6)
    assert report["rank_growth"].value == pytest.approx(curve["rank"][-1] / curve["rank"][-2] - 1)
    small = gaussian(900, 300, seed=5)  # still growing: 300 dimensions cannot show in 450 rows
    assert health_report(small, show_progress=False)["rank_growth"].status == "warn"
    spectrum = np.linalg.svd(data.astype(np.float64), compute_uv=False)
    assert report.series["spectrum"]["singular_value"] == pytest.approx(list(spectrum / spectrum.sum()), rel=1e-6)


def test_variance_in_the_first_direction(data, report):
    eigenvalues = np.linalg.eigvalsh(np.cov(data.astype(np.float64).T))
    share = eigenvalues[-1] / eigenvalues.sum()
    assert report["leading_direction"].details["share"] == pytest.approx(share, rel=1e-6)
    assert report["leading_direction"].value == pytest.approx((share - 1 / 12) / (11 / 12), rel=1e-6)


def test_mean_cosine_is_that_of_all_pairs(data, report):
    scores = cosines(data)
    pairs = scores[~np.eye(len(data), dtype=bool)]
    assert report["mean_cosine"].value == pytest.approx(pairs.mean(), abs=1e-9)
    unit = data[:7].astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    expected = np.mean([unit[a] @ unit[b] for a in range(7) for b in range(7) if a != b])
    assert mean_cosine(unit.sum(axis=0), 7) == pytest.approx(expected)


def test_largest_share_of_one_dimension(data, report):
    unit = data.astype(np.float64) / np.linalg.norm(data.astype(np.float64), axis=1, keepdims=True)
    shares = (unit**2).mean(axis=0)
    details = report["dominant_dimension"].details
    assert details["dimension"] == shares.argmax()
    assert details["share"] == pytest.approx(shares.max(), rel=1e-6)


def test_hubness_and_orphans(data, report):
    nearest = np.argsort(-cosines(data), axis=1, kind="stable")[:, :10]
    times = np.bincount(nearest.ravel(), minlength=len(data))
    assert report["hubness"].value == pytest.approx(stats.skew(times), abs=1e-9)
    assert report["hubness"].details["largest"] == times.max()
    assert report["hubness"].examples[0].ids == (int(times.argmax()),)
    assert report["orphans"].value == pytest.approx((times == 0).mean())
    series = report.series["occurrences"]
    assert dict(zip(series["times"], series["rows"], strict=True)) == dict(
        zip(*(part.tolist() for part in np.unique(times, return_counts=True)), strict=True)
    )
    assert sum(series["rows"]) == len(data)


def test_skewness():
    counts = np.random.default_rng(0).geometric(0.1, size=500)
    assert skewness(counts) == pytest.approx(stats.skew(counts))
    assert skewness(np.full(9, 4)) == 0
    assert occurrences(np.array([[1, 2], [2, 0], [1, 0]])).tolist() == [2, 2, 2]


@pytest.mark.parametrize("elements", [1 << 24, 5000])
def test_neighbours_within_a_sample(data, elements, monkeypatch):
    monkeypatch.setattr(scoring, "_BLOCK", elements)  # also in blocks that do not divide the rows
    unit = Rows(data).units(np.arange(len(data)))
    found = neighbours_within(unit, np.arange(len(data)), 4, HANDLE)
    scores = cosines(data)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :4]
    assert (found.nearest == order).mean() > 0.999  # float32 may swap what float64 can just tell apart
    assert found.cosines == pytest.approx(np.take_along_axis(scores, order, axis=1), abs=1e-6)


@pytest.mark.parametrize("values", [1 << 22, 500])
def test_comparison_with_reference_rows(data, values, monkeypatch):
    monkeypatch.setattr(polyvec.assess.blocks, "_BLOCK_VALUES", values)
    generator = np.random.default_rng(3)
    wanted = np.sort(generator.choice(len(data), 600, replace=False))
    references = generator.choice(wanted, 50, replace=False)
    data = data.copy()
    data[wanted[7]] = 2 * data[references[3]] + 1e-4
    found = compare_with_references(Rows(data), wanted, references, 5, HANDLE)
    scores = cosines(data)[np.ix_(wanted, references)]
    assert found.closeness == pytest.approx(np.sort(scores, axis=1)[:, -5:].mean(axis=1), abs=1e-6)
    assert found.best_cosine == pytest.approx(scores.max(axis=0), abs=1e-6)
    assert (found.best == wanted[scores.argmax(axis=0)]).mean() > 0.95
    assert found.best[3] == wanted[7]
    assert found.near.tolist() == (scores > 0.999).sum(axis=0).tolist()
    assert found.near[3] == 1


@pytest.mark.parametrize("values", [1 << 22, 100])
def test_exact_copies(values, monkeypatch):
    monkeypatch.setattr(polyvec.assess.blocks, "_BLOCK_VALUES", values)
    generator = np.random.default_rng(0)
    matrix = generator.integers(-2, 3, size=(400, 4)).astype(np.float32)  # 625 possible rows: many copies
    matrix[matrix == 0] *= generator.choice([1.0, -1.0], size=(matrix == 0).sum())  # -0 equals 0
    _, first, counts = np.unique(matrix + 0.0, axis=0, return_index=True, return_counts=True)
    rows = Rows(matrix)
    copies = exact_copies(scan(rows, HANDLE), rows)
    assert sorted(np.flatnonzero(copies.first)) == sorted(first)
    assert copies.number == (counts > 1).sum()
    assert len(copies.groups[0]) == counts.max()
    for group in copies.groups:
        assert group.tolist() == np.flatnonzero((matrix == matrix[group[0]]).all(axis=1)).tolist()
    finding = health_report(matrix, show_progress=False)["exact_copies"]
    assert finding.value == pytest.approx((400 - len(first)) / 400)
    assert finding.details["rows"] == 400 - len(first)


def test_a_collision_of_hashes_makes_no_copies(data):
    rows = Rows(data)
    scanned = scan(rows, HANDLE)
    assert len(np.unique(scanned.hashes)) == len(data)
    colliding = dataclasses.replace(scanned, hashes=np.zeros(len(data), dtype=np.uint64))
    assert exact_copies(colliding, rows).first.all()


def test_hashes_tell_signs_and_single_bits_apart():
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(20_000, 32)).astype(np.float32)
    distinct = len(np.unique(signs, axis=0))
    assert len(np.unique(scan(Rows(signs), HANDLE).hashes)) == distinct
    steps = np.ones((64, 3), dtype=np.float32)
    steps[:, 1] += np.arange(64) * np.float32(2**-23)
    assert len(np.unique(scan(Rows(steps), HANDLE).hashes)) == 64


def test_near_duplicates_without_exact_copies(data):
    data = data.copy()
    data[10] = 3 * data[11]  # same direction, another length
    data[20] = data[21]  # an exact copy is none
    finding = health_report(data, show_progress=False)["near_duplicates"]
    different = np.delete(data, 21, axis=0)
    assert finding.details["rows"] == (cosines(different).max(axis=1) > 0.999).sum()
    assert finding.value == pytest.approx(finding.details["rows"] / len(different))
    assert finding.examples[0].ids == (10, 11)


def test_wilson_interval():
    for hits, trials in ((0, 50), (3, 50), (50, 50), (400, 1000)):
        expected = stats.binomtest(hits, trials).proportion_ci(method="wilson")
        assert wilson_interval(hits, trials) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_dead_and_duplicate_dimensions(data):
    data = data.copy()
    data[:, 2] = 7
    data[:, 5] = -3 * data[:, 4] + 2
    data[:, 9] = 0.5 * data[:, 4] - 1
    scanned = scan(Rows(data), HANDLE)
    dead = dead_dimensions(scanned.lowest, scanned.highest)
    assert dead.tolist() == [2]
    repeats = duplicate_dimensions(scanned.moments, dead)
    alive = np.delete(np.arange(12), 2)
    correlation = np.abs(np.corrcoef(data[:, alive].astype(np.float64).T))
    pairs = np.argwhere(np.triu(correlation > 1 - 1e-6, k=1))
    assert repeats == {9: 4, 5: 4}
    assert {tuple(alive[pair]) for pair in pairs} == {(4, 5), (4, 9), (5, 9)}


def test_a_dimension_that_varies_by_rounding_is_dead():
    data = gaussian(200, 6)
    data[:, 1] = 0.7 + np.random.default_rng(0).integers(-1, 2, size=200) * 6e-8
    data[:, 3] *= 1e-12  # small is not dead
    data[:, 4] += 1000  # nor is a large offset
    scanned = scan(Rows(data), HANDLE)
    assert dead_dimensions(scanned.lowest, scanned.highest).tolist() == [1]


def test_norms(data, report):
    lengths = np.linalg.norm(data.astype(np.float64), axis=1)
    finding = report["norm_spread"]
    assert finding.value == pytest.approx(lengths.std() / lengths.mean())
    assert finding.details["median"] == pytest.approx(np.median(lengths))
    assert finding.details["percentile_99"] == pytest.approx(np.quantile(lengths, 0.99))
    assert not finding.details["normalized"]
    unit = data / np.linalg.norm(data, axis=1, keepdims=True)
    assert health_report(unit, show_progress=False)["norm_spread"].details["normalized"]
    assert sum(report.series["norms"]["rows"]) == len(data)


def test_modified_z_scores():
    numbers = np.random.default_rng(0).lognormal(size=300)
    expected = (numbers - np.median(numbers)) / stats.median_abs_deviation(numbers, scale="normal")
    assert modified_z_scores(numbers, 0.0) == pytest.approx(expected, rel=1e-4)
    assert modified_z_scores(np.ones(5), 0.0).tolist() == [0] * 5
    assert modified_z_scores(np.array([1.0, 1, 1, 1, 2]), 0.1)[-1] == pytest.approx(6.745)


def test_outliers_by_norm_and_by_neighbours(data, report):
    lengths = np.linalg.norm(data.astype(np.float64), axis=1)
    scores = (lengths - np.median(lengths)) / stats.median_abs_deviation(lengths, scale="normal")
    assert report["norm_outliers"].details["rows"] == (np.abs(scores) > 3.5).sum()
    closeness = np.sort(cosines(data), axis=1)[:, -10:].mean(axis=1)
    scores = (closeness - np.median(closeness)) / stats.median_abs_deviation(closeness, scale="normal")
    assert report["lonely_rows"].details["rows"] == (scores < -3.5).sum()
    assert report["lonely_rows"].details["median"] == pytest.approx(np.median(closeness), abs=1e-6)
    assert report["lonely_rows"].examples[0].ids == (int(closeness.argmin()),)


def test_cosines_of_random_pairs_and_neighbours(data, report):
    series = report.series["cosines"]
    assert sum(series["random_pairs"]) == pytest.approx(1)
    edges = np.array(series["edges"])
    middle = (edges[:-1] + edges[1:]) / 2
    nearest = cosines(data).max(axis=1)
    assert np.dot(middle, series["nearest"]) == pytest.approx(nearest.mean(), abs=0.03)
    assert np.dot(middle, series["random_pairs"]) == pytest.approx(report["mean_cosine"].value, abs=0.06)


def test_deviations(data, report):
    expected = np.sort(data.astype(np.float64).std(axis=0))[::-1]
    assert report.series["deviations"]["standard_deviation"] == pytest.approx(list(expected), rel=1e-6)
