"""The streaming metric: any cut of the rows, any number of processes, the same score as the SVD of all rows."""

import json
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
import rank_worker
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_worker import rows
from safetensors.torch import load_file, save_file
from scipy.special import entr

from polyvec.assess import RankCappedWarning, RankMe, rankme, spectrum_report
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.vectors import Vectors


def by_svd(matrix: np.ndarray) -> float:
    values = np.linalg.svd(matrix, compute_uv=False)
    return float(np.exp(entr(values / values.sum() + 1e-7).sum()))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 2**31), st.booleans())
@settings(max_examples=60, deadline=None)
def test_equals_the_svd_however_the_batches_are_cut(sizes: list[int], seed: int, center: bool) -> None:
    matrix = rows(sum(sizes), 5, seed)
    metric, first, second = (RankMe(5, center=center, on_collapse="zero") for _ in range(3))
    for number, batch in enumerate(np.split(matrix, np.cumsum(sizes)[:-1])):
        metric.update(torch.from_numpy(batch) if number % 2 else batch)
        (first if number % 3 else second).update(batch)
    first.merge(second)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankCappedWarning)
        scores = [metric.compute(), first.compute(), rankme(matrix, center=center, on_collapse="zero")]
    centred = matrix - matrix.mean(0) * center
    expected = by_svd(centred) if len(matrix) > 1 or not center else 0.0
    assert scores == pytest.approx([expected] * 3, rel=1e-5)
    assert metric.count == first.count == len(matrix)


def test_rows_count_not_batches() -> None:
    matrix = rows(101)
    metric = RankMe(7)
    for batch in (matrix[:100], matrix[100:]):
        metric.update(batch)
    assert metric.compute() == pytest.approx(by_svd(matrix), rel=1e-9)


def test_float32_batches_over_a_large_mean_do_not_cancel() -> None:
    matrix = (rows(2000) + 1e4).astype(np.float32)
    metric = RankMe(7, center=True)
    for batch in torch.from_numpy(matrix).split(64):
        metric.update(batch)
    wide = matrix.astype(np.float64)
    assert metric.compute() == pytest.approx(by_svd(wide - wide.mean(0)), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_promoted(dtype: torch.dtype) -> None:
    tensor = torch.from_numpy(rows()).to(dtype)
    metric = RankMe(7)
    metric.update(tensor)
    assert metric.compute() == pytest.approx(by_svd(tensor.double().numpy()), rel=1e-9)
    assert all(value.dtype == torch.float64 for name, value in metric.state_dict().items() if name != "count")


def test_report_takes_vectors_and_equals_the_report_of_all_rows() -> None:
    matrix = rows().astype(np.float32)
    for center in (False, True):
        metric = RankMe(7, center=center)
        metric.update(Vectors(matrix[:40]))
        metric.update(matrix[40:])
        assert metric.report() == pytest.approx(spectrum_report(matrix, center=center))
        assert metric.compute() == pytest.approx(metric.report()["rankme"])


def test_updates_inside_and_outside_inference_mode_mix() -> None:
    matrix = torch.from_numpy(rows())
    metric, other = RankMe(7), RankMe(7)
    with torch.inference_mode():
        metric.update(matrix[:30].clone())
    metric.update(matrix[30:60])
    with torch.inference_mode():
        other.update(matrix[60:].clone())
        metric.merge(other)
    metric.update(matrix[:1].requires_grad_())
    state = metric.state_dict()
    assert not any(value.requires_grad for value in state.values())
    assert metric.compute() == pytest.approx(by_svd(np.concatenate([rows(), rows()[:1]])), rel=1e-9)


def test_compute_can_be_repeated_and_reset_forgets() -> None:
    metric = RankMe(7)
    metric.update(rows(50, seed=1))
    assert metric.compute() == metric.compute()
    metric.reset()
    assert metric.count == 0
    with pytest.raises(InvalidValueError, match="no rows yet"):
        metric.compute()
    metric.update(rows())
    assert metric.compute() == pytest.approx(by_svd(rows()))


def test_state_goes_through_safetensors(tmp_path: Path) -> None:
    matrix = rows()
    whole, part = RankMe(7), RankMe(7)
    whole.update(matrix)
    part.update(matrix[:30])
    save_file(part.state_dict(), tmp_path / "state.safetensors")
    part.update(matrix[:5])  # the saved state must not follow
    resumed = RankMe(7)
    resumed.load_state_dict(load_file(tmp_path / "state.safetensors"))
    assert resumed.count == 30
    resumed.update(matrix[30:])
    assert resumed.compute() == pytest.approx(whole.compute(), rel=1e-12)
    empty = RankMe(7)
    empty.load_state_dict(RankMe(7).state_dict())
    empty.update(matrix)
    assert empty.compute() == pytest.approx(whole.compute(), rel=1e-12)
    assert whole.to("cpu").compute() == whole.compute()


def test_merge_leaves_the_other_unchanged() -> None:
    first, second = RankMe(7), RankMe(7)
    second.update(rows(30))
    before = second.compute()
    first.merge(second)
    first.update(rows(30, seed=5))
    first.merge(RankMe(7))
    assert second.compute() == before
    assert first.count == 60


def test_a_refused_batch_leaves_no_trace() -> None:
    metric = RankMe(7)
    metric.update(rows())
    before = metric.compute()
    broken = rows()
    broken[88, 2] = np.nan
    with pytest.raises(InvalidValueError, match="z: row 88 holds NaN"):
        metric.update(broken)
    for bad in (rows(5, 6), rows()[0], rows()[:0]):
        with pytest.raises(InvalidValueError, match="z: got"):
            metric.update(bad)
    with pytest.raises(InvalidTypeError):
        metric.update(np.array([["text"] * 7]))
    assert (metric.count, metric.compute()) == (90, before)


def test_other_bad_input() -> None:
    with pytest.raises(InvalidValueError, match="dim: got 0"):
        RankMe(0)
    with pytest.raises(InvalidValueError, match="eps"):
        RankMe(3, eps=-1.0)
    metric = RankMe(7)
    with pytest.raises(InvalidValueError, match="metric of 6 dimensions"):
        metric.merge(RankMe(6))
    with pytest.raises(InvalidValueError, match="state: lacks mean"):
        metric.load_state_dict({name: value for name, value in metric.state_dict().items() if name != "mean"})
    with pytest.raises(InvalidValueError, match="needs width 7"):
        metric.load_state_dict(RankMe(6).state_dict())
    metric.update(np.zeros((10, 7)))
    with pytest.raises(InvalidValueError, match="collapsed"):
        metric.compute()
    with pytest.raises(InvalidValueError, match="collapsed"):
        metric.report()
    tolerant = RankMe(7, on_collapse="zero")
    tolerant.merge(metric)
    assert tolerant.compute() == 0.0
    few = RankMe(7)
    few.update(rows(3))
    with pytest.warns(RankCappedWarning, match="3 rows for 7 dimensions"):
        assert few.compute() <= 3


def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(rank_worker.run, (2, port, str(tmp_path)), nprocs=2)
    matrix = rows()
    for rank, count in enumerate((61, 29)):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        for center in (False, True):
            expected = rankme(matrix, center=center)
            assert found[f"{center}"] == pytest.approx([expected, expected, count], rel=1e-9)
            assert found[f"{center} report"] == pytest.approx(spectrum_report(matrix, center=center), rel=1e-9)
        assert found["alone"] == pytest.approx(rankme(matrix[:20]), rel=1e-9)
        assert found["one-sided"] == pytest.approx([rankme(matrix), 90 * rank], rel=1e-9)
        assert "no rows yet" in found["empty"]
