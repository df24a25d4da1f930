"""Texts to vectors with whatever encoder a store is bound to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polyvec.core.arrays import as_matrix
from polyvec.core.errors import InvalidValueError, PolyvecError, StoreError
from polyvec.search.store.fingerprint import check_encoder, described, encoder_fingerprint


def encode_texts(
    encoder: Any, texts: Sequence[str], dim: int, *, query: bool = False, options: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Vectors `(n, dim)` float32 of texts.

    Models that treat queries and documents differently have `encode_query` and `encode_document`
    (sentence-transformers' names); they are used where they exist.

    Raises:
        InvalidValueError: The encoder gave another number of vectors, other dimensions, NaN or infinity.
    """
    method = getattr(encoder, "encode_query" if query else "encode_document", None) or encoder.encode
    given = {key: value for key, value in (options or {}).items() if value is not None}
    matrix = as_matrix(method(list(texts), **given), "the encoder's vectors", dim=dim)
    if len(matrix) != len(texts):
        raise InvalidValueError(
            f"encoder: gave {len(matrix)} vectors for {len(texts)} texts, needs one each; with chunking, choose "
            "pooled vectors"
        )
    return matrix


def encoder_from(path: str, fingerprint: Mapping[str, Any] | None) -> Any:
    """The encoder that a store was made with, loaded by the name in its fingerprint.

    Raises:
        StoreError: The store has no encoder, or its encoder cannot be loaded by name.
        EncoderMismatchError: What that name loads today is another model.
    """
    if fingerprint is None:
        raise StoreError(
            f"{path}: was made without an encoder, so texts cannot be compared with its vectors; give a vector, or "
            "search with mode='keyword'"
        )
    from polyvec.encode.text import TextEncoder

    try:
        encoder = TextEncoder(fingerprint["name"])
    except (PolyvecError, OSError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StoreError(
            f"{path}: cannot load its encoder, {described(fingerprint)}, by name ({reason}); open the store with "
            "encoder=..."
        ) from error
    check_encoder(path, fingerprint, encoder_fingerprint(encoder))
    return encoder
