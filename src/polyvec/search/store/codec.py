"""The codes of a compressed store: which compressors made them, and vectors to columns and back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from polyvec.compress.packing import pack, registered, unpack
from polyvec.core.errors import StoreError

CODE, RESCORE = "code", "rescore"
FULL = "full"
"""In place of a compressor's name: the vectors themselves, as the finer code."""

LoadParameters = Callable[[str], bytes]


class FullVectors:
    """The vectors as their own codes."""

    def transform(self, X: np.ndarray) -> np.ndarray:
        """The vectors."""
        return np.ascontiguousarray(X, dtype=np.float32)

    def inverse_transform(self, X: np.ndarray) -> np.ndarray:
        """The vectors."""
        return X


@dataclass(frozen=True, slots=True)
class Part:
    """One column of codes and what made it."""

    column: str
    compressor: Any
    width: int
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        """Bytes of a document's code."""
        return self.width * self.dtype.itemsize

    def encode(self, vectors: np.ndarray) -> pa.Array:
        """Vectors `(n, dim)` as a column of bytes."""
        codes = np.ascontiguousarray(self.compressor.transform(vectors), dtype=self.dtype)
        flat = pa.array(codes.reshape(-1).view(np.uint8))
        return pa.FixedSizeListArray.from_arrays(flat, self.bytes)

    def codes(self, column: Any) -> np.ndarray:
        """Codes `(n, width)` of a column of bytes."""
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if isinstance(array, pa.ChunkedArray):  # an empty chunked array stays one
            return np.empty((0, self.width), dtype=self.dtype)
        raw = array.flatten().to_numpy(zero_copy_only=False)
        return raw.view(self.dtype).reshape(len(array), self.width)


@dataclass(frozen=True, slots=True)
class Codec:
    """The codes of a store: one that is scanned, and maybe a finer one that only shortlists are ranked by."""

    scan: Part
    finer: Part | None

    @property
    def parts(self) -> list[Part]:
        """The columns."""
        return [self.scan] if self.finer is None else [self.scan, self.finer]

    @property
    def best(self) -> Part:
        """The column whose vectors are closest to the true ones."""
        return self.finer or self.scan

    @property
    def kept_bytes(self) -> int:
        """Bytes of a document's codes."""
        return sum(part.bytes for part in self.parts)

    def encode(self, vectors: np.ndarray) -> dict[str, pa.Array]:
        """Vectors `(n, dim)` as columns."""
        return {part.column: part.encode(vectors) for part in self.parts}

    def decode(self, rows: Any) -> np.ndarray:
        """The best vectors `(n, dim)` of rows that have the column `best`."""
        return np.asarray(self.best.compressor.inverse_transform(self.best.codes(rows[self.best.column])))

    def fields(self) -> list[pa.Field]:
        """The columns of the schema."""
        return [pa.field(part.column, pa.list_(pa.uint8(), part.bytes)) for part in self.parts]


def describe(compressor: Any, finer: Any, dim: int) -> tuple[Codec, dict[str, Any], dict[str, bytes]]:
    """A codec of fitted compressors, what the schema says about it, and the parameters by their checksum.

    `finer` is a fitted compressor, the text `full`, or `None`.
    """
    parameters: dict[str, bytes] = {}
    told: dict[str, Any] = {}
    parts: list[Part] = []
    for column, given in ((CODE, compressor), (RESCORE, finer)):
        if given is None:
            continue
        if isinstance(given, str) and given == FULL:
            made: Any = FullVectors()
            about: dict[str, Any] = {"name": FULL, "setting": {}}
        else:
            made = given
            content = pack(made)
            checksum = hashlib.sha256(content).hexdigest()
            parameters[checksum] = content
            about = {"name": registered(made).name, "setting": made.get_params(), "parameters": checksum}
        codes = np.asarray(made.transform(np.zeros((1, dim), dtype=np.float32)))
        part = Part(column, made, int(codes.shape[1]), codes.dtype)
        told[column] = about | {"bytes": part.bytes, "width": part.width, "type": part.dtype.name}
        parts.append(part)
    return Codec(parts[0], parts[1] if len(parts) > 1 else None), told, parameters


_KNOWN: dict[str, Any] = {}


def codec_of(told: Mapping[str, Any], load: LoadParameters | None, path: str) -> Codec:
    """The codec that a store's schema describes; compressors are loaded once for each process."""

    def part(column: str) -> Part:
        about = told[column]
        if about["name"] == FULL:
            compressor: Any = FullVectors()
        else:
            checksum = about["parameters"]
            if checksum not in _KNOWN:
                if load is None:
                    raise StoreError(
                        f"{path}: the parameters of its codes cannot be read here; open it with Store.open"
                    )
                content = load(checksum)
                if hashlib.sha256(content).hexdigest() != checksum:
                    raise StoreError(f"{path}: the parameters of its codes are damaged; restore the folder from a copy")
                _KNOWN[checksum] = unpack(about["name"], content)
            compressor = _KNOWN[checksum]
        return Part(column, compressor, int(about["width"]), np.dtype(about["type"]))

    return Codec(part(CODE), part(RESCORE) if told.get(RESCORE) else None)
