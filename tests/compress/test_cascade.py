import numpy as np
import pytest
import torch

from polyvec.compress import Cascade, fit_cascade
from polyvec.core.errors import InvalidTypeError, InvalidValueError

SIZES = (2, 4, 16)


def example(rows: int = 300, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Logits whose noise falls with the size."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(5, size=rows)
    clean = 4.0 * np.eye(5)[labels]
    return [clean + generator.normal(size=clean.shape) * noise for noise in (2.5, 1.5, 1.0)], labels


def softmax(row):
    weights = np.exp(row - row.max())
    return weights / weights.sum()


def test_prediction_equals_a_loop_over_items():
    logits, _ = example()
    cascade = Cascade(SIZES, (0.9, 0.6))
    result = cascade.predict(logits)
    for row in range(len(logits[0])):
        for size, part, threshold in zip(SIZES, logits, (0.9, 0.6, 0.0), strict=True):
            chances = softmax(part[row])
            if chances.max() >= threshold:
                assert (result.labels[row], result.sizes[row]) == (chances.argmax(), size)
                break
    assert result.expected_size == result.sizes.mean()
    assert set(result.sizes) == set(SIZES)


def test_extreme_thresholds():
    logits, _ = example()
    first, last = Cascade(SIZES, (0.0, 0.0)).predict(logits), Cascade(SIZES, (2.0, 2.0)).predict(logits)
    assert np.array_equal(first.labels, logits[0].argmax(1))
    assert set(first.sizes) == {2}
    assert np.array_equal(last.labels, logits[-1].argmax(1))
    assert set(last.sizes) == {16}


def losses(part, full, labels):
    return (full.argmax(1) == labels).astype(int) - (part.argmax(1) == labels)


@pytest.mark.parametrize("tolerance", [0.0, 0.02])
@pytest.mark.parametrize("seed", range(4))
def test_first_threshold_is_the_lowest_allowed_with_all_higher_ones(tolerance, seed):
    logits, labels = example(seed=seed)
    threshold = fit_cascade(logits, labels, SIZES, tolerance=tolerance).thresholds[0]
    confidence = np.array([softmax(row).max() for row in logits[0]])
    lost = losses(logits[0], logits[-1], labels)
    allowed = [value for value in confidence if lost[confidence >= value].sum() <= tolerance * len(labels)]
    refused = [value for value in confidence if lost[confidence >= value].sum() > tolerance * len(labels)]
    expected = min((value for value in allowed if value > max(refused)), default=2.0) if refused else confidence.min()
    assert threshold == pytest.approx(expected)


@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_accuracy_on_the_held_out_part_is_kept(tolerance, seed):
    logits, labels = example(seed=seed)
    result = fit_cascade(logits, labels, SIZES, tolerance=tolerance).predict(logits)
    full = (logits[-1].argmax(1) == labels).mean()
    assert (result.labels == labels).mean() >= full - tolerance - 1e-9
    assert result.expected_size < 16


def test_with_everything_allowed_all_stop_at_once():
    logits, labels = example()
    assert fit_cascade(logits, labels, SIZES, tolerance=1.0).predict(logits).expected_size == 2


def test_items_of_equal_confidence_stop_together():
    small = np.array([[3.0, 0.0]] * 4)
    full = np.array([[9.0, 0.0]] * 3 + [[0.0, 9.0]])
    cascade = fit_cascade([small, full], [0, 0, 0, 1], sizes=[2, 16])
    assert cascade.predict([small, full]).sizes.tolist() == [16] * 4


def test_tensors_and_arrays_agree_and_order_of_items_does_not_matter():
    logits, labels = example()
    expected = fit_cascade(logits, labels, SIZES)
    assert fit_cascade([torch.from_numpy(part) for part in logits], torch.from_numpy(labels), SIZES) == expected
    order = np.random.default_rng(1).permutation(len(labels))
    assert fit_cascade([part[order] for part in logits], labels[order], SIZES) == expected


def test_one_size_has_nothing_to_decide():
    logits, labels = example()
    cascade = fit_cascade(logits[-1:], labels, [16])
    assert cascade.thresholds == ()
    assert cascade.predict(logits[-1:]).expected_size == 16


def test_huge_logits_do_not_overflow():
    logits = [np.array([[1e5, 0.0], [0.0, 1e5]])] * 2
    assert fit_cascade(logits, [0, 1], [2, 4]).predict(logits).sizes.tolist() == [2, 2]


@pytest.mark.usefixtures("own_messages")
def test_bad_input():
    logits, labels = example()
    broken = logits[0].copy()
    broken[3, 1] = np.nan
    cases = [
        (logits[:2], labels, SIZES, 0.0, "got 2 arrays for 3 sizes"),
        ([logits[0], logits[1], logits[2][:, :4]], labels, SIZES, 0.0, "needs the same"),
        ([broken, *logits[1:]], labels, SIZES, 0.0, "row 3 holds NaN"),
        (logits, labels[:-1], SIZES, 0.0, "labels: got shape"),
        (logits, labels + 1, SIZES, 0.0, "from 0 to 4"),
        (logits, labels, (4, 2, 16), 0.0, "increasing"),
        (logits, labels, SIZES, -0.1, "tolerance"),
        (logits, labels, SIZES, float("nan"), "tolerance"),
    ]
    for part, truth, sizes, tolerance, message in cases:
        with pytest.raises(InvalidValueError, match=message):
            fit_cascade(part, truth, sizes, tolerance=tolerance)
    with pytest.raises(InvalidTypeError, match="integers"):
        fit_cascade(logits, labels.astype(float), SIZES)
    for thresholds in ((0.5,), (0.5, -1.0), (0.5, float("nan"))):
        with pytest.raises(InvalidValueError, match="thresholds"):
            Cascade(SIZES, thresholds)
