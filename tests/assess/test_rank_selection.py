"""Picking runs by rank, scikit-learn searches, LiDAR."""

import functools
import warnings

import numpy as np
import pandas
import polars
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.special import entr
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import RBFSampler
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polyvec.assess import (
    RankCappedWarning,
    RankedRun,
    effective_rank_score,
    lidar,
    rankme,
    roy_vetterli_rank,
    select_by_rank,
)
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.vectors import Vectors


def of_rank(rank: int, rows: int = 40, dim: int = 8) -> np.ndarray:
    matrix = np.zeros((rows, dim))
    matrix[np.arange(rank), np.arange(rank)] = 1.0
    return matrix


class TestSelectByRank:
    def test_orders_by_rank(self) -> None:
        found = select_by_rank({"two": of_rank(2), "five": of_rank(5), "none": of_rank(0), "three": of_rank(3)})
        assert [row.name for row in found] == ["five", "three", "two", "none"]
        assert [row.rank_order for row in found] == [1, 2, 3, 4]
        assert [row.rankme for row in found] == pytest.approx([5, 3, 2, 0], rel=1e-4)
        assert found[0] == RankedRun("five", rankme(of_rank(5)), 1)

    def test_becomes_a_table(self) -> None:
        found = select_by_rank({"a": of_rank(2), "b": Vectors(of_rank(3))})
        assert list(pandas.DataFrame(found).columns) == ["name", "rankme", "rank_order"]
        assert polars.DataFrame(found).columns == ["name", "rankme", "rank_order"]
        assert pandas.DataFrame(found).name.tolist() == ["b", "a"]

    @pytest.mark.parametrize(
        ("prefer", "tolerance", "names", "orders"),
        [
            ("first", 0.0, ["1", "3", "2", "0", "4"], [1, 1, 3, 4, 4]),
            ("last", 0.0, ["3", "1", "2", "4", "0"], [1, 1, 3, 4, 4]),
            ("first", 0.05, ["1", "2", "3", "0", "4"], [1, 1, 1, 4, 4]),
            ("last", 0.05, ["3", "2", "1", "4", "0"], [1, 1, 1, 4, 4]),
        ],
    )
    def test_ties(self, prefer: str, tolerance: float, names: list[str], orders: list[int]) -> None:
        slightly_less = of_rank(4)
        slightly_less[0] *= 0.6  # about 1 % below rank 4
        runs = {"0": of_rank(2), "1": of_rank(4), "2": slightly_less, "3": of_rank(4), "4": of_rank(2)}
        found = select_by_rank(runs, prefer=prefer, tolerance=tolerance)
        assert [row.name for row in found] == names
        assert [row.rank_order for row in found] == orders

    def test_encoders_of_every_kind(self) -> None:
        data = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)

        class Encoder:
            def encode(self, items: np.ndarray, *, batch_size: int) -> np.ndarray:
                assert batch_size == 7
                return items * np.r_[np.ones(3), np.zeros(5)]

        found = select_by_rank(
            {
                "encode": Encoder(),
                "function": lambda items: torch.from_numpy(items[:, :2]).repeat(1, 4),
                "transform": PCA(8).fit(data),
                "module": torch.nn.Linear(8, 8),
            },
            data,
            batch_size=7,
        )
        assert found[0].name == "transform"
        scores = {row.name: row.rankme for row in found}
        assert scores["encode"] == pytest.approx(3, abs=0.05)
        assert scores["function"] == pytest.approx(2, abs=0.05)

    def test_modules_run_in_evaluation_mode_and_get_their_mode_back(self) -> None:
        module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.9), torch.nn.BatchNorm1d(8))
        module[2].eval()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        data = np.random.default_rng(0).normal(size=(50, 8))  # float64, the module is float32
        first, second = (select_by_rank({"a": module}, data, batch_size=size)[0].rankme for size in (50, 9))
        assert first == pytest.approx(second, rel=1e-6)
        assert module.training
        assert not module[2].training
        assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())

    def test_bad_input(self) -> None:
        with pytest.raises(InvalidValueError, match="at least one name"):
            select_by_rank({})
        with pytest.raises(InvalidValueError, match="data: got None"):
            select_by_rank({"a": lambda items: items})
        for other in (of_rank(2, rows=39), of_rank(2, dim=7)):
            with pytest.raises(InvalidValueError, match="cannot be compared"):
                select_by_rank({"a": of_rank(2), "b": other})
        broken = of_rank(2)
        broken[7, 7] = np.inf
        with pytest.raises(InvalidValueError, match=r"candidates\['lr=3'\]: row 7 holds NaN"):
            select_by_rank({"lr=1": of_rank(2), "lr=3": broken})
        with pytest.raises(InvalidTypeError):
            select_by_rank({"a": object()})
        with pytest.raises(InvalidValueError, match="tolerance"):
            select_by_rank({"a": of_rank(2)}, tolerance=1.0)

    def test_warns_once_about_few_rows(self) -> None:
        with pytest.warns(RankCappedWarning) as caught:
            select_by_rank({"a": np.eye(3, 8), "b": np.eye(3, 8)})
        assert len(caught) == 1


