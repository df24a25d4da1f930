"""Highlights and snippets: the words that keyword search would find, at offsets that count characters."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvec.app.server.highlights import SNIPPET, Highlighter


def shown(query, text, language="English"):
    return [text[start:end] for start, end in Highlighter(query, language).spans(text)]


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("shrink tables", "Shrinking a TABLE shrinks it; untabled", ["Shrinking", "TABLE", "shrinks"]),
        ("the café", "The CAFE and the cafés, cafeteria", ["CAFE", "cafés"]),
        ("to be", "To be or not", ["To", "be"]),  # nothing but stop words: then they are what is meant
        ("STRASSE", "Die Straße", ["Straße"]),
        ("x86", "x86_64, x86-64 and x86", ["x86", "x86", "x86"]),
        ("vector", "a🎉vector 🎉🎉 vectors", ["vector", "vectors"]),
        ("année", "l'anne\u0301e", ["anne\u0301e"]),
        ("", "anything", []),
        ("!?", "anything!?", []),
        ("索引", "索引 and 搜索", ["索引"]),
    ],
)
def test_words(query, text, expected):
    assert shown(query, text) == expected


def test_stems_of_the_indexs_language():
    assert shown("Häuser", "das Haus, des Hauses", "German") == ["Haus", "Hauses"]
    assert shown("houses", "house", "Klingon") == []
    assert shown("house", "HOUSE", "Klingon") == ["HOUSE"]


def test_the_snippet_is_where_most_of_the_query_is():
    text = (
        "needle alone here. "
        + "filler words go on. " * 60
        + "a needle in the haystack, needles "
        + "more filler. " * 60
    )
    snippet, spans = Highlighter("needle haystack").snippet(text)
    assert [snippet[start:end] for start, end in spans] == ["needle", "haystack", "needles"]
    assert snippet.startswith("… ")
    assert snippet.endswith(" …")
    assert len(snippet) <= SNIPPET + 4


def test_a_short_text_is_shown_whole():
    assert Highlighter("sky").snippet("  blue\n\n sky ") == ("blue sky", [(5, 8)])
    assert Highlighter("sky").snippet("") == ("", [])


def test_a_text_without_the_words_begins_at_its_beginning():
    snippet, spans = Highlighter("absent").snippet("word " * 100)
    assert snippet.startswith("word word")
    assert snippet.endswith(" …")
    assert spans == []


@given(st.text(max_size=40), st.text(max_size=900), st.sampled_from(["English", "German", "unknown"]))
@settings(max_examples=150, deadline=None)
def test_spans_are_words_of_the_snippet(query, text, language):
    words = Highlighter(query, language)
    snippet, spans = words.snippet(text)
    assert len(snippet) <= SNIPPET + 4
    last = 0
    for start, end in spans:
        assert last <= start < end <= len(snippet)
        last = end
        assert any(unicodedata.category(one)[0] in "LN" for one in snippet[start:end])
    if snippet and not snippet.startswith("… "):
        assert "".join(text.split()).startswith("".join(snippet.removesuffix(" …").split())[:20])


@given(st.lists(st.sampled_from(["bax", "dox", "Fum", "gex"]), min_size=1, max_size=60))
def test_exactly_the_querys_words_are_marked(words):
    text = " ".join(words)
    assert shown("fum dox", text) == [word for word in words if word in ("Fum", "dox")]
