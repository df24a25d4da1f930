"""The price list: measures against hand-made oracles, the choice, its confirmation, and what is refused."""

import json

import numpy as np
import pytest

from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError, StoreError
from polyvec.core.registry import components
from polyvec.search.prices import PriceList, PriceRow, price_list, prices_path, store_price_list, take
from polyvec.search.prices.listing import mark_front, parse_budget
from polyvec.search.prices.measures import Truth, interval
from polyvec.search.prices.settings import settings
from polyvec.search.store import Store

DIM = 32


def vectors(count, seed=0):
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(30, DIM))
    scales = np.geomspace(2, 0.2, DIM)
    return ((centres[generator.integers(0, 30, count)] + generator.normal(size=(count, DIM))) * scales).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def measured():
    return price_list(vectors(700), seed=3, show_progress=False)


class TestMeasures:
    def test_recall_by_brute_force(self):
        base, queries = vectors(200), vectors(20, 5)
        truth = Truth.of(queries, base, "dot")
        scores = queries @ base.T
        order = np.argsort(-scores, axis=1)[:, :10]
        swapped = order.copy()
        swapped[:, 7:] = np.argsort(-scores, axis=1)[:, 20:23]
        assert truth.recall(np.take_along_axis(scores, order, axis=1), 10).tolist() == [1.0] * 20
        assert truth.recall(np.take_along_axis(scores, swapped, axis=1), 10).tolist() == pytest.approx([0.7] * 20)
        assert truth.recall(np.take_along_axis(scores, swapped, axis=1), 1).tolist() == [1.0] * 20

    def test_ties_count_whichever_of_them_is_found(self):
        base = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)  # five copies of four vectors
        truth = Truth.of(base[:1], base, "cosine", k=3)
        scores = (base[:1] @ base.T).astype(np.float64)
        for found in ([0, 1, 2], [4, 3, 2], [2, 4, 0]):
            assert truth.recall(scores[:, found], 3).tolist() == [1.0]
            assert truth.ndcg(scores[:, found], 3).tolist() == [1.0]
        assert truth.recall(scores[:, [0, 1, 9]], 3)[0] == pytest.approx(2 / 3)

    def test_ndcg_by_hand(self):
        truth = Truth(np.array([[5.0, 4.0, 3.0]]), 3)
        discount = 1 / np.log2([2, 3, 4])
        ideal = 3 * discount[0] + 2 * discount[1] + 1 * discount[2]
        assert truth.ndcg(np.array([[5.0, 4.0, 3.0]]), 3)[0] == pytest.approx(1)
        turned = 1 * discount[0] + 2 * discount[1] + 3 * discount[2]
        assert truth.ndcg(np.array([[3.0, 4.0, 5.0]]), 3)[0] == pytest.approx(turned / ideal)
        assert truth.ndcg(np.array([[1.0, 5.0, -np.inf]]), 3)[0] == pytest.approx(3 * discount[1] / ideal)

    def test_interval_holds_the_mean_about_as_often_as_it_says(self):
        generator = np.random.default_rng(0)
        inside = 0
        for _ in range(150):
            values = generator.binomial(10, 0.9, 100) / 10
            mean, low, high = interval(values)
            assert low <= mean <= high
            inside += low <= 0.9 <= high
        assert 0.9 <= inside / 150 <= 1

    def test_few_queries_without_a_miss_are_no_certainty(self):
        assert interval(np.ones(3))[1] < 0.5
        assert interval(np.ones(20))[1] < 0.95
        assert interval(np.ones(1000))[1] > 0.995


