import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvec.core.errors import InvalidTypeError, InvalidValueError, MissingDependencyError
from polyvec.train.negatives import (
    Candidates,
    dense_candidates,
    keyword_candidates,
    mine_hard_negatives,
    rescored,
    score_limits,
    select_negatives,
)

DOCUMENTS = [
    "a library that reads pictures",
    "a library that writes pictures and reads sound",
    "play music from the command line",
    "a command line player of music and music videos",
    "",
    "the the the the",
]


def vectors(rows: int, seed: int, dim: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


def cosines(queries, documents) -> np.ndarray:
    queries, documents = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (queries, documents))
    return queries @ documents.T


class TestDenseCandidates:
    @settings(max_examples=30, deadline=None)
    @given(rows=st.integers(1, 40), depth=st.integers(1, 50), seed=st.integers(0, 99))
    def test_equals_a_full_sort(self, rows, depth, seed):
        queries, documents = vectors(5, seed), vectors(rows, seed + 1)
        found = dense_candidates(queries, documents, depth)
        scores = cosines(queries, documents)
        expected = np.argsort(-scores, axis=1)[:, :depth]
        assert np.array_equal(found.rows, expected)
        assert np.allclose(found.scores, np.take_along_axis(scores, expected, axis=1), atol=1e-6)

    def test_blocks_do_not_matter(self, monkeypatch):
        queries, documents = vectors(50, 0), vectors(40, 1)
        whole = dense_candidates(queries, documents, 7)
        monkeypatch.setattr("polyvec.train.negatives.candidates._BLOCK", 3 * 40)
        parts = dense_candidates(queries, documents, 7)
        assert np.array_equal(whole.rows, parts.rows)

    def test_zero_vectors_have_a_cosine_of_zero(self):
        found = dense_candidates([[1.0, 0.0]], [[0.0, 0.0], [-1.0, 0.0], [2.0, 0.0]], 3)
        assert found.rows.tolist() == [[2, 0, 1]]
        assert found.scores.tolist() == [[1.0, 0.0, -1.0]]


class TestKeywordCandidates:
    def by_hand(self, query: str, documents: list[str], k1: float, b: float) -> list[float]:
        words = [re.findall(r"\b\w\w+\b", text.lower()) for text in documents]
        mean = sum(map(len, words)) / len(words)
        scores = [0.0] * len(words)
        for word in re.findall(r"\b\w\w+\b", query.lower()):
            holding = sum(word in tokens for tokens in words)
            idf = math.log(1 + (len(words) - holding + 0.5) / (holding + 0.5))
            for number, tokens in enumerate(words):
                count = Counter(tokens)[word]
                scores[number] += idf * count / (count + k1 * (1 - b + b * len(tokens) / mean))
        return scores

    @pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (0.9, 0.4)])
    def test_equals_the_formula(self, k1, b):
        queries = ["reads Pictures", "music music player", "the command", "zebra", "", "a"]
        found = keyword_candidates(queries, DOCUMENTS, 10, k1=k1, b=b)
        for number, query in enumerate(queries):
            expected = self.by_hand(query, DOCUMENTS, k1, b)
            kept = [row for row in found.rows[number] if row >= 0]
            assert kept == sorted((row for row, score in enumerate(expected) if score > 0), key=lambda r: -expected[r])
            assert np.allclose(found.scores[number, : len(kept)], [expected[row] for row in kept], rtol=1e-5)
            assert (found.rows[number, len(kept) :] == -1).all()
            assert np.isneginf(found.scores[number, len(kept) :]).all()

    def test_depth_and_texts_without_words(self):
        assert keyword_candidates(["music"], DOCUMENTS, 1).rows.tolist() == [[3]]
        nothing = keyword_candidates(["music"], ["", "?"], 5)
        assert nothing.rows.tolist() == [[-1, -1]]

    @pytest.mark.usefixtures("own_messages")
    def test_bad_input(self, monkeypatch):
        with pytest.raises(InvalidTypeError, match="queries: got one text"):
            keyword_candidates("music", DOCUMENTS)
        with pytest.raises(InvalidTypeError, match="documents: item 1 is a int"):
            keyword_candidates(["music"], ["a", 3])
        with pytest.raises(InvalidValueError, match="documents: got none"):
            keyword_candidates(["music"], [])
        with pytest.raises(InvalidValueError, match=r"k1, b: got 1\.5 and 2"):
            keyword_candidates(["music"], DOCUMENTS, b=2)
        monkeypatch.setitem(__import__("sys").modules, "bm25s", None)
        with pytest.raises(MissingDependencyError, match=r"pip install 'polyvec\[train\]'"):
            keyword_candidates(["music"], DOCUMENTS)


