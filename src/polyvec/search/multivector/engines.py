"""Where encodings are kept and searched by largest inner product: a plain matrix, or an index of FAISS."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from polyvec.core.errors import FormatError, InvalidValueError
from polyvec.core.files import file_problem
from polyvec.core.lazy import require
from polyvec.search.scoring import best_columns, blocks

_MOST_SAMPLES = 100_000  # encodings that a quantiser learns from, as in the paper
_FEWEST_SAMPLES = 256
_ENOUGH_A_CENTROID = 39  # what FAISS asks for


class Engine(Protocol):
    """Finds encodings with the largest inner product."""

    def __len__(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept."""
        ...

    def add(self, encodings: np.ndarray) -> None:
        """Keep more encodings `(n, d)`."""
        ...

    def remove(self, gone: np.ndarray) -> None:
        """Drop the encodings whose entry in `gone` `(n,)` is true; the others move up."""
        ...

    def best(self, queries: np.ndarray, count: int) -> np.ndarray:
        """Numbers of the `count` best for each query `(q, count)`, best first."""
        ...

    def save(self, folder: Path) -> None:
        """Write to a folder."""
        ...

    def load(self, folder: Path, count: int, memory_map: bool) -> None:
        """Read `count` encodings from a folder."""
        ...


class FlatEngine:
    """All encodings in one float32 matrix; search is a matrix product, and exact."""

    def __init__(self, width: int) -> None:
        self._matrix = np.empty((0, width), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._matrix)

    @property
    def nbytes(self) -> int:
        """Bytes of the matrix."""
        return int(self._matrix.nbytes)

    def add(self, encodings: np.ndarray) -> None:
        """Keep more encodings."""
        self._matrix = np.concatenate([self._matrix, encodings]) if len(self._matrix) else encodings

    def remove(self, gone: np.ndarray) -> None:
        """Drop encodings."""
        self._matrix = self._matrix[~gone]

    def best(self, queries: np.ndarray, count: int) -> np.ndarray:
        """The best by exact inner product."""
        found = np.empty((len(queries), count), dtype=np.int64)
        for part in blocks(len(queries), len(self)):
            scores = queries[part] @ self._matrix.T
            columns = best_columns(scores, count)
            order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
            found[part] = np.take_along_axis(columns, order, axis=1)
        return found

    def save(self, folder: Path) -> None:
        """Write the matrix."""
        np.save(folder / "encodings.npy", self._matrix, allow_pickle=False)

    def load(self, folder: Path, count: int, memory_map: bool) -> None:
        """Read the matrix."""
        matrix = load_array(folder / "encodings.npy", memory_map)
        if matrix.shape != (count, self._matrix.shape[1]) or matrix.dtype != np.float32:
            raise FormatError(f"{folder}: encodings and documents do not fit together; save the index again")
        self._matrix = matrix


class FaissEngine:
    """A FAISS index by inner product.

    Args:
        width: Width of the encodings.
        factory: FAISS's description of the index, such as `"Flat"`, `"HNSW32"`, `"SQ8"`. `"PQ"` stands for product
            quantisation with one byte for each eight numbers, 32 times smaller than float32.
    """

    def __init__(self, width: int, factory: str) -> None:
        self._faiss = require("faiss", "bench", "engine='faiss'")
        if factory == "PQ":
            if width % 8:
                raise InvalidValueError(f"factory: 'PQ' needs a width that 8 divides, got {width}; choose other sizes")
            factory = f"PQ{width // 8}x8np"  # no polysemous training: it takes minutes and is not used here
        try:
            self._index = self._faiss.index_factory(width, factory, self._faiss.METRIC_INNER_PRODUCT)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise InvalidValueError(f"factory: FAISS cannot make {factory!r} of width {width} ({reason})") from error
        self._width = width

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def nbytes(self) -> int:
        """Bytes of the index as it would be written."""
        return len(self) and int(self._faiss.serialize_index(self._index).nbytes)

    def add(self, encodings: np.ndarray) -> None:
        """Keep more encodings; the first ones also teach a quantiser, when there is one."""
        if not self._index.is_trained:
            if len(encodings) < _FEWEST_SAMPLES:
                raise InvalidValueError(
                    f"documents: got {len(encodings)}, but the first add has to teach the quantiser and needs at least "
                    f"{_FEWEST_SAMPLES}; add more at once or use engine='flat'"
                )
            step = -(-len(encodings) // _MOST_SAMPLES)
            self._train(np.ascontiguousarray(encodings[::step]))
        self._index.add(np.ascontiguousarray(encodings))

    def _train(self, samples: np.ndarray) -> None:
        if not isinstance(self._index, self._faiss.IndexPQ):
            self._index.train(samples)
            return
        centroids = self._index.pq.ksub
        if len(samples) < _ENOUGH_A_CENTROID * centroids:
            warnings.warn(
                f"product quantisation learns {centroids} centroids from {len(samples)} documents, which fits these "
                f"better than later ones; {_ENOUGH_A_CENTROID * centroids:,} are enough",
                stacklevel=4,
            )
        self._index.pq.cp.min_points_per_centroid = 1  # one warning instead of FAISS's for each eight numbers
        threads = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(1)  # hundreds of tiny k-means: threads would wait for each other
        try:
            self._index.train(samples)
        finally:
            self._faiss.omp_set_num_threads(threads)

    def remove(self, gone: np.ndarray) -> None:
        """Drop encodings, where this kind of index can."""
        if not isinstance(self._index, self._faiss.IndexFlatCodes):
            raise InvalidValueError(
                f"remove: {type(self._index).__name__} of FAISS cannot drop entries in place; build the index again"
            )
        self._index.remove_ids(np.flatnonzero(gone).astype(np.int64))

    def best(self, queries: np.ndarray, count: int) -> np.ndarray:
        """The best that FAISS finds; an approximate index may find fewer, -1 stands for the missing ones."""
        _, found = self._index.search(np.ascontiguousarray(queries), count)
        return found

    def save(self, folder: Path) -> None:
        """Write FAISS's own file."""
        self._faiss.write_index(self._index, str(folder / "encodings.faiss"))

    def load(self, folder: Path, count: int, memory_map: bool) -> None:
        """Read FAISS's own file."""
        path = folder / "encodings.faiss"
        try:
            index = self._faiss.read_index(str(path))
        except RuntimeError as error:
            raise FormatError(f"{path}: FAISS cannot read it ({str(error).splitlines()[0]})") from error
        if index.d != self._width or index.ntotal != count or index.metric_type != self._faiss.METRIC_INNER_PRODUCT:
            raise FormatError(f"{folder}: encodings and documents do not fit together; save the index again")
        self._index = index


def make_engine(name: str, width: int, factory: str) -> Engine:
    """The engine by its name."""
    return FlatEngine(width) if name == "flat" else FaissEngine(width, factory)


def load_array(path: Path, memory_map: bool) -> Any:
    """A `.npy` file without Python objects, memory-mapped or read.

    Raises:
        FileProblemError: It cannot be read.
        FormatError: It is no such file.
    """
    try:
        return np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except OSError as error:
        raise file_problem(error, path, "read") from error
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path}: not a NumPy array ({error})") from error
