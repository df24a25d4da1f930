"""Texts to vectors: the nearest of a few sentences, a long text in chunks, a corpus that does not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from polyvec.encode import Chunking, TextEncoder

SENTENCES = [
    "A cache keeps what was computed, so that it need not be computed again.",
    "The bakery opens at six and sells rye bread.",
    "Gradient descent follows the slope of the loss.",
    "Sourdough needs flour, water, salt and time.",
]


def main() -> None:
    encoder = TextEncoder()
    print(encoder)

    vectors = encoder.encode(SENTENCES)
    query = encoder.encode_query("how do I make bread?")
    for index in np.argsort(-(vectors @ query)):
        print(f"{vectors[index] @ query:6.3f}  {SENTENCES[index]}")

    long_text = " ".join(SENTENCES * 20)
    pooled = encoder.encode(long_text, chunking=Chunking())
    chunks = encoder.encode(long_text, output="chunks", chunking=Chunking(size_tokens=128, overlap=16))
    print(f"a text of {len(long_text)} characters: one vector {pooled.shape}, or {len(chunks)} chunks")
    for item, start, end in list(chunks.spans())[:2]:
        print(f"  text {item}, characters {start} to {end}: {long_text[start:end][:40]}...")

    tokens = encoder.encode(SENTENCES, output="tokens")
    print("token vectors for multi-vector search:", [one.shape for one in tokens])

    def corpus() -> Iterator[tuple[str, str]]:
        for number in range(5000):
            yield f"document-{number}", f"Document number {number} is about {SENTENCES[number % 4].lower()}"

    for ids, part in encoder.encode_stream(corpus()):
        print(f"{len(ids)} vectors, {ids[0]} to {ids[-1]}, {part.nbytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
