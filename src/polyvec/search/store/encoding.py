"""Texts to vectors with whatever encoder a store is bound to."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polyvec.core.arrays import as_matrix
from polyvec.core.errors import InvalidValueError, PolyvecError, StoreError
from polyvec.search.store.fingerprint import OBJECT, check_encoder, described, encoder_fingerprint
from polyvec.search.store.problems import first_line


def encoder_of(given: Any) -> Any:
    """An encoder as it is; of a model's name or folder (a text), the `TextEncoder`."""
    if not isinstance(given, str):
        return given
    from polyvec.encode.text import TextEncoder

    return TextEncoder(given)


def encode_texts(
    encoder: Any, texts: Sequence[str], dim: int, *, query: bool = False, options: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Vectors `(n, dim)` float32 of texts.

    Models that treat queries and documents differently have `encode_query` and `encode_document`
    (sentence-transformers' names); they are used where they exist. Of `options`, those that are `None` are left out.

    Raises:
        InvalidValueError: The encoder gave another number of vectors, other dimensions, NaN or infinity; it does not
            know one of the options.
    """
    method = getattr(encoder, "encode_query" if query else "encode_document", None) or encoder.encode
    given = {key: value for key, value in (options or {}).items() if value is not None}
    known = _parameters(method)
    if known is not None:
        if "show_progress_bar" not in known:
            given.pop("show_progress_bar", None)
        if unknown := sorted(set(given) - known):
            raise InvalidValueError(
                f"{unknown[0]}: got {given[unknown[0]]!r}, but {type(encoder).__name__} does not know this option; "
                "leave it out, or use TextEncoder"
            )
    matrix = as_matrix(method(list(texts), **given), "the encoder's vectors", dim=dim)
    if len(matrix) != len(texts):
        raise InvalidValueError(f"encoder: gave {len(matrix)} vectors for {len(texts)} texts, needs one each")
    return matrix


def _parameters(method: Any) -> set[str] | None:
    """Names of a method's parameters; `None` when it takes any."""
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):  # compiled code need not have a signature
        return None
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters}


def encoder_from(path: str, fingerprint: Mapping[str, Any] | None) -> Any:
    """The encoder that a store was made with, loaded by the name in its fingerprint and checked against it.

    Raises:
        StoreError: The store has no encoder, or its encoder cannot be loaded by name.
        EncoderMismatchError: What that name loads today is another model.
    """
    if fingerprint is None:
        raise StoreError(
            f"{path}: was made without an encoder, so texts cannot be compared with its vectors; give a vector, or "
            "search with mode='keyword'"
        )
    problem = f"{path}: cannot load its encoder, {described(fingerprint)}, by name"
    advice = "open the store with encoder=..."
    if not fingerprint.get("sha256") or fingerprint.get("kind") == OBJECT:
        raise StoreError(f"{problem}, as it is an object of your own; {advice}")
    from polyvec.encode.text import TextEncoder

    options = {"dims": fingerprint["dim"], "normalize": bool(fingerprint.get("normalize", True))}
    try:
        encoder = TextEncoder(fingerprint["name"], **options)
    except (PolyvecError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise StoreError(f"{problem} ({first_line(error)}); {advice}") from error
    check_encoder(path, fingerprint, encoder_fingerprint(encoder))
    return encoder
