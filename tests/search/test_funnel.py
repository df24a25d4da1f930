import json
import warnings

import numpy as np
import pytest
import torch

from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError, StoreError
from polyvec.core.vectors import Vectors
from polyvec.search import FunnelSearch, adaptive_search
from polyvec.search.schedule import funnel_schedule
from polyvec.search.scoring import best_columns

N, DIM = 300, 32


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(N, DIM)) * np.linspace(3, 0.5, DIM)  # early coordinates matter more
    return vectors.astype(np.float32), (vectors[:20] + generator.normal(size=(20, DIM)) * 0.5).astype(np.float32)


def scored(matrix, query, size, metric):
    a, q = matrix[:, :size].astype(np.float64), query[:size].astype(np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(a, axis=1)
        a = a / np.where(lengths > 0, lengths, 1)[:, None]
        q = q / (np.linalg.norm(q) or 1)
    return a @ q


def by_hand(matrix, queries, sizes, shortlists, k, metric="cosine"):
    """The funnel as it reads in the paper, one query and one candidate at a time; ties go to the earlier position."""
    all_scores, all_rows = [], []
    for query in queries:
        rows = list(range(len(matrix)))
        for size, keep in zip(sizes, [*shortlists, k], strict=True):
            scores = dict(enumerate(scored(matrix, query, size, metric)))
            rows = sorted(rows, key=lambda row: (-round(scores[row], 9), row))[: max(keep, k)]
        all_rows.append(rows[:k])
        all_scores.append([scores[row] for row in rows[:k]])
    return np.array(all_scores), np.array(all_rows)


class TestResult:
    @pytest.mark.parametrize("metric", ["cosine", "dot"])
    @pytest.mark.parametrize(
        ("sizes", "shortlists"), [([32], []), ([4, 32], [20]), ([2, 4, 8, 32], [80, 40, 15]), ([4, 16], [30])]
    )
    def test_equals_the_funnel_by_hand(self, data, metric, sizes, shortlists):
        vectors, queries = data
        scores, ids = FunnelSearch(vectors, sizes, shortlists, metric=metric).search(queries, 10)
        expected_scores, expected = by_hand(vectors, queries, sizes, shortlists, 10, metric)
        assert np.array_equal(ids, expected)
        assert np.allclose(scores, expected_scores, atol=1e-4)

    @pytest.mark.parametrize("metric", ["cosine", "dot"])
    def test_with_shortlists_of_everything_it_is_exact_search(self, data, metric):
        vectors, queries = data
        exact = np.stack([scored(vectors, query, DIM, metric) for query in queries])
        scores, ids = FunnelSearch(vectors, [4, 8, 32], [N, N], metric=metric).search(queries, 7)
        assert np.array_equal(ids, np.argsort(-exact, axis=1, kind="stable")[:, :7])
        assert np.allclose(scores, -np.sort(-exact, axis=1)[:, :7], atol=1e-4)

    def test_a_short_shortlist_can_miss(self, data):
        vectors, queries = data
        exact = FunnelSearch(vectors, [DIM], []).search(queries, 10)[1]
        rough = FunnelSearch(vectors, [2, DIM], [10]).search(queries, 10)[1]
        assert not np.array_equal(exact, rough)

    def test_ties_go_to_the_earlier_position(self):
        generator = np.random.default_rng(3)
        vectors = generator.integers(-1, 2, size=(200, 4)).astype(np.float32)  # exact sums, many equal vectors
        queries = generator.integers(-2, 3, size=(30, 4)).astype(np.float32)
        _, ids = FunnelSearch(vectors, [1, 2, 4], [60, 30], metric="dot").search(queries, 9)
        assert np.array_equal(ids, by_hand(vectors, queries, [1, 2, 4], [60, 30], 9, "dot")[1])

    def test_asking_for_more_than_a_shortlist_widens_it(self, data):
        vectors, queries = data
        scores, ids = FunnelSearch(vectors, [4, 8, 32], [20, 5]).search(queries, 50)
        assert ids.shape == scores.shape == (20, 50)
        assert np.array_equal(ids, by_hand(vectors, queries, [4, 8, 32], [50, 50], 50)[1])

    def test_more_results_than_vectors_gives_all_of_them(self, data):
        vectors, queries = data
        index = FunnelSearch(vectors[:6], [4, 32], [3])
        assert index.search(queries, 10)[1].shape == (20, 6)

    def test_many_queries_give_what_single_ones_give(self, data, monkeypatch):
        vectors, queries = data
        index = FunnelSearch(vectors, [4, 32], [25])
        whole = index.search(queries, 5)
        monkeypatch.setattr("polyvec.search.scoring._BLOCK", 3 * N)  # three queries a block
        pieces = index.search(queries, 5)
        assert np.array_equal(whole[1], pieces[1])
        assert np.allclose(whole[0], pieces[0], atol=1e-6)
        assert np.array_equal(FunnelSearch(vectors, [4, 32], [25]).search(queries, 5)[1], whole[1])

    def test_schedule_doubles_sizes_and_halves_shortlists(self):
        assert funnel_schedule(2048, smallest=8) == ((8, 16, 32, 64, 128, 2048), (200, 100, 50, 25, 12))  # the paper's
        assert funnel_schedule(2048) == ((256, 512, 1024, 2048), (200, 100, 50))
        assert funnel_schedule(64) == ((8, 16, 32, 64), (200, 100, 50))
        assert funnel_schedule(8) == ((8,), ())
        assert funnel_schedule(5) == ((5,), ())
        with pytest.raises(InvalidValueError, match="smallest: got 9, but the vectors have 8"):
            funnel_schedule(8, smallest=9)

    def test_default_schedule_follows_the_first_vectors(self):
        generator = np.random.default_rng(0)
        index = FunnelSearch(generator.normal(size=(500, 64)))
        assert (index.sizes, index.shortlists) == funnel_schedule(64)
        assert index.search(generator.normal(size=(3, 64)), 5)[1].shape == (3, 5)

    def test_tensors_in_tensors_out(self, data):
        vectors, queries = data
        index = FunnelSearch(torch.from_numpy(vectors), [4, 32], [25])
        scores, ids = index.search(torch.from_numpy(queries), 5)
        expected_scores, expected = index.search(queries, 5)
        assert isinstance(scores, torch.Tensor)
        assert np.array_equal(ids.numpy(), expected)
        assert np.array_equal(scores.numpy(), expected_scores)

    def test_adaptive_search_is_the_funnel_with_one_shortlist(self, data):
        vectors, queries = data
        index = FunnelSearch(vectors, [4, DIM], [25])
        for one, other in zip(
            adaptive_search(vectors, queries, 5, size=4, shortlist=25), index.search(queries, 5), strict=True
        ):
            assert np.array_equal(one, other)
        exact = FunnelSearch(vectors, [DIM], []).search(queries, 5)[1]
        assert np.array_equal(adaptive_search(vectors, queries, 5, size=DIM)[1], exact)
        named = Vectors(vectors, ids=[f"v{row}" for row in range(N)])
        assert adaptive_search(named, queries, 1, size=4)[1][0, 0].startswith("v")

    def test_zero_prefixes_score_zero_with_a_warning(self, data):
        vectors, queries = data
        vectors[5, :4] = 0
        with pytest.warns(UserWarning, match="1 vectors are all zeros in their first 4"):
            index = FunnelSearch(vectors, [4, 32], [N])
        queries[0, :4] = 0
        with pytest.warns(UserWarning, match="1 queries are all zeros in their first 4"):
            scores, ids = index.search(queries, N)
        assert np.isfinite(scores).all()
        assert np.array_equal(ids, by_hand(vectors, queries, [32], [], N)[1])


class TestSelection:
    @pytest.mark.parametrize("keep", [1, 7, 40, 200, 4999, 5000, 6000])
    @pytest.mark.parametrize("kind", ["continuous", "few values", "all equal", "sorted", "hidden from the sample"])
    def test_equals_a_stable_sort(self, keep, kind):
        generator = np.random.default_rng(5)
        scores = generator.normal(size=(9, 5000)).astype(np.float32)
        if kind == "few values":
            scores = np.round(scores * 3)
        elif kind == "all equal":
            scores[:] = 1
        elif kind == "sorted":
            scores.sort(axis=1)
        elif kind == "hidden from the sample":
            scores[:, 1::2] += 10
            scores[:, ::16] -= 100
        expected = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :keep], axis=1)
        assert np.array_equal(best_columns(scores, keep), expected)

    def test_no_rows(self):
        assert best_columns(np.empty((0, 5000), dtype=np.float32), 7).shape == (0, 7)