class TestLimits:
    def test_each_rule_and_the_strictest_of_several(self):
        own = np.array([0.8, 0.1, -0.5, 0.0])
        assert np.allclose(score_limits(own, max_ratio=0.95), [0.76, 0.095, -0.525, 0.0])
        assert np.allclose(score_limits(own, margin=0.1), [0.7, 0.0, -0.6, -0.1])
        assert np.allclose(score_limits(own, max_score=0.5), 0.5)
        assert np.isposinf(score_limits(own)).all()
        both = score_limits(own, max_ratio=0.95, margin=0.03, max_score=0.72)
        assert np.allclose(both, [0.72, 0.07, -0.53, -0.03])

    @pytest.mark.parametrize("score", [0.9, 0.02, -0.02, -0.9])
    def test_a_ratio_never_lets_more_than_the_positive_pass(self, score):
        assert score_limits([score], max_ratio=0.95)[0] < score

    @pytest.mark.usefixtures("own_messages")
    def test_bad_input(self):
        for ratio in (0, 1.1, float("nan")):
            with pytest.raises(InvalidValueError, match="max_ratio"):
                score_limits([0.5], max_ratio=ratio)
        with pytest.raises(InvalidValueError, match="margin: got -1"):
            score_limits([0.5], margin=-1)
        with pytest.raises(InvalidTypeError, match="max_score: got str"):
            score_limits([0.5], max_score="0.5")


def by_hand(queries, documents, positives, count, *, ratio=None, margin=None, low=None, ranks=(0, None), depth=200):
    """Lists and loops."""
    scores = cosines(queries, documents)
    result = []
    for number, own in enumerate(positives):
        order = [row for row in np.argsort(-scores[number])[:depth] if row not in own]
        lowest = min(float(scores[number, row]) for row in own)
        kept = []
        for row in order[ranks[0] : ranks[1]]:
            score = float(scores[number, row])
            if ratio is not None and score > lowest - (1 - ratio) * abs(lowest):
                continue
            if margin is not None and score > lowest - margin:
                continue
            if low is not None and score < low:
                continue
            kept.append(int(row))
        result.append((kept[:count] + [-1] * count)[:count])
    return result


class TestMining:
    @settings(max_examples=40, deadline=None)
    @given(
        seed=st.integers(0, 999), count=st.integers(1, 6), ratio=st.sampled_from([None, 0.5, 0.95]),
        margin=st.sampled_from([None, 0.1]), low=st.sampled_from([None, -0.2]),
        ranks=st.sampled_from([(0, None), (2, None), (1, 5)]), depth=st.sampled_from([6, 200]),
    )  # fmt: skip
    def test_equals_loops(self, seed, count, ratio, margin, low, ranks, depth):
        queries, documents = vectors(6, seed), vectors(15, seed + 1)
        positives = [[0], [3, 7], [14], [2], [5, 6, 8], [1]]
        mined = mine_hard_negatives(
            queries, documents, positives, count=count, max_ratio=ratio, margin=margin, min_score=low, ranks=ranks,
            depth=depth,
        )  # fmt: skip
        expected = by_hand(
            queries, documents, positives, count, ratio=ratio, margin=margin, low=low, ranks=ranks, depth=depth
        )
        assert mined.rows.tolist() == expected
        assert mined.found.tolist() == [sum(row >= 0 for row in rows) for rows in expected]
        assert mined.complete.tolist() == [-1 not in rows for rows in expected]
        scores = cosines(queries, documents)
        for number, rows in enumerate(mined.rows):
            assert np.allclose(mined.scores[number][rows >= 0], scores[number][rows[rows >= 0]], atol=1e-6)

    def test_blocks_do_not_matter(self, monkeypatch):
        queries, documents = vectors(6, 0), vectors(15, 1)
        positives = [[0], [3, 7], [14], [2], [5, 6, 8], [1]]
        found = dense_candidates(vectors(6, 2), documents, 9)
        whole = mine_hard_negatives(queries, documents, positives, candidates=found)
        monkeypatch.setattr("polyvec.train.negatives.mining._BLOCK", 4 * 6)
        parts = mine_hard_negatives(queries, documents, positives, candidates=found)
        assert np.array_equal(whole.rows, parts.rows)
        assert np.array_equal(whole.thresholds, parts.thresholds)

    def test_the_recipe_of_nv_embed_by_hand(self):
        """Positive 0.8: 0.77 is above 0.76 and goes, 0.75 stays."""
        angles = np.arccos([0.8, 0.77, 0.75, 0.3, 0.9])
        documents = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        mined = mine_hard_negatives([[1.0, 0.0]], documents, [0], count=2)
        assert mined.rows.tolist() == [[2, 3]]
        assert mined.thresholds == pytest.approx([0.76])
        assert mine_hard_negatives([[1.0, 0.0]], documents, [0], count=2, max_ratio=None).rows.tolist() == [[4, 1]]
        assert mine_hard_negatives([[1.0, 0.0]], documents, [[0, 3]], count=2).found.tolist() == [0]

    def test_a_guide_filters_what_another_search_found(self):
        queries, documents = ["reads pictures", "music on the command line"], DOCUMENTS[:4]
        found = keyword_candidates(queries, documents)
        guide_documents = np.array([[1.0, 0.0], [0.99, 0.1], [0.1, 1.0], [0.5, 0.9]])
        guide_queries = np.array([[1.0, 0.02], [0.0, 1.0]])
        loose = select_negatives(found, [0, 2], count=2)
        assert loose.rows.tolist() == [[1, -1], [3, -1]]
        mined = mine_hard_negatives(guide_queries, guide_documents, [0, 2], count=2, candidates=found)
        assert mined.rows.tolist() == [[-1, -1], [3, -1]]  # the guide finds document 1 as good as the positive
        every = rescored(found, guide_queries, guide_documents)
        assert sorted(every.rows[1].tolist()) == sorted(found.rows[1].tolist())
        assert np.allclose(every.scores[1][:2], cosines(guide_queries, guide_documents)[1][every.rows[1][:2]])

    def test_random_choice_is_among_what_passes_and_follows_the_seed(self):
        queries, documents = vectors(200, 0), vectors(30, 1)
        positives = list(np.random.default_rng(2).integers(30, size=200))
        options = {"count": 3, "ranks": (0, 10), "max_ratio": None}
        passing = mine_hard_negatives(queries, documents, positives, **{**options, "count": 10}).rows
        first, again, other = (
            mine_hard_negatives(queries, documents, positives, choice="random", seed=seed, **options)
            for seed in (1, 1, 2)
        )
        assert np.array_equal(first.rows, again.rows)
        assert not np.array_equal(first.rows, other.rows)
        place = (passing[:, :, None] == first.rows[:, None, :]).argmax(axis=1)
        assert (passing[np.arange(200)[:, None], place] == first.rows).all()
        drawn = np.bincount(place.ravel(), minlength=10)  # 60 of each expected; their deviation is below 7.8
        assert drawn.min() > 25
        assert drawn.max() < 95
        assert (np.diff(first.scores, axis=1) <= 0).all()

    def test_takes_any_kind_of_vectors_and_feeds_the_objective(self):
        import torch

        from polyvec.core.vectors import Vectors
        from polyvec.train import InfoNCE

        queries, documents = vectors(4, 0), vectors(20, 1)
        mined = mine_hard_negatives(Vectors(queries), torch.from_numpy(documents), [0, 1, 2, 3], max_ratio=None)
        assert (
            mined.rows.tolist() == mine_hard_negatives(queries, documents, [0, 1, 2, 3], max_ratio=None).rows.tolist()
        )
        stored = torch.from_numpy(documents)
        loss = InfoNCE(in_batch=False)(torch.from_numpy(queries), stored[:4], stored[torch.from_numpy(mined.rows)])
        assert torch.isfinite(loss)


