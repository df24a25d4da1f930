"""What the tests of the health report share: sound data, and brute-force oracles in plain NumPy."""

import numpy as np


def gaussian(rows=1200, dim=64, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


def crowded(rows=700, dim=12, seed=1):
    """Vectors in a cone, of different lengths, in clusters: nothing is symmetric by accident."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(6, dim)) + 0.8
    points = centres[generator.integers(6, size=rows)] + 0.5 * generator.normal(size=(rows, dim))
    return (points * generator.uniform(0.5, 3, size=(rows, 1))).astype(np.float32)


def cosines(matrix):
    """All cosines in float64, minus infinity on the diagonal."""
    matrix = np.asarray(matrix, dtype=np.float64)
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    return scores


def values(report):
    return {finding.key: finding.value for finding in report.findings}


def statuses(report):
    return {finding.key: finding.status for finding in report.findings}
