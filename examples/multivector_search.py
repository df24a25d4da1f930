"""Multi-vector search: texts as token vectors, found by one vector each, then scored exactly.

    python examples/multivector_search.py

A text's token vectors keep what one mean vector blurs. Exact scores (Chamfer, MaxSim) compare every query token with
every document token; fixed dimensional encodings find the candidates first by plain inner products.
"""

from __future__ import annotations

import numpy as np

from polyvec.compress import FixedDimensionalEncoding, VectorSets
from polyvec.encode import TextEncoder
from polyvec.search import MultiVectorIndex, chamfer_matrix

DOCUMENTS = [
    "A compiler for the C programming language that optimises for small processors.",
    "A music player with playlists, lyrics and an equaliser.",
    "Shows the weather forecast in the terminal, for any city.",
    "A library that reads and writes images in many formats.",
    "A game of chess against the computer, with analysis of your games.",
    "Edits audio files: cut, join, remove noise.",
    "A spreadsheet that runs in the terminal.",
    "Plays films and recordings, with subtitles in several languages.",
]
QUERIES = ["remove noise from a recording", "table calculations without a mouse"]


def token_vectors(encoder: TextEncoder, texts: list[str]) -> VectorSets:
    """Unit token vectors of each text, without the special tokens."""
    sets = encoder.encode(texts, output="tokens", special_tokens=False)
    return VectorSets.from_list([one / np.linalg.norm(one, axis=1, keepdims=True) for one in sets])


def main() -> None:
    encoder = TextEncoder()
    documents, queries = token_vectors(encoder, DOCUMENTS), token_vectors(encoder, QUERIES)

    encoding = FixedDimensionalEncoding(n_repetitions=20, n_bits=4, projection_dim=8).fit(documents)
    index = MultiVectorIndex(encoding, precision="int8")
    index.add(documents)
    scores, ids = index.search(queries, k=2, n_candidates=4)
    for query, row, values in zip(QUERIES, ids, scores, strict=True):
        print(query)
        for number, score in zip(row, values, strict=True):
            print(f"  {score:5.2f}  {DOCUMENTS[number]}")

    exact = chamfer_matrix(queries, documents)
    print("the same as exact search:", ids[:, 0].tolist() == exact.argmax(axis=1).tolist())
    print(f"{encoding.n_features_out_} dimensions, spread of best matches {encoding.maxsim_spread_}")


if __name__ == "__main__":
    main()