@pytest.mark.usefixtures("own_messages")
class TestBadInput:
    def test_positives(self):
        queries, documents = vectors(2, 0), vectors(5, 1)
        for positives, message in (
            ([0], "got 1 entries, needs 2"), ([0, []], "query 1 has none"), ([0, 5], "needs rows below 5"),
            ([0, -1], "needs rows below 5"),
        ):  # fmt: skip
            with pytest.raises(InvalidValueError, match=message):
                mine_hard_negatives(queries, documents, positives)
        for positives in (3, "ab", [0, 1.5], [0, [[1]]]):
            with pytest.raises(InvalidTypeError, match="positives"):
                mine_hard_negatives(queries, documents, positives)

    def test_shapes(self):
        queries, documents = vectors(2, 0), vectors(5, 1)
        with pytest.raises(InvalidValueError, match="queries: got 6 dimensions, needs 4"):
            mine_hard_negatives(queries, documents[:, :4], [0, 1])
        broken = documents.copy()
        broken[2, 0] = np.nan
        with pytest.raises(InvalidValueError, match="documents: row 2"):
            mine_hard_negatives(queries, broken, [0, 1])
        found = dense_candidates(queries, documents)
        with pytest.raises(InvalidValueError, match="queries: got 1, needs 2"):
            rescored(found, queries[:1], documents)
        with pytest.raises(InvalidValueError, match="documents: got 4, but a candidate is row 4"):
            rescored(found, queries, documents[:4])
        with pytest.raises(InvalidValueError, match="needs two matrices"):
            Candidates(found.rows, found.scores[:1])
        with pytest.raises(InvalidValueError, match=r"limits: got shape \(3,\)"):
            select_negatives(found, [0, 1], limits=[0.5, 0.5, 0.5])

    def test_options(self):
        found = dense_candidates(vectors(2, 0), vectors(5, 1))
        for options, message in (
            ({"count": 0}, "count: got 0"), ({"choice": "soft"}, "choice: got 'soft'"),
            ({"ranks": (3, 3)}, "last rank above"), ({"ranks": (-1, None)}, "ranks: got -1"),
            ({"min_score": float("inf")}, "min_score"),
        ):  # fmt: skip
            with pytest.raises(InvalidValueError, match=message):
                select_negatives(found, [0, 1], **options)
        with pytest.raises(InvalidTypeError, match="depth: got float"):
            dense_candidates(vectors(2, 0), vectors(5, 1), 2.5)
