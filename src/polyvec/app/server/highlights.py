"""Which words of a document a query hits, and the part of its text that shows them best.

Words are compared as keyword search compares them: without case and accents, stemmed in the index's language, stop
words left out. Offsets count characters (Unicode code points), not bytes and not UTF-16 units.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Callable
from functools import lru_cache

Span = tuple[int, int]

SNIPPET = 240
"""Characters of a snippet, about three lines."""

SCANNED = 30_000
"""Characters of a text that are looked through: a book's snippet comes from its first pages rather than too late."""

_WORD = re.compile(r"(?:[^\W_][\u0300-\u036f]*)+")
_STOP_WORDS = {
    "english": frozenset(
        (
            "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not",
            "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was",
            "will", "with",
        )
    )
}  # fmt: skip
_MOST_WORDS = 512


@lru_cache(maxsize=16)
def _stems(language: str) -> Callable[[str], str]:
    """What stands for a word of this language when words are compared; remembers the words of many texts."""
    import snowballstemmer

    name = language.lower()
    stemmer = snowballstemmer.stemmer(name) if name in snowballstemmer.algorithms() else None
    lock = threading.Lock()  # a stemmer keeps the word it is at in itself

    @lru_cache(maxsize=1 << 17)
    def stem(word: str) -> str:
        plain = _plain(word)
        if stemmer is None:
            return plain
        with lock:
            return str(stemmer.stemWord(plain))

    return stem


def _plain(word: str) -> str:
    """A word without case and accents."""
    folded = word.casefold()
    if folded.isascii():
        return folded
    return "".join(part for part in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(part))


class Highlighter:
    """Finds the words of one query in texts.

    Args:
        query: What was searched for.
        language: The index's language, such as `English`.
    """

    def __init__(self, query: str, language: str = "English") -> None:
        self._stem = _stems(language)
        words = dict.fromkeys(_plain(found.group()) for found in _WORD.finditer(query))
        stop = _STOP_WORDS.get(language.lower(), frozenset())
        telling = [word for word in words if word not in stop] or list(words)
        self._stems = frozenset(map(self._stem, telling[:_MOST_WORDS]))

    def spans(self, text: str) -> list[Span]:
        """Where the query's words stand: `[start, end)` in characters, in order."""
        return [span for span, _ in self._found(text)]

    def _found(self, text: str) -> list[tuple[Span, str]]:
        stem_of, wanted = self._stem, self._stems
        if not wanted:
            return []
        words = _WORD.finditer(text, 0, SCANNED)
        return [(word.span(), stem) for word in words if (stem := stem_of(word[0])) in wanted]

    def snippet(self, text: str, length: int = SNIPPET) -> tuple[str, list[Span]]:
        """About `length` characters of the text around most of the query's words, and where these stand in it.

        White space is joined; an ellipsis stands where the text goes on.
        """
        start = self._best_start(self._found(text), length)
        stop = min(len(text), start + length)
        if start:
            start = _word_start(text, start)
        if stop < len(text):
            stop = _word_stop(text, start, stop)
        line = " ".join(text[start:stop].split())
        shown = f"{'… ' if start else ''}{line}{' …' if stop < len(text) and line else ''}"
        return shown, self.spans(shown)

    def _best_start(self, found: list[tuple[Span, str]], length: int) -> int:
        """Where a window begins that holds the most different words of the query, then the most words."""
        if not found:
            return 0
        best, best_score, last = 0, (0, 0), 0
        inside: dict[str, int] = {}
        for first, ((begin, _), stem) in enumerate(found):
            last = max(last, first)
            while last < len(found) and found[last][0][1] <= begin + length * 3 // 4:
                inside[found[last][1]] = inside.get(found[last][1], 0) + 1
                last += 1
            score = (len(inside), last - first)
            if score > best_score:
                best, best_score = begin, score
            if stem in inside:
                inside[stem] -= 1
                if not inside[stem]:
                    del inside[stem]
        return max(0, best - length // 4) if best > length // 4 else 0


def _word_start(text: str, start: int) -> int:
    """The next start of a word, when `start` is inside one; not further than a long word."""
    if text[start - 1].isspace():
        return start
    space = next((place for place in range(start, min(len(text), start + 40)) if text[place].isspace()), None)
    return start if space is None else space + 1


def _word_stop(text: str, start: int, stop: int) -> int:
    """The last end of a word, when `stop` is inside one; not further back than a long word."""
    if text[stop].isspace():
        return stop
    space = next((place for place in range(stop, max(start, stop - 40), -1) if text[place].isspace()), None)
    return stop if space is None else space