class TestCost:
    def test_counted_by_hand(self, data):
        vectors, queries = data
        cost = FunnelSearch(vectors, [4, 8, 32], [50, 20]).search_with_cost(queries, 10)[2]
        assert cost.queries == 20
        assert cost.multiply_adds == 20 * (300 * 4 + 50 * 8 + 20 * 32)
        assert cost.exact == 20 * 300 * 32
        assert cost.saving == pytest.approx(300 * 32 / (300 * 4 + 50 * 8 + 20 * 32))

    def test_grows_with_widened_and_stops_at_all_vectors(self, data):
        vectors, queries = data
        index = FunnelSearch(vectors, [4, 32], [20])
        assert index.search_with_cost(queries[:1], 40)[2].multiply_adds == 300 * 4 + 40 * 32
        assert FunnelSearch(vectors, [4, 32], [9999]).search_with_cost(queries[:1])[2].multiply_adds == 300 * 36
        assert FunnelSearch(vectors, [32], []).search_with_cost(queries)[2].saving == 1

    def test_paper_example(self):
        """16 of 2048 coordinates, 200 re-ranked: for many vectors the saving tends to 128."""
        count, dim = 1_281_167, 2048
        funnel = count * 16 + 200 * dim
        assert count * dim / funnel == pytest.approx(125.5, abs=0.5)


