"""Token vectors to one vector a text."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32

from polyvec.encode.text.recipe import PoolingMode


def pool_tokens(
    hidden: Float32[np.ndarray, "batch length dim"], mask: Int32[np.ndarray, "batch length"], mode: PoolingMode
) -> Float32[np.ndarray, "batch dim"]:
    """The mean over, the first of, or the largest value of each coordinate among, the tokens that are not padding.

    A text without any token gets zeros.
    """
    if mode == "cls":
        return hidden[:, 0] * mask[:, :1]
    if mode == "max":
        largest = np.where(mask[:, :, None] == 1, hidden, -np.inf).max(axis=1)
        return np.where(mask[:, :1] == 1, largest, np.float32(0))
    counts = np.maximum(mask.sum(axis=1, dtype=np.float32), 1)[:, None]
    weights = mask.astype(np.float32)[:, None, :]
    return (weights @ hidden)[:, 0] / counts


def unit_length(vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    """Rows scaled to Euclidean length 1; a row of zeros stays zero."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return (vectors / np.maximum(norms, 1e-12)[:, None]).astype(np.float32)
