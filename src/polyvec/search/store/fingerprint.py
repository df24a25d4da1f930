"""Which encoder made the vectors: what a store writes down, and whether another encoder is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from polyvec.core.errors import EncoderMismatchError, InvalidTypeError, InvalidValueError

IGNORED = frozenset({"device", "engine", "precision", "runtime", "threads", "version"})
"""What may differ without the vectors being of another kind: where and how exactly the same model was computed."""

OBJECT = "object"
"""The `kind` of an encoder that is known by its class: its name cannot be loaded."""

_DIMENSION_METHODS = ("get_embedding_dimension", "get_sentence_embedding_dimension")


def encoder_dimension(encoder: Any) -> int:
    """Dimensions of an encoder's vectors: its `dim`, what sentence-transformers says, or found by encoding a word."""
    dim = getattr(encoder, "dim", None)
    if isinstance(dim, (int, np.integer)):
        return int(dim)
    for name in _DIMENSION_METHODS:
        if callable(method := getattr(encoder, name, None)) and isinstance(found := method(), int):
            return found
    return int(np.asarray(encoder.encode(["dimension"])).shape[1])


def encoder_fingerprint(encoder: Any) -> dict[str, Any]:
    """What identifies an encoder: at least `name` and `dim`; with a checksum of its weights where that can be had.

    An encoder's own `fingerprint` is used when it has one. A `SentenceTransformer` gets the one that `TextEncoder`
    gives the same model, another torch module the SHA-256 of its weights; any other object is known by its class and
    dimensions, which cannot tell two models of one class apart.

    Raises:
        InvalidTypeError: Neither a fingerprint nor an object that encodes.
        InvalidValueError: A fingerprint without a usable `dim`.
    """
    if isinstance(encoder, Mapping):
        fingerprint = dict(encoder)
    elif callable(getattr(encoder, "encode", None)) and not isinstance(encoder, (str, type)):
        own = getattr(encoder, "fingerprint", None)
        own = own() if callable(own) else own
        fingerprint = dict(own) if isinstance(own, Mapping) else _described(encoder)
    else:
        raise InvalidTypeError(
            f"encoder: got {type(encoder).__name__}, needs an object with encode(texts), such as TextEncoder or a "
            "SentenceTransformer, or the fingerprint (a dict) of one"
        )
    dim = fingerprint.get("dim")
    if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)) or dim < 1:
        raise InvalidValueError(f"encoder: its fingerprint has dim={dim!r}, needs a whole number of at least 1")
    fingerprint["dim"] = int(dim)
    return fingerprint


def _described(encoder: Any) -> dict[str, Any]:
    kind = type(encoder)
    if any(base.__module__.startswith("sentence_transformers.") for base in kind.__mro__):
        from polyvec.encode.text import TextEncoder

        return TextEncoder(encoder, normalize=False).fingerprint
    fingerprint: dict[str, Any] = {"name": f"{kind.__module__}.{kind.__qualname__}", "dim": encoder_dimension(encoder)}
    fingerprint["kind"] = OBJECT
    if callable(state := getattr(encoder, "state_dict", None)):
        fingerprint["sha256"] = _weights_checksum(state())
    return fingerprint


def _weights_checksum(state: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(_byte_type()).numpy().tobytes())
    return digest.hexdigest()


def _byte_type() -> Any:
    import torch

    return torch.uint8


def same_encoder(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two fingerprints stand for encoders whose vectors can be compared.

    All that both state must agree, apart from `IGNORED`; where both have a checksum the name may differ, since the same
    weights can lie in another folder.
    """
    ignored = set(IGNORED)
    if first.get("sha256") and second.get("sha256"):
        ignored.add("name")
    shared = {key for key in set(first) & set(second) if None not in (first[key], second[key])} - ignored
    return all(first[key] == second[key] for key in shared) and {"name", "dim"} <= set(first) & set(second)


def described(fingerprint: Mapping[str, Any] | None) -> str:
    """A fingerprint in a few words, for messages."""
    if fingerprint is None:
        return "no encoder (vectors were given)"
    parts = [f"{fingerprint.get('name', 'unnamed')}", f"{fingerprint['dim']} dimensions"]
    if checksum := fingerprint.get("sha256"):
        parts.append(f"sha256 {str(checksum)[:12]}")
    parts += [
        f"{key}={value}"
        for key, value in fingerprint.items()
        if key not in {"name", "dim", "sha256", "kind"} | IGNORED and value is not None
    ]
    return ", ".join(parts)


def check_encoder(path: str, stored: Mapping[str, Any] | None, given: Mapping[str, Any]) -> None:
    """Raise `EncoderMismatchError`, naming both, unless `given` is the encoder that a store was made with."""
    if stored is None or not same_encoder(stored, given):
        raise EncoderMismatchError(
            f"{path}: was made with {described(stored)}; got {described(given)}. Their vectors cannot be compared: "
            "use the same encoder, or index the documents anew into another folder"
        )