class TestStorage:
    def test_adding_in_parts_and_numbering_on(self, data):
        vectors, queries = data
        whole, parts = FunnelSearch(vectors, [4, 32], [25]), FunnelSearch(sizes=[4, 32], shortlists=[25])
        for start in range(0, N, 110):
            parts.add(vectors[start : start + 110])
        for one, other in zip(whole.search(queries, 5), parts.search(queries, 5), strict=True):
            assert np.array_equal(one, other)
        assert len(parts) == N
        numbered = FunnelSearch(vectors[:3], [4, 32], [25], ids=[10, 40, 20])
        numbered.add(vectors[3:5])
        assert sorted(numbered.search(queries[:1], 5)[1][0]) == [10, 20, 40, 41, 42]

    def test_ids_of_vectors(self, data):
        vectors, queries = data
        index = FunnelSearch(Vectors(vectors, ids=[f"v{row}" for row in range(N)]), [4, 32], [25])
        plain = FunnelSearch(vectors, [4, 32], [25])
        assert index.search(queries, 3)[1].tolist() == [[f"v{n}" for n in row] for row in plain.search(queries, 3)[1]]

    def test_bytes(self, data):
        vectors, _ = data
        assert FunnelSearch(sizes=[4, 32], shortlists=[25]).nbytes == 0
        assert FunnelSearch(vectors, [4, 8, 32], [25, 9]).nbytes == 4 * N * (DIM + 4 + 2)
        assert FunnelSearch(vectors, [4, 8, 32], [25, 9], metric="dot").nbytes == 4 * N * (DIM + 4)

    @pytest.mark.parametrize("memory_map", [False, True])
    @pytest.mark.parametrize("metric", ["cosine", "dot"])
    def test_save_and_load(self, data, tmp_path, memory_map, metric):
        vectors, queries = data
        index = FunnelSearch(vectors, [4, 8, 32], [25, 12], metric=metric, ids=[f"v{row}" for row in range(N)])
        index.save(tmp_path / "index")
        again = FunnelSearch.load(tmp_path / "index", memory_map=memory_map)
        for one, other in zip(index.search(queries, 5), again.search(queries, 5), strict=True):
            assert np.array_equal(one, other)
        assert (again.nbytes, again.sizes, again.shortlists, again.metric) == (
            index.nbytes,
            (4, 8, 32),
            (25, 12),
            metric,
        )
        again.add(vectors[:2] + 1, ["new", "newer"])
        assert len(again) == N + 2
        again.save(tmp_path / "index")  # over the folder that is mapped
        assert len(FunnelSearch.load(tmp_path / "index")) == N + 2

    def test_empty_index_can_be_saved(self, data, tmp_path):
        FunnelSearch(sizes=[4, 32], shortlists=[25]).save(tmp_path / "index")
        index = FunnelSearch.load(tmp_path / "index")
        index.add(data[0])
        assert index.shortlists == (25,)

    def test_full_vectors_stay_on_disk(self, data, tmp_path):
        vectors, queries = data
        np.save(tmp_path / "vectors.npy", vectors)
        mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
        index = FunnelSearch(mapped, [4, 32], [25])
        held = index._vectors.matrix
        assert np.shares_memory(held, mapped)
        for one, other in zip(index.search(queries), FunnelSearch(vectors, [4, 32], [25]).search(queries), strict=True):
            assert np.array_equal(one, other)

    def test_damaged_folders(self, data, tmp_path):
        vectors, _ = data
        with pytest.raises(FileProblemError, match="no such file"):
            FunnelSearch.load(tmp_path / "missing")
        index = FunnelSearch(vectors, [4, 32], [25])

        def fresh():
            index.save(tmp_path / "index")
            return tmp_path / "index"

        for content in ("not json", "[]", '{"format": "else"}', '{"format": "polyvec-funnel-1"}'):
            (fresh() / "funnel.json").write_text(content)
            with pytest.raises(FormatError):
                FunnelSearch.load(tmp_path / "index")
        folder = fresh()
        state = json.loads((folder / "funnel.json").read_text())
        (folder / "funnel.json").write_text(json.dumps({**state, "sizes": [8, 32]}))
        with pytest.raises(FormatError, match="do not fit together"):
            FunnelSearch.load(folder)
        (folder / "funnel.json").write_text(json.dumps({**state, "sizes": [32, 8]}))
        with pytest.raises(FormatError, match="increasing"):
            FunnelSearch.load(folder)
        (fresh() / "prefixes.safetensors").write_bytes(b"short")
        with pytest.raises(FormatError, match="prefixes"):
            FunnelSearch.load(tmp_path / "index")
        (fresh() / "vectors.arrow").unlink()
        with pytest.raises(FileProblemError):
            FunnelSearch.load(tmp_path / "index")


