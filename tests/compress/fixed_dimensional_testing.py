"""Independent oracles for fixed dimensional encodings: the definition, one vector and one cell at a time."""

import numpy as np


def brute_force(vectors, planes, signs, *, query, fill, repetitions, shift=None):
    """One encoding by the definition. `planes` is (d, R, k), `signs` (d, R, p) or `None` for the identity."""
    bits = planes.shape[2]
    blocks = []
    for repetition in range(repetitions):
        codes, projected = [], []
        for vector in vectors:
            moved = vector if shift is None else vector - shift
            codes.append(tuple(bool(moved @ planes[:, repetition, bit] > 0) for bit in range(bits)))
            added = vector if query or shift is None else moved
            if signs is not None:
                added = added @ signs[:, repetition].astype(float) / np.sqrt(signs.shape[2])
            projected.append(added)
        for cell in range(2**bits):
            wanted = tuple(bool(cell >> bit & 1) for bit in range(bits))
            members = [one for one, code in zip(projected, codes, strict=True) if code == wanted]
            if members:
                block = np.sum(members, axis=0) if query else np.mean(members, axis=0)
            elif fill and not query:
                distances = [sum(a != b for a, b in zip(code, wanted, strict=True)) for code in codes]
                block = projected[int(np.argmin(distances))]
            else:
                block = np.zeros(len(projected[0]))
            blocks.append(block)
    return np.concatenate(blocks) / np.sqrt(repetitions)


def slow_chamfer(query, document):
    return float(sum(max(float(q @ p) for p in document) for q in query))


def random_sets(seed, count=6, dim=12, longest=9, unit=True):
    draws = np.random.default_rng(seed)
    sets = [draws.normal(size=(draws.integers(1, longest + 1), dim)).astype(np.float32) for _ in range(count)]
    return [one / np.linalg.norm(one, axis=1, keepdims=True) for one in sets] if unit else sets
