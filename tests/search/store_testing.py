"""What the tests of the store share: a deterministic encoder, documents, and oracles that know nothing of LanceDB."""

import hashlib
import math

import numpy as np

from polyvec.data.documents import Document


class HashEncoder:
    """Counts words in buckets chosen by their hash: texts with common words get similar vectors."""

    def __init__(self, dim=32, name="hash-encoder", sha256=None):
        self.dim = dim
        self.name = name
        self.sha256 = sha256
        self.calls = []

    @property
    def fingerprint(self):
        return {"name": self.name, "sha256": self.sha256, "dim": self.dim, "normalize": True, "precision": "fp32"}

    def encode(self, texts, *, batch_size=32, show_progress_bar=None):
        self.calls.append(list(texts))
        matrix = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
                matrix[row, digest[0] % self.dim] += 1.0 if digest[1] % 2 else -1.0
                matrix[row, digest[2] % self.dim] += 0.5
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
        return matrix / np.where(lengths > 0, lengths, 1)

    @property
    def encoded(self):
        return [text for call in self.calls for text in call]


# words that the English stemmer leaves alone and that are no stop words
WORDS = [f"{first}{second}" for first in "bdfgklmnprtz" for second in ("ax", "ox", "ux", "ub", "om")]


def make_documents(count, seed=0, prefix="doc", words=12):
    generator = np.random.default_rng(seed)
    documents = []
    for number in range(count):
        text = " ".join(generator.choice(WORDS, size=int(generator.integers(3, words + 1))))
        metadata = {"section": str(generator.choice(["utils", "games", "science"])), "year": 2010 + number % 15}
        if number % 4:
            metadata["score"] = round(float(generator.normal()), 3)
        title = " ".join(generator.choice(WORDS, size=2)) if number % 3 else None
        documents.append(Document(f"{prefix}{number}", text, title=title, source=f"{prefix}.txt", metadata=metadata))
    return documents


def similarities(matrix, query, metric):
    matrix, query = np.asarray(matrix, dtype=np.float64), np.asarray(query, dtype=np.float64)
    if metric == "dot":
        return matrix @ query
    if metric == "l2":
        return -np.sqrt(((matrix - query) ** 2).sum(axis=1))
    lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(query)
    return np.divide(matrix @ query, lengths, out=np.zeros(len(matrix)), where=lengths > 0)


def bm25(documents, query, k1=1.2, b=0.75):
    """Scores by Robertson's formula over title and text, for words that need no stemming."""
    texts = [document.embedding_text.lower().split() for document in documents]
    lengths = np.array([len(text) for text in texts])
    scores = np.zeros(len(texts))
    for word in query.lower().split():
        counts = np.array([text.count(word) for text in texts])
        holding = int((counts > 0).sum())
        rarity = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        scores += rarity * counts * (k1 + 1) / (counts + k1 * (1 - b + b * lengths / lengths.mean()))
    return scores


def ranked(scores, count=None):
    """Rows by falling score, equal ones in order."""
    return np.lexsort((np.arange(len(scores)), -np.asarray(scores)))[:count].tolist()
