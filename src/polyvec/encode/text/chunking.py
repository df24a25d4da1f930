"""Long texts in overlapping chunks of whole words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64

from polyvec.core.errors import InvalidValueError
from polyvec.encode.text.tokens import TextTokenizer, TokenSpans


@dataclass(frozen=True)
class Chunking:
    """How texts that are longer than the model's window are cut.

    Args:
        size_tokens: Most tokens a chunk, special tokens included; more than the encoder reads of a text is refused. The
            default, `None`, is all that it reads: 256 for the default model.
        overlap: Tokens, about, that a chunk repeats from the one before, so that a sentence at a cut is whole in one of
            them. The default, 32, is a sentence or two; it is never more than half of a chunk.
        pooling: `"mean"` gives one vector a text: the mean of its chunks' vectors weighted by their tokens (words in an
            overlap count twice), scaled to unit length where the encoder normalizes. `"none"` gives one vector a chunk.
    """

    size_tokens: int | None = None
    overlap: int = 32
    pooling: Literal["mean", "none"] = "mean"

    def __post_init__(self) -> None:
        for name, value, least in (("size_tokens", self.size_tokens, 1), ("overlap", self.overlap, 0)):
            if name == "size_tokens" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidValueError(f"{name}: got {value!r}, needs a whole number of at least {least}")
        if self.size_tokens is not None and self.overlap * 2 > self.size_tokens:
            raise InvalidValueError(
                f"overlap: got {self.overlap}, needs at most half of size_tokens={self.size_tokens}: chunks would "
                "hardly advance"
            )
        if self.pooling not in ("mean", "none"):
            raise InvalidValueError(f"pooling: got {self.pooling!r}, needs 'mean' or 'none'")


@dataclass(frozen=True)
class ChunkVectors:
    """One vector a chunk, and where each chunk stands.

    Attributes:
        vectors: `(chunks, dim)`, in the order of the texts, chunks of a text from its beginning to its end.
        items: Number of the text that each chunk is of.
        starts: First character of each chunk in its text.
        ends: Character after the last one of each chunk.
        tokens: Tokens of each chunk, without special tokens.
    """

    vectors: Float32[np.ndarray, "chunks dim"]
    items: Int64[np.ndarray, " chunks"]
    starts: Int64[np.ndarray, " chunks"]
    ends: Int64[np.ndarray, " chunks"]
    tokens: Int64[np.ndarray, " chunks"]

    def __len__(self) -> int:
        return len(self.items)

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """`(text number, start, end)` of each chunk."""
        return zip(self.items.tolist(), self.starts.tolist(), self.ends.tolist(), strict=True)


@dataclass(frozen=True)
class ChunkPlan:
    """The chunks of several texts, before they are encoded."""

    texts: list[str]
    items: Int64[np.ndarray, " chunks"]
    starts: Int64[np.ndarray, " chunks"]
    ends: Int64[np.ndarray, " chunks"]
    tokens: Int64[np.ndarray, " chunks"]

    def pooled(self, vectors: Float32[np.ndarray, "chunks dim"], count: int) -> Float32[np.ndarray, "texts dim"]:
        """The mean of each text's chunk vectors, weighted by tokens; a single chunk's vector stays as it is."""
        weights = np.maximum(self.tokens, 1).astype(np.float64)
        sums = np.zeros((count, vectors.shape[1]), np.float64)
        np.add.at(sums, self.items, vectors * weights[:, None])
        pooled = (sums / np.bincount(self.items, weights, minlength=count)[:, None]).astype(np.float32)
        single = np.bincount(self.items, minlength=count)[self.items] == 1
        pooled[self.items[single]] = vectors[single]
        return pooled


def _cuts(spans: TokenSpans, size: int, overlap: int) -> list[tuple[int, int]]:
    """Token ranges of the chunks: at most `size` tokens, beginning and ending between words unless a word is longer."""
    count = len(spans.starts)
    words = np.append(np.flatnonzero(spans.opens_word), count)
    ranges, begin = [], 0
    while True:
        end = min(begin + size, count)
        if end < count:
            boundary = int(words[np.searchsorted(words, end, "right") - 1])
            end = boundary if boundary > begin else end
        ranges.append((begin, end))
        if end == count:
            return ranges
        following = int(words[np.searchsorted(words, end - overlap, "left")])
        begin = following if begin < following < end else end


def plan_chunks(
    texts: Sequence[str], tokenizer: TextTokenizer, chunking: Chunking, prompt_tokens: int = 0
) -> ChunkPlan:
    """Cut texts into chunks; a text that fits into one chunk stays as it is, white space and all.

    Raises:
        InvalidValueError: `size_tokens` is more than the model takes, or leaves no room beside the special tokens and
            the prompt.
    """
    size_tokens = tokenizer.max_length if chunking.size_tokens is None else chunking.size_tokens
    if size_tokens > tokenizer.max_length:
        raise InvalidValueError(
            f"size_tokens: got {size_tokens}, needs at most {tokenizer.max_length}, the tokens that this encoder reads "
            "of a text"
        )
    size = size_tokens - tokenizer.special_count - prompt_tokens
    if size < 1:
        raise InvalidValueError(
            f"size_tokens: got {size_tokens}, needs more: {tokenizer.special_count} special tokens"
            + (f" and {prompt_tokens} of the prompt" if prompt_tokens else "")
            + " leave no room for text"
        )
    pieces: list[str] = []
    rows: list[tuple[int, int, int, int]] = []
    lengths = tokenizer(texts).lengths  # in one go and cut, which is quick: most texts need no more
    for item, (text, length) in enumerate(zip(texts, lengths.tolist(), strict=True)):
        content = length - tokenizer.special_count
        if content <= size and length < tokenizer.max_length:
            pieces.append(text)
            rows.append((item, 0, len(text), content))
            continue
        spans = tokenizer.spans(text)
        ranges = _cuts(spans, size, min(chunking.overlap, size // 2))
        if len(ranges) == 1:
            pieces.append(text)
            rows.append((item, 0, len(text), len(spans.starts)))
            continue
        for begin, end in ranges:
            start, stop = int(spans.starts[begin]), int(spans.ends[end - 1])
            pieces.append(text[start:stop])
            rows.append((item, start, stop, end - begin))
    table = np.array(rows, np.int64).reshape(-1, 4)
    return ChunkPlan(pieces, table[:, 0], table[:, 1], table[:, 2], table[:, 3])