class TestList:
    def test_every_registered_grid_is_tried(self, measured):
        names = {row.name for row in measured.rows} | {each["label"].split()[0] for each in measured.left_out}
        expected = {part.name for part in components("transform") if part.grid}
        assert expected - names == set()
        assert {row.label for row in measured.rows if row.name == "truncate"} == {
            "plain truncate 16 dims", "plain truncate 8 dims", "plain truncate 4 dims",
        }  # fmt: skip

    def test_bytes_and_figures(self, measured):
        assert measured.full_bytes == 4 * DIM
        assert measured.documents == 700 - 140
        assert measured.queries == 70
        rows = {row.full_label: row for row in measured.rows}
        assert rows["full vectors"].recall_10 == [1.0, 1.0, 1.0]
        four = rows["scalar 4 bits"]
        assert (four.bytes, four.kept_bytes, four.rescoring) == (16, 16, False)
        finer = rows["scalar 4 bits + scalar 8 bits"]
        assert (finer.bytes, finer.kept_bytes, finer.rescoring) == (16, 48, "scalar 8 bits")
        assert finer.recall_10[0] > four.recall_10[0]
        assert rows["scalar 4 bits + full vectors"].kept_bytes == 16 + 4 * DIM
        assert rows["scalar 8 bits"].recall_10[0] > 0.97
        for row in measured.rows:
            assert 0 <= row.recall_10[1] <= row.recall_10[0] <= row.recall_10[2] <= 1
            assert row.queries_per_second > 0

    def test_recall_is_that_of_decoded_vectors(self, measured):
        from polyvec.compress import ScalarQuantizer
        from polyvec.search.prices.measuring import _Work

        work = _Work.of(vectors(700), None, "cosine", 20_000, 3)
        quantizer = ScalarQuantizer(4, seed=3).fit(work.base)
        decoded = quantizer.inverse_transform(quantizer.transform(work.base))
        exact = work.queries @ (work.base / np.linalg.norm(work.base, axis=1, keepdims=True)).T
        coded = work.queries @ (decoded / np.linalg.norm(decoded, axis=1, keepdims=True)).T
        shares = [
            len(set(np.argsort(-one)[:10].tolist()) & set(np.argsort(-other)[:10].tolist())) / 10
            for one, other in zip(exact[: work.tuning], coded[: work.tuning], strict=True)
        ]
        row = next(row for row in measured.rows if row.full_label == "scalar 4 bits")
        assert row.recall_10[0] == pytest.approx(np.mean(shares), abs=0.005)

    def test_front(self, measured):
        front = measured.front()
        sizes, recalls = [row.kept_bytes for row in front], [row.recall_10[0] for row in front]
        assert sizes == sorted(sizes)
        assert recalls == sorted(recalls)
        for row in measured.rows:
            assert row.pareto or any(
                better.kept_bytes <= row.kept_bytes and better.recall_10[0] >= row.recall_10[0] for better in front
            )

    def test_same_seed_same_figures(self):
        lists = [price_list(vectors(60), seed=1, show_progress=False) for _ in range(2)]
        keys = [[(row.full_label, row.recall_10, row.ndcg_10) for row in each.rows] for each in lists]
        assert keys[0] == keys[1]

    def test_what_does_not_fit_is_left_out_with_its_reason(self):
        few = price_list(vectors(60), show_progress=False)
        reasons = {each["label"]: each["reason"] for each in few.left_out}
        assert set(reasons) == {label for label in reasons if "product" in label}
        assert reasons["product 4 groups"].startswith("X: got 48 vectors, needs at least 256")

    def test_matryoshka_sizes_are_named_and_tried(self):
        labels = [each.label for each in settings(64, "cosine", 0, prefixes=(32, 24))]
        assert {"matryoshka 32 dims", "matryoshka 24 dims", "plain truncate 16 dims", "plain truncate 8 dims"} <= set(
            labels
        )
        assert len(labels) == len(set(labels))

    def test_given_queries_and_other_metrics(self):
        for metric in ("dot", "l2"):
            listed = price_list(vectors(200), vectors(40, 9), metric=metric, show_progress=False)
            assert (listed.documents, listed.queries, listed.held_out) == (200, 20, False)
            rows = {row.full_label: row for row in listed.rows}
            assert rows["half"].recall_10[0] > 0.99

    def test_what_is_refused(self):
        base = vectors(100)
        broken = base.copy()
        broken[3, 1] = np.nan
        for arguments, message in (
            ({"vectors": base[:1]}, "got 1, needs at least 20 documents"),
            ({"vectors": broken}, "row 3 holds NaN"),
            ({"vectors": base, "queries": base[:, :5]}, "queries: got 5 dimensions, needs 32"),
            ({"vectors": base, "queries": base[:1]}, "queries: got 1 rows, needs at least 2"),
            ({"vectors": base, "queries": np.zeros((5, DIM))}, "queries: all are zeros"),
            ({"vectors": base, "metric": "hamming"}, "metric: got 'hamming'"),
            ({"vectors": base, "sample": 3}, "sample: got 3"),
        ):
            with pytest.raises(InvalidValueError, match=message):
                price_list(**arguments, show_progress=False)


def row(label, size, recall):
    figures = [recall, recall - 0.01, recall + 0.01]
    return PriceRow("scalar", {"bits": 8}, label, False, size, size, figures, list(figures), list(figures), 0.1, 10.0)


def a_list(confirmations):
    rows = mark_front([row("tiny", 8, 0.8), row("small", 16, 0.97), row("medium", 32, 0.98), row("large", 64, 0.99)])
    samples = [np.repeat(np.array(means)[:, None], 2000, axis=1) for means in confirmations]
    return PriceList(1000, 500, 32, 128, "cosine", "now", 0, rows, confirmations=samples)