class TestScorer:
    data = np.random.default_rng(0).normal(size=(90, 6)) * [9, 3, 2, 1, 0.5, 0.1]

    def test_in_a_grid_search(self) -> None:
        sampler = RBFSampler(n_components=12, random_state=0)
        gammas = [1e-8, 1e-3, 1e-1]
        search = GridSearchCV(sampler, {"gamma": gammas}, scoring=effective_rank_score, cv=3, error_score="raise")
        search.fit(self.data)
        expected = []
        for gamma in gammas:
            folds = np.array_split(np.arange(90), 3)
            scores = []
            for fold in folds:
                rest = np.delete(self.data, fold, axis=0)
                fitted = RBFSampler(gamma=gamma, n_components=12, random_state=0).fit(rest)
                scores.append(rankme(fitted.transform(self.data[fold])))
            expected.append(np.mean(scores))
        assert search.cv_results_["mean_test_score"] == pytest.approx(expected)
        assert search.best_params_ == {"gamma": gammas[int(np.argmax(expected))]}

    def test_pipeline_with_labels_and_other_settings(self) -> None:
        pipeline = make_pipeline(StandardScaler(), PCA(4))
        search = GridSearchCV(
            pipeline,
            {"pca__whiten": [False, True], "standardscaler__with_std": [True, False]},
            scoring=functools.partial(effective_rank_score, center=True),
            cv=2,
            error_score="raise",
        )
        search.fit(self.data, np.arange(90) % 2)
        assert search.best_params_["pca__whiten"] is True
        assert search.best_score_ > 3.9

    def test_collapse_scores_zero(self) -> None:
        assert effective_rank_score(lambda items: items * 0, self.data) == 0.0
        with pytest.raises(InvalidValueError, match="collapsed"):
            effective_rank_score(lambda items: items * 0, self.data, on_collapse="raise")

    def test_bad_input(self) -> None:
        with pytest.raises(InvalidTypeError, match="encoder: got object"):
            effective_rank_score(object(), self.data)
        with pytest.raises(InvalidValueError, match="NaN"):
            effective_rank_score(lambda items: items * np.nan, self.data)


class TestLidar:
    def by_definition(self, views: np.ndarray, delta: float) -> float:
        n, _, k = views.shape
        between = np.cov(views.mean(1).T)
        within = sum(np.cov(each.T) for each in views) / n + delta * np.eye(k)
        root = np.linalg.inv(np.real(sqrtm(within)))
        values = np.linalg.eigvalsh(root @ between @ root)
        return float(np.exp(entr(np.maximum(values, 0) / values.sum() + 1e-7).sum()))

    @pytest.mark.parametrize("delta", [1e-4, 0.3])
    def test_against_the_definition(self, delta: float) -> None:
        draw = np.random.default_rng(0)
        views = draw.normal(size=(80, 1, 5)) * [3, 2, 1, 0.5, 0.1] + 0.4 * draw.normal(size=(80, 6, 5)) + 7.0
        expected = self.by_definition(views, delta)
        assert lidar(views, delta=delta) == pytest.approx(expected, rel=1e-6)
        assert lidar(torch.from_numpy(views), delta=delta) == pytest.approx(expected, rel=1e-6)

    def test_blocks_do_not_change_the_result(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys

        views = np.random.default_rng(1).normal(size=(50, 4, 3)).cumsum(axis=0)
        whole = lidar(views)
        monkeypatch.setattr(sys.modules[lidar.__module__], "_BLOCK_VALUES", 40)
        assert lidar(views) == pytest.approx(whole, rel=1e-9)

    def test_noise_that_changes_with_the_view_does_not_raise_it(self) -> None:
        draw = np.random.default_rng(0)
        signal = np.zeros((400, 20, 10))
        signal[:, :, :3] = draw.normal(size=(400, 1, 3))
        noisy = signal + 0.2 * draw.normal(size=signal.shape)
        assert rankme(noisy[:, 0]) > 6
        assert lidar(noisy) < 4

    def test_bad_input(self) -> None:
        views = np.random.default_rng(0).normal(size=(30, 4, 3))
        for bad in (views[0], views[:1], views[:, :1], views[:, :, :0]):
            with pytest.raises(InvalidValueError, match="views: got shape"):
                lidar(bad)
        broken = views.copy()
        broken[11, 2, 1] = np.nan
        with pytest.raises(InvalidValueError, match="views: row 11 holds NaN"):
            lidar(broken)
        with pytest.raises(InvalidValueError, match="collapsed"):
            lidar(np.ones((30, 4, 3)))
        with pytest.raises(InvalidValueError, match="delta"):
            lidar(views, delta=0.0)
        with pytest.raises(InvalidTypeError):
            lidar(np.full((3, 3, 3), "a"))
        with pytest.warns(RankCappedWarning):
            lidar(views[:3])


def test_rank_is_not_sufficient() -> None:
    """Noise of full rank outscores embeddings that separate two classes perfectly."""
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50)
    useful = np.c_[labels * 10.0, draw.normal(size=(100, 7)) * 0.1]
    noise = draw.normal(size=(100, 8))
    assert select_by_rank({"useful": useful, "noise": noise})[0].name == "noise"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert roy_vetterli_rank(useful) < rankme(useful) < rankme(noise)
