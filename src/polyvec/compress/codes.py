"""What all compressors share: scikit-learn's contract, checks, and one file of safetensors to keep them in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from sklearn.base import BaseEstimator, TransformerMixin

from polyvec.core.arrays import as_matrix, match_kind
from polyvec.core.errors import FormatError, InvalidValueError, NotFittedError
from polyvec.core.files import file_problem, write_bytes

_FORMAT = "polyvec-compressor-1"


@runtime_checkable
class Compressor(Protocol):
    """A Transform that turns vectors into codes and back, and can be kept in a file.

    `transform` gives one row of codes a vector, of any NumPy type: their width times the size of the type is what a
    vector takes. `inverse_transform` gives float32 vectors of the original width that are close in direction.

    Two members are optional. `fit(X)` may look at a parameter `seed`. `scanner(codes, metric)` gives an object that
    ranks all codes for a query without decoding them (`polyvec.compress.scanning.Scanner`); without it, codes are
    decoded block by block while they are searched.
    """

    def fit(self, X: Any, y: Any = None) -> Any:
        """Learn from vectors `(n, dim)`; returns itself."""
        ...

    def transform(self, X: Any) -> Any:
        """Codes `(n, width)`."""
        ...

    def inverse_transform(self, X: Any) -> Any:
        """Vectors `(n, dim)` of codes."""
        ...

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learned to a file, atomically."""
        ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments."""
        ...


class CodeTransform(TransformerMixin, BaseEstimator):
    """Base of the compressors: a subclass learns, encodes and decodes checked matrices, and names its arrays.

    A subclass defines `_learn(matrix)`, `_encode(matrix)`, `_decode(codes)`, `code_dtype`, `_code_width()`, and
    `_arrays()`, which names the attributes that hold what was learned; they are what a file keeps.
    """

    code_dtype: Any = np.uint8

    def fit(self, X: Any, y: Any = None) -> CodeTransform:
        """Learn from vectors `X` `(n, dim)`; `y` is ignored.

        Raises:
            InvalidValueError: No rows, NaN or infinity, parameters that do not fit the vectors.
        """
        matrix = as_matrix(X, "X")
        self._learn(np.ascontiguousarray(matrix))
        self.n_features_in_ = int(matrix.shape[1])
        return self

    def transform(self, X: Any) -> Any:
        """Codes `(n, width)` of vectors `(n, dim)`."""
        matrix = as_matrix(X, "X", dim=self._width(), min_rows=0)
        codes = np.empty((len(matrix), self._code_width()), dtype=self.code_dtype)
        for start in range(0, len(matrix), 8192):
            part = np.ascontiguousarray(matrix[start : start + 8192], dtype=np.float32)
            codes[start : start + 8192] = self._encode(part)
        return match_kind(codes, X) if codes.dtype == np.float32 or not _has_ids(X) else codes

    def inverse_transform(self, X: Any) -> Any:
        """Vectors `(n, dim)` float32 of codes `(n, width)`."""
        self._width()
        codes = as_matrix(X, "X", dim=self._code_width(), min_rows=0, dtype=self.code_dtype)
        vectors = np.empty((len(codes), self._width()), dtype=np.float32)
        for start in range(0, len(codes), 8192):
            vectors[start : start + 8192] = self._decode(np.ascontiguousarray(codes[start : start + 8192]))
        return match_kind(vectors, X)

    @property
    def bytes_per_vector(self) -> int:
        """Bytes of one vector's code."""
        self._width()
        return self._code_width() * int(np.dtype(self.code_dtype).itemsize)

    # -- keeping --------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and what was learned to one safetensors file, atomically."""
        told = {
            "format": _FORMAT,
            "kind": type(self).__name__,
            "parameters": self.get_params(),
            "n_features_in": self._width(),
        }
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in self._arrays()}
        if not arrays:  # safetensors keeps no file without arrays
            arrays = {"nothing_learned": np.zeros(1, dtype=np.uint8)}
        write_bytes(path, save_tensors(arrays, metadata={"polyvec": json.dumps(told)}))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CodeTransform:
        """Read what `save` wrote.

        Raises:
            FileProblemError: The file cannot be read.
            FormatError: It is not a saved compressor of this kind, or damaged.
        """
        try:
            with open(path, "rb") as handle:
                content = handle.read()
        except OSError as error:
            raise file_problem(error, path, "read") from error
        name, told, arrays = os.fspath(path), *_read(content, os.fspath(path))
        if told.get("kind") != cls.__name__:
            raise FormatError(f"{name}: holds a {told.get('kind')}, needs a {cls.__name__}; load it with its own class")
        try:
            loaded = cls(**told["parameters"])
            loaded.n_features_in_ = int(told["n_features_in"])
            for attribute in loaded._arrays():
                setattr(loaded, attribute, arrays[attribute])
            loaded._restored()
            loaded.inverse_transform(loaded.transform(np.ones((1, loaded.n_features_in_), dtype=np.float32)))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise FormatError(f"{name}: damaged parameters ({error}); save the {cls.__name__} again") from error
        return loaded

    # -- for subclasses -------------------------------------------------------------------------------------------

    def _learn(self, matrix: np.ndarray) -> None:
        raise NotImplementedError

    def _encode(self, matrix: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _decode(self, codes: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _code_width(self) -> int:
        raise NotImplementedError

    def _arrays(self) -> tuple[str, ...]:
        return ()

    def _restored(self) -> None:
        """Called after loading, to build what is not kept."""

    def _width(self) -> int:
        width = getattr(self, "n_features_in_", None)
        if width is None:
            raise NotFittedError(f"{type(self).__name__}: not fitted yet; call fit first")
        return int(width)


def _has_ids(values: Any) -> bool:
    """Whether `values` are `Vectors`, which hold float32 only: codes of them come back as a plain array."""
    from polyvec.core.vectors import Vectors

    return isinstance(values, Vectors)


def _read(content: bytes, name: str) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]]:
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        told = json.loads(header["__metadata__"]["polyvec"])
        if told["format"] != _FORMAT:
            raise FormatError(f"{name}: has the format {told['format']!r}, needs {_FORMAT!r}")
        return told, load_tensors(content)
    except (KeyError, TypeError, ValueError, MemoryError, SafetensorError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{name}: not a saved compressor ({error}); needs a file that save() wrote") from error


def whole(value: Any, name: str, least: int, most: int | None = None) -> int:
    """A whole number within bounds, else `InvalidValueError` that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least or (most and value > most):
        upper = f" to {most}" if most else " or more"
        raise InvalidValueError(f"{name}: got {value!r}, needs a whole number from {least}{upper}")
    return int(value)


def unit_rows(matrix: np.ndarray) -> np.ndarray:
    """Rows of unit length, rows of zeros as they are; a new matrix."""
    lengths = np.sqrt(np.einsum("nd,nd->n", matrix, matrix, dtype=np.float64))
    return (matrix / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)
