"""The vectors under examination: read in blocks, sampled, named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from polyvec.assess.blocks import MatrixBlocks
from polyvec.assess.health.finding import Example
from polyvec.core.arrays import as_matrix
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.vectors import Vectors

_TEXT_CHARACTERS = 200


class Rows:
    """Read access to a matrix `(n, dim)` that may lie on disk, and the ids and texts of its rows.

    Args:
        values: `Vectors`, NumPy array (also memory-mapped; never copied whole), torch tensor, frame, nested sequence.
        texts: What the vectors were made of, for examples: one text a row, or a function from a list of ids to texts.

    Raises:
        InvalidTypeError: Not numbers; texts of an unknown kind.
        InvalidValueError: Not two-dimensional, empty; not one text a row.
    """

    def __init__(self, values: Any, texts: Any = None) -> None:
        self._vectors = values if isinstance(values, Vectors) else None
        matrix: Any = values.matrix if isinstance(values, Vectors) else values
        if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "fiub" or matrix.ndim != 2:
            matrix = as_matrix(matrix, "vectors", min_rows=0, finite=False, dtype=None)
        self._blocks = MatrixBlocks(matrix, "vectors")
        self._matrix: np.ndarray = matrix
        self.count, self.dim = self._blocks.rows, self._blocks.columns
        self._texts = self._lookup(texts)

    def _lookup(self, texts: Any) -> Callable[[Sequence[int]], list[str]] | None:
        if texts is None:
            return None
        if callable(texts):
            return lambda rows: [str(text) for text in texts(list(self.ids(rows)))]
        if isinstance(texts, (str, bytes)) or not hasattr(texts, "__len__"):
            raise InvalidTypeError(
                f"texts: got {type(texts).__name__}, needs one text a row, or a function from ids to texts"
            )
        if len(texts) != self.count:
            raise InvalidValueError(f"texts: got {len(texts)} for {self.count} vectors, needs one each")
        listed = list(texts)
        return lambda rows: [str(listed[row]) for row in rows]

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """`(first row, float64 block)` over all rows, in order. A block must not be written to."""
        return self._blocks.row_blocks()

    def take(self, rows: np.ndarray) -> np.ndarray:
        """These rows as a matrix of its own, of the type of the data."""
        return np.asarray(self._matrix[rows])

    def units(self, rows: np.ndarray) -> np.ndarray:
        """These rows scaled to unit length, as float32; rows of zeros stay."""
        return units(np.asarray(self.take(rows), dtype=np.float64))[0].astype(np.float32)

    def ids(self, rows: Iterable[int]) -> tuple[int | str, ...]:
        """The ids of these rows."""
        if self._vectors is None:
            return tuple(int(row) for row in rows)
        known = self._vectors.arrow_ids
        return tuple(known[int(row)].as_py() for row in rows)

    def example(self, rows: Sequence[Any] | np.ndarray, note: str, *, compare: bool = False) -> Example:
        """An example made of these rows; `compare` adds whether their texts are the same."""
        numbers = [int(row) for row in rows]
        texts: tuple[str, ...] = ()
        if self._texts is not None:
            given = self._texts(numbers)
            texts = tuple(" ".join(text[: 4 * _TEXT_CHARACTERS].split())[:_TEXT_CHARACTERS] for text in given)
            if compare:
                note += "; same text" if len(set(given)) == 1 else "; different texts"
        return Example(self.ids(numbers), note, texts)


def units(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(rows scaled to unit length, lengths)` of a float64 block; rows of zeros stay."""
    lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
    return block / np.where(lengths > 0, lengths, 1.0)[:, None], lengths
