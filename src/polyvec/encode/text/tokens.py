"""Texts to token numbers: checking, cleaning, truncating, and where in the text each token stands."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Int64

from polyvec.core.errors import InvalidTypeError, InvalidValueError

_SURROGATES = re.compile("[\ud800-\udfff]")
_SEGMENT_CHARACTERS = 100_000  # tokenizing in pieces bounds memory: an encoding takes some 200 bytes a token


def check_text(item: Any, index: int) -> str:
    """`item` as clean text: lone surrogates, which no UTF-8 text can hold, become U+FFFD (one for one).

    Raises:
        InvalidTypeError: Not a `str`; the message names its index.
    """
    if not isinstance(item, str):
        hint = "decode it first, e.g. item.decode('utf-8')" if isinstance(item, bytes) else "drop it or use str(item)"
        raise InvalidTypeError(f"sentences[{index}]: got {type(item).__name__}, needs str; {hint}")
    if item.isascii():
        return item
    try:
        item.encode("utf-8")
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", item)
    return item


def iterate_items(sentences: Any) -> Iterator[Any]:
    """The items of any sequence or iterable that has an order and whose elements are texts.

    Raises:
        InvalidTypeError: A mapping, set, table, bytes or something that cannot be iterated.
    """
    if (
        isinstance(sentences, (bytes, bytearray, Mapping, Set))
        or hasattr(sentences, "columns")
        or not isinstance(sentences, Iterable)
    ):
        raise InvalidTypeError(
            f"sentences: got {type(sentences).__name__}, needs a str, or a list (or another ordered iterable) of str"
        )
    if isinstance(sentences, np.ndarray) and sentences.ndim != 1:
        raise InvalidTypeError(
            f"sentences: got a numpy array of shape {sentences.shape}, needs one dimension: an array of texts"
        )
    for convert in ("to_pylist", "tolist", "to_list"):  # Arrow, numpy and pandas, polars
        if callable(method := getattr(sentences, convert, None)):
            return iter(method())
    return iter(sentences)


@dataclass(frozen=True)
class Tokenized:
    """Token numbers of several texts in one flat array; text `i` is `ids[starts[i]:starts[i + 1]]`."""

    ids: Int32[np.ndarray, " tokens"]
    starts: Int64[np.ndarray, " texts_plus_one"]

    @property
    def lengths(self) -> Int64[np.ndarray, " texts"]:
        """Tokens of each text, special tokens included."""
        return np.diff(self.starts)


@dataclass(frozen=True)
class TokenSpans:
    """The tokens of one text, untruncated and without special tokens: where each starts and ends, in characters."""

    starts: Int64[np.ndarray, " tokens"]
    ends: Int64[np.ndarray, " tokens"]
    opens_word: Bool[np.ndarray, " tokens"]


class TextTokenizer:
    """A tokenizer that is never changed after it was made, so that any number of threads can use it at once.

    Args:
        tokenizer_json: The tokenizer in the format of the tokenizers library.
        max_length: Tokens, special ones included, after which a text is cut.
    """

    def __init__(self, tokenizer_json: str, max_length: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer_json = tokenizer_json
        self._whole: Any = None
        self._lock = threading.Lock()
        self._cutting = Tokenizer.from_str(tokenizer_json)
        self._cutting.no_padding()
        self._cutting.no_truncation()
        specials = self._cutting.encode("a").special_tokens_mask
        self.special_count = int(sum(specials))
        if max_length <= self.special_count:
            raise InvalidValueError(
                f"max_length: got {max_length}, needs at least {self.special_count + 1}: the model adds "
                f"{self.special_count} special tokens to every text"
            )
        self.leading_specials = int(np.argmin(specials)) if self.special_count else 0
        self._cutting.enable_truncation(max_length)
        self.max_length = max_length
        self._prefix_characters = 16 * max_length + 512  # a first guess that is checked, not trusted

    @property
    def whole(self) -> Any:
        """The tokenizer without truncation, made when it is first needed."""
        with self._lock:
            if self._whole is None:
                from tokenizers import Tokenizer

                whole = Tokenizer.from_str(self._tokenizer_json)
                whole.no_padding()
                whole.no_truncation()
                self._whole = whole
            return self._whole

    def vocabulary(self) -> dict[str, int]:
        """Every token and its number, added tokens included."""
        return dict(self._cutting.get_vocab(with_added_tokens=True))

    def __call__(self, texts: Sequence[str]) -> Tokenized:
        """Tokens of each text, special tokens included, cut to `max_length`."""
        short = [text if len(text) <= self._prefix_characters else self._prefix(text) for text in texts]
        lists = [encoding.ids for encoding in self._cutting.encode_batch_fast(short)]
        starts = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(ids) for ids in lists], out=starts[1:])
        return Tokenized(np.fromiter(chain.from_iterable(lists), np.int32, count=int(starts[-1])), starts)

    def _prefix(self, text: str) -> str:
        """A beginning of `text` that has the same first `max_length` tokens as the whole.

        Cutting can only change the last word of what is left, so a beginning is long enough when the words before its
        last one already have enough tokens.
        """
        size = self._prefix_characters
        while size < len(text):
            beginning = text[:size]
            words = self.whole.encode(beginning, add_special_tokens=False).word_ids
            if words and words[-1] is not None and words.index(words[-1]) >= self.max_length:
                return beginning
            size *= 4
        return text

    def spans(self, text: str) -> TokenSpans:
        """Where each token of the whole text stands.

        Texts of more than 100,000 characters are tokenized in pieces that end before a white space (or after 100,000
        characters without any).
        """
        starts, ends, opens = [], [], []
        for begin, end in _segments(text):
            encoding = self.whole.encode(text[begin:end], add_special_tokens=False)
            if not encoding.ids:
                continue
            offsets = np.asarray(encoding.offsets, np.int64).reshape(-1, 2) + begin
            words = np.asarray([-1 if word is None else word for word in encoding.word_ids], np.int64)
            starts.append(offsets[:, 0])
            ends.append(offsets[:, 1])
            opens.append(np.concatenate([[True], words[1:] != words[:-1]]))
        if not starts:
            nothing = np.zeros(0, np.int64)
            return TokenSpans(nothing, nothing, np.zeros(0, bool))
        return TokenSpans(np.concatenate(starts), np.concatenate(ends), np.concatenate(opens))


def _segments(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < len(text):
        end = begin + _SEGMENT_CHARACTERS
        if end < len(text):
            spaces = [text.rfind(space, begin + 1, end) for space in (" ", "\n")]
            end = max(spaces) if max(spaces) > begin else end
        else:
            end = len(text)
        yield begin, end
        begin = end