class TestChoice:
    def test_the_cheapest_that_holds_and_is_confirmed(self):
        prices = a_list([[0.8, 0.97, 0.98, 0.99]])
        assert prices.choose(keep=0.95).label == "small"
        assert prices.chosen["confirmed"]["queries"] == 2000
        assert prices.chosen["confirmed"]["recall_10"][0] == pytest.approx(0.97)

    def test_what_is_not_confirmed_gives_way_to_the_next_on_a_fresh_sample(self):
        prices = a_list([[0.8, 0.94, 0.1, 0.1], [0.8, 0.1, 0.98, 0.1]])
        assert prices.choose(keep=0.95).label == "medium"
        assert any(text.startswith("small held 0.95") and "not confirmed" in text for text in prices.statements)

    def test_nothing_is_promised_without_confirmation(self):
        prices = a_list([[0.8, 0.9, 0.9, 0.9]])
        assert prices.choose(keep=0.95) is None
        assert prices.chosen is None
        assert "no untouched queries are left" in prices.statements[-1]

    def test_a_bound_that_nothing_holds(self):
        prices = a_list([[1.0] * 4])
        assert prices.choose(keep=0.985) is None  # 0.99 is the mean, 0.98 the lower bound
        assert "no setting holds recall@10 >= 0.985 for certain" in prices.statements[-1]

    def test_budget(self):
        assert a_list([[1.0] * 4]).choose(budget="40B").label == "medium"
        assert a_list([[1.0] * 4]).choose(budget=16).label == "small"
        assert a_list([[1.0] * 4]).choose(budget=40, keep=0.95).label == "small"
        with pytest.raises(InvalidValueError, match="got 7 bytes, but the smallest setting takes 8; give at least 8B"):
            a_list([[1.0] * 4]).choose(budget=7)

    @pytest.mark.parametrize(("text", "value"), [("64B", 64), ("64", 64), (" 1.5 kB", 1500), ("1KiB", 1024), (12, 12)])
    def test_budgets_that_can_be_read(self, text, value):
        assert parse_budget(text) == value

    @pytest.mark.parametrize("bad", ["", "B", "-3B", "64 apples", "0", 0, -1, float("nan"), True, None])
    def test_budgets_that_cannot(self, bad):
        with pytest.raises(InvalidValueError, match="budget: got"):
            parse_budget(bad)

    def test_bad_arguments(self):
        for keep in (0, 1.01, -1, float("nan")):
            with pytest.raises(InvalidValueError, match="keep: got"):
                a_list([[1.0] * 4]).choose(keep=keep)
        with pytest.raises(InvalidTypeError, match="keep: got 'much'"):
            a_list([[1.0] * 4]).choose(keep="much")
        with pytest.raises(InvalidValueError, match="got neither"):
            a_list([[1.0] * 4]).choose()

    def test_too_few_queries_promise_nothing(self):
        few = price_list(vectors(40), show_progress=False)
        assert few.queries == 4
        assert few.choose(keep=0.99) is None
        assert few.noise > 0.02


class TestKeeping:
    def test_saved_and_loaded(self, measured, tmp_path):
        measured.choose(keep=0.9)
        measured.save(tmp_path / "prices.json")
        again = PriceList.load(tmp_path / "prices.json")
        assert again.to_dict() == measured.to_dict()
        json.dumps(again.to_dict(), allow_nan=False)
        with pytest.raises(InvalidValueError, match="read from a file, which keeps no untouched queries"):
            again.choose(keep=0.9)

    def test_damage_is_named(self, tmp_path):
        path = tmp_path / "prices.json"
        for content in ("", "[]", "{}", '{"format": "polyvec-prices-9"}', '{"format": "polyvec-prices-1"}'):
            path.write_text(content)
            with pytest.raises(FormatError, match=r"prices\.json: "):
                PriceList.load(path)
        with pytest.raises(FileProblemError):
            PriceList.load(tmp_path / "missing.json")

    def test_picture(self, measured, tmp_path):
        measured.plot(tmp_path / "prices.png")
        assert (tmp_path / "prices.png").read_bytes().startswith(b"\x89PNG")

    def test_of_an_index_and_taken(self, tmp_path):
        from store_testing import make_documents

        store = Store.create(tmp_path / "index", dim=DIM)
        store.add(make_documents(400), vectors(400))
        prices = store_price_list(store, show_progress=False)
        assert prices.store_version == store.snapshot().version
        assert prices_path(store) == tmp_path / "index" / ".polyvec" / "prices.json"
        with pytest.raises(InvalidValueError, match="nothing to apply"):
            take(store, prices)
        prices.choose(budget=40)
        take(store, prices)
        assert store.nbytes == 400 * prices.chosen["kept_bytes"]
        with pytest.raises(StoreError, match="is shrunk already"):
            store_price_list(store, show_progress=False)