@pytest.mark.usefixtures("own_messages")
class TestBadInput:
    @pytest.mark.parametrize(
        ("sizes", "shortlists", "message"),
        [
            ([], [], "sizes: got none"),
            ([8, 4], [10], "increasing"),
            ([0, 4], [10], "at least 1"),
            ([4, 64], [10], "sizes: got 64, but the vectors have 32"),
            ([4, 32], [], "got 0 for 2 sizes"),
            ([4, 32], [10, 5], "got 2 for 2 sizes"),
            ([4, 8, 32], [10, 20], "do not increase"),
            ([4, 32], [0], "shortlists: got 0"),
            ([4, 32], 10, "shortlists: got int"),
            ([4, 32], None, "needs both or none"),
        ],
    )
    def test_schedule(self, data, sizes, shortlists, message):
        with pytest.raises((InvalidValueError, InvalidTypeError), match=message):
            FunnelSearch(data[0], sizes, shortlists)

    def test_searching(self, data):
        vectors, queries = data
        index = FunnelSearch(sizes=[4, 32], shortlists=[25])
        with pytest.raises(StoreError, match="no vectors"):
            index.search(queries)
        index.add(vectors)
        with pytest.raises(InvalidValueError, match="k: got 0"):
            index.search(queries, 0)
        with pytest.raises(InvalidValueError, match="queries: got 31 dimensions, needs 32"):
            index.search(queries[:, :31])
        queries[2, 1] = np.nan
        with pytest.raises(InvalidValueError, match="queries: row 2"):
            index.search(queries)
        with pytest.raises(InvalidValueError, match="metric"):
            FunnelSearch(vectors, [4, 32], [25], metric="euclid")

    def test_adding_something_bad_leaves_the_index_as_it_was(self, data):
        vectors, queries = data
        index = FunnelSearch(vectors, [4, 32], [25], ids=[f"v{row}" for row in range(N)])
        before = index.search(queries)
        broken = vectors[:3].copy()
        broken[1, 30] = np.inf
        for bad, ids, message in [
            (broken, ["a", "b", "c"], "vectors: row 1"),
            (vectors[:3, :31], ["a", "b", "c"], "got 31 dimensions, needs 32"),
            (vectors[:3], ["a", "b"], "2 ids for 3 vectors"),
            (vectors[:3], ["a", "b", "v7"], "'v7' occurs more than once"),
            (vectors[:3], None, "ids of text"),
            (vectors[:3], [1, 2, 3], "ids of types"),
        ]:
            with pytest.raises(InvalidValueError, match=message):
                index.add(bad, ids)
        assert len(index) == N
        for one, other in zip(before, index.search(queries), strict=True):
            assert np.array_equal(one, other)
        with pytest.raises(InvalidValueError, match="without vectors"):
            FunnelSearch(ids=["a"])

    def test_no_warnings_on_good_input(self, data):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            FunnelSearch(data[0], [4, 32], [25]).search(data[1])
