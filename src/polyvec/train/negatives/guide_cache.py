"""Vectors of a frozen guide, each text encoded once, in memory and in files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvec.core.arrays import as_matrix
from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError
from polyvec.core.vectors import Vectors

_FEW_FILES = 32  # more files than this are joined when the folder is opened
_IDENTITY = ("sha256", "dim", "pooling", "normalize", "precision")


class GuideCache:
    """The vectors of a guide encoder, which never change during training: each text is encoded once.

    Keys are hashes of the text's content, so that order, batches and data sets do not matter. With `folder` the vectors
    are kept on disk too, under a hash of guide and text, and found again by the next run, also by several at once. The
    guide takes texts and has a tokenizer of its own; nothing is shared with the model in training.

    Args:
        encoder: Anything with `encode(texts)` that gives `(texts, dim)` numbers: a `TextEncoder`, a
            `SentenceTransformer`. It is never trained.
        folder: Where vectors are kept. `None` keeps them in memory alone.
        name: What identifies the guide's vectors on disk. Not needed where the encoder has a `fingerprint`, as
            `TextEncoder` does.

    Raises:
        InvalidTypeError: The encoder has no `encode`.
        InvalidValueError: `folder` without anything that tells this guide's vectors from another's.
        FormatError: A damaged file in the folder.

    Example:
        >>> import numpy as np
        >>> class Lengths:
        ...     def encode(self, texts):
        ...         return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)
        >>> guide = GuideCache(Lengths())
        >>> guide.vectors(["two", "three", "two"]).tolist(), guide.encoded
        ([[3.0, 1.0], [5.0, 1.0], [3.0, 1.0]], 2)
    """

    def __init__(self, encoder: Any, folder: str | os.PathLike[str] | None = None, *, name: str | None = None) -> None:
        if not callable(getattr(encoder, "encode", None)):
            raise InvalidTypeError(f"encoder: got {type(encoder).__name__}, needs an object with encode(texts)")
        self._encoder = encoder
        self._row_of: dict[str, int] = {}
        self._parts: list[np.ndarray] = []
        self._matrix: np.ndarray | None = None
        self.encoded = 0
        self._folder = None if folder is None else Path(folder)
        self._guide = ""
        if self._folder is not None:
            self._guide = _identity(encoder, name)
            self._open(self._folder)

    def __len__(self) -> int:
        """How many different texts are known."""
        return len(self._row_of)

    def vectors(self, texts: Sequence[str], *, device: str | torch.device = "cpu") -> Tensor:
        """The guide's vectors `(texts, dim)`, float32, without gradient; unknown texts are encoded first, together.

        Before training, one call with all texts encodes them in large batches; `fill` does so without the result.

        Raises:
            InvalidTypeError: An item is not a `str`.
            InvalidValueError: No texts; the guide gave NaN, or a wrong number of vectors.
        """
        rows = self._rows(texts)
        if self._matrix is None:
            self._matrix = np.concatenate(self._parts)
            self._parts = [self._matrix]
        return torch.from_numpy(self._matrix[rows]).to(device)

    def fill(self, texts: Sequence[str]) -> int:
        """Encode the texts that are not known yet; returns how many those were."""
        before = len(self)
        self._rows(texts)
        return len(self) - before

    def _rows(self, texts: Sequence[str]) -> np.ndarray:
        if isinstance(texts, (str, bytes)):
            raise InvalidTypeError("texts: got one text, needs a sequence of texts")
        for position, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidTypeError(f"texts: item {position} is a {type(text).__name__}, needs a str")
        if not len(texts):
            raise InvalidValueError("texts: got none, needs at least one")
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
        unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._row_of}
        if unknown:
            self._encode(unknown)
        return np.array([self._row_of[key] for key in keys])

    def _encode(self, unknown: dict[str, str]) -> None:
        with torch.no_grad():
            made = as_matrix(self._encoder.encode(list(unknown.values())), "the guide's vectors")
        if len(made) != len(unknown):
            raise InvalidValueError(f"the guide's vectors: got {len(made)} for {len(unknown)} texts, needs one each")
        if self._parts and made.shape[1] != self._parts[0].shape[1]:
            raise InvalidValueError(
                f"the guide's vectors: got {made.shape[1]} dimensions, those known have {self._parts[0].shape[1]}"
            )
        found = Vectors(made.copy(), ids=list(unknown))
        if self._folder is not None:
            self._save(found)
        self.encoded += len(made)
        self._add(found)

    def _add(self, found: Vectors) -> None:
        new = [position for position, key in enumerate(found.ids.tolist()) if key not in self._row_of]
        if not new:
            return
        keys = found.ids.tolist()
        start = len(self._row_of)
        self._row_of.update({keys[position]: start + count for count, position in enumerate(new)})
        self._parts.append(found.matrix[new])
        self._matrix = None

    def _save(self, found: Vectors) -> Path:
        """One file, named by what it holds: two processes that encode the same texts write the same file."""
        assert self._folder is not None
        content = hashlib.sha256("".join(found.ids.tolist()).encode()).hexdigest()
        path = self._folder / f"{self._guide}-{content[:16]}.parquet"
        found.save(path)
        return path

    def _open(self, folder: Path) -> None:
        paths = sorted(folder.glob(f"{self._guide}-*.parquet"))
        for path in paths:
            try:
                part = Vectors.load(path)
            except FileProblemError:
                if path.exists():
                    raise
                continue  # joined with others by another process just now; at worst its texts are encoded again
            if self._parts and part.dim != self._parts[0].shape[1]:
                raise FormatError(f"{path}: holds vectors of {part.dim} dimensions, others of this guide do not")
            self._add(part)
        if len(paths) > _FEW_FILES:
            everything = Vectors(np.concatenate(self._parts), ids=list(self._row_of))
            joined = self._save(everything)
            for path in paths:
                if path != joined:
                    path.unlink(missing_ok=True)


def _identity(encoder: Any, name: str | None) -> str:
    """A short hash of what decides the guide's vectors."""
    fingerprint = getattr(encoder, "fingerprint", None)
    if name is not None:
        described: Any = name
    elif isinstance(fingerprint, dict):
        described = {key: fingerprint[key] for key in _IDENTITY if key in fingerprint}
        described["max_length"] = getattr(encoder, "max_seq_length", None)
    else:
        raise InvalidValueError(
            f"name: got none, and {type(encoder).__name__} has no fingerprint; needs a name that changes with the guide"
        )
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()[:16]
