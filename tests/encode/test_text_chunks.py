"""Long texts: where they are cut, what a chunk's vector is, how chunks are pooled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_support import default_encoder, sample_texts

from polyvec.core.errors import InvalidValueError
from polyvec.encode import Chunking
from polyvec.encode.text.bundled import bundled_folder
from polyvec.encode.text.chunking import plan_chunks
from polyvec.encode.text.tokens import TextTokenizer

TOKENIZER = TextTokenizer((bundled_folder() / "tokenizer.json").read_text(encoding="utf-8"), 256)
LONG = " ".join(sample_texts(30, seed=11))
TEXTS = ["short text", LONG, "", LONG[:3000], "end"]


def test_a_chunk_is_encoded_as_the_text_that_it_spans():
    encoder = default_encoder("exact")
    found = encoder.encode(TEXTS, output="chunks", chunking=Chunking(64, 16))
    assert len(found) == len(found.vectors) == len(found.starts)
    assert set(found.items.tolist()) == {0, 1, 2, 3, 4}
    pieces = [TEXTS[item][start:end] for item, start, end in found.spans()]
    np.testing.assert_allclose(found.vectors, encoder.encode(pieces), atol=1e-5)


def test_chunks_cover_the_text_and_overlap_as_asked():
    size, overlap = 64, 16
    plan = plan_chunks([LONG], TOKENIZER, Chunking(size, overlap))
    assert len(plan.texts) > 5
    assert plan.tokens.max() <= size - TOKENIZER.special_count
    assert plan.tokens[:-1].min() > size - TOKENIZER.special_count - 10  # a cut is moved to the end of a word
    covered = np.zeros(len(LONG), bool)
    for text, start, end in zip(plan.texts, plan.starts, plan.ends, strict=True):
        assert text == LONG[start:end]
        assert text == text.strip()
        assert start == 0 or LONG[start - 1] in " ."
        covered[start:end] = True
    assert all(character == " " for character, seen in zip(LONG, covered, strict=True) if not seen)
    shared = plan.ends[:-1] - plan.starts[1:]
    assert (shared > 0).all()
    tokens = [len(TOKENIZER.spans(LONG[a:b]).starts) for a, b in zip(plan.starts[1:], plan.ends[:-1], strict=True)]
    assert min(tokens) >= 1
    assert max(tokens) <= overlap
    without = plan_chunks([LONG], TOKENIZER, Chunking(size, 0))
    assert (without.ends[:-1] <= without.starts[1:]).all()
    assert without.tokens.sum() == len(TOKENIZER.spans(LONG).starts)


def test_pooled_vectors_are_the_weighted_mean_of_chunk_vectors():
    encoder = default_encoder("exact")
    chunking = Chunking(64, 16)
    pooled = encoder.encode(TEXTS, chunking=chunking)
    chunks = encoder.encode(TEXTS, output="chunks", chunking=chunking)
    for item in range(len(TEXTS)):
        own = chunks.items == item
        mean = np.average(chunks.vectors[own].astype(np.float64), axis=0, weights=np.maximum(chunks.tokens[own], 1))
        np.testing.assert_allclose(pooled[item], mean / np.linalg.norm(mean), atol=1e-6)
        if own.sum() == 1:
            np.testing.assert_array_equal(pooled[item], chunks.vectors[own][0])


def test_short_texts_are_not_touched_by_chunking():
    encoder = default_encoder("exact")
    texts = sample_texts(20, longest=20)
    np.testing.assert_array_equal(encoder.encode(texts, chunking=Chunking()), encoder.encode(texts))


def test_chunking_of_the_encoder_is_the_default_of_a_call():
    encoder = default_encoder("exact", chunking=Chunking(64, 16))
    wanted = default_encoder("exact").encode(LONG, chunking=Chunking(64, 16))
    np.testing.assert_array_equal(encoder.encode(LONG), wanted)
    assert not np.allclose(wanted, default_encoder("exact").encode(LONG), atol=1e-3)
    several = default_encoder("exact").encode([LONG], chunking=Chunking(64, 16, pooling="none"))
    assert several.vectors.shape == (len(several), 384)


def test_prompts_count_and_are_put_before_every_chunk():
    encoder = default_encoder("exact")
    chunking = Chunking(32, 8)
    prompt = "a prompt of some words: "
    found = encoder.encode([LONG], output="chunks", chunking=chunking, prompt=prompt)
    assert found.tokens.max() <= 32 - 2 - len(TOKENIZER.spans(prompt).starts)
    pieces = [prompt + LONG[start:end] for _, start, end in found.spans()]
    np.testing.assert_allclose(found.vectors, encoder.encode(pieces), atol=1e-5)


def test_a_word_longer_than_a_chunk_is_cut():
    text = "0123456789" * 9 + " tail"
    plan = plan_chunks([text], TOKENIZER, Chunking(8, 2))
    assert len(plan.texts) > 1
    assert plan.tokens.max() <= 6
    assert plan.ends[-1] == len(text)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(alphabet="ab .-é漢\n", max_size=300), max_size=4),
    st.integers(4, 40),
    st.integers(0, 20),
)
def test_no_token_is_lost_and_no_chunk_is_too_long(texts, size, overlap):
    overlap = min(overlap, size // 2)
    plan = plan_chunks(texts, TOKENIZER, Chunking(size, overlap))
    assert sorted(set(plan.items.tolist())) == list(range(len(texts)))
    assert plan.tokens.max(initial=0) <= size - TOKENIZER.special_count
    for item, text in enumerate(texts):
        own = np.flatnonzero(plan.items == item)
        spans = TOKENIZER.spans(text)
        inside = np.zeros(len(spans.starts), bool)
        for chunk in own:
            inside |= (spans.starts >= plan.starts[chunk]) & (spans.ends <= plan.ends[chunk])
        assert inside.all()
        assert (np.diff(plan.starts[own]) > 0).all()


def test_very_long_texts_are_tokenized_in_pieces_with_the_same_tokens():
    text = " ".join(sample_texts(900, seed=12))
    assert len(text) > 100_000
    whole = TOKENIZER.whole.encode(text, add_special_tokens=False)
    spans = TOKENIZER.spans(text)
    np.testing.assert_array_equal(spans.starts, [start for start, _ in whole.offsets])
    np.testing.assert_array_equal(spans.ends, [end for _, end in whole.offsets])
    np.testing.assert_array_equal(spans.opens_word, np.diff(whole.word_ids, prepend=-1) != 0)


def test_empty_list():
    found = default_encoder("exact").encode([], output="chunks")
    assert found.vectors.shape == (0, 384)
    assert len(found) == 0


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Chunking(0), "size_tokens"),
        (lambda: Chunking(10, -1), "overlap"),
        (lambda: Chunking(10, 6), "overlap"),
        (lambda: Chunking(pooling="max"), "pooling"),
        (lambda: default_encoder("exact").encode("x", chunking=Chunking(512)), "size_tokens"),
        (lambda: default_encoder("exact").encode("x", chunking=Chunking(2, 1)), "size_tokens"),
    ],
)
def test_bad_chunking(make, word):
    with pytest.raises(InvalidValueError, match=word):
        make()
