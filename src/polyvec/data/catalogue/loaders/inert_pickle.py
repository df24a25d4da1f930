"""Data frames inside pickles, read without trusting them: six names become plain containers, every other is refused.

A pickle is a program that may call anything it can name. The packages of R's data sets hold nothing but data frames, so
the reader below answers only the names that such a file uses, and with inert stand-ins: no pandas, no import by name.
"""

from __future__ import annotations

import lzma
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyvec.core.errors import FormatError

if TYPE_CHECKING:
    import pyarrow as pa


class _Frame:
    """Stands in for a data frame: keeps the state it is given."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state


def _array_from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    if dtype.hasobject:
        raise pickle.UnpicklingError("an array of pointers")
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _empty_array(kind: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.ndarray.__new__(np.ndarray, shape, np.dtype("b"))  # its state follows


_INERT: dict[tuple[str, str], Any] = {
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.internals.managers", "BlockManager"): lambda blocks, axes: (blocks, axes),
    ("pandas._libs.internals", "_unpickle_block"): lambda values, placement, dimensions: (values, placement),
    ("pandas.core.indexes.base", "_new_Index"): lambda kind, state: (kind, state),
    ("pandas.core.indexes.base", "Index"): "index",
    ("pandas.core.indexes.range", "RangeIndex"): "range",
    ("numpy.core.numeric", "_frombuffer"): _array_from_buffer,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("builtins", "slice"): slice,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (found := _INERT.get((module, name))) is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no data frame of this kind needs")
        return found


def read_frame(path: Path) -> pa.Table:
    """One xz-compressed data frame as an Arrow table.

    R's row names are the column `rownames`, left out where they only count.

    Raises:
        FormatError: It is not such a file, or holds anything beside a data frame of numbers, texts and truth values.
    """
    import pyarrow as pa

    try:
        with lzma.open(path) as handle:
            frame = _Reader(handle).load()
        blocks, (columns, _) = frame.state["_mgr"]  # the index only counts: R's row names are a column of their own
        names = [str(name) for name in columns[1]["data"]]
        series: dict[int, np.ndarray] = {}
        for values, placement in blocks:
            places = range(len(names))[placement] if isinstance(placement, slice) else placement
            series.update(zip((int(place) for place in places), values, strict=True))
        arrays = {name: _column(series[place]) for place, name in enumerate(names)}
        rows = series[names.index("rownames")] if "rownames" in names else None
        if rows is not None and _counts(rows):
            del arrays["rownames"]
        return pa.table(arrays)
    except (
        pickle.UnpicklingError, lzma.LZMAError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError,
        pa.ArrowException,
    ) as error:  # fmt: skip
        raise FormatError(f"{path}: not a readable data frame ({error})") from error


def _counts(rows: np.ndarray) -> bool:
    """Whether an index is nothing but 0, 1, 2, ... or 1, 2, 3, ..., as numbers or as text."""
    count = len(rows)
    first = rows[:1].tolist()
    if first not in ([0], [1], ["0"], ["1"]):
        return count == 0
    start = int(first[0])
    return rows.tolist() == [type(first[0])(number) for number in range(start, start + count)]


def _column(values: np.ndarray) -> pa.Array:
    """A column as Arrow; missing values are null, a column of mixed kinds comes as text."""
    import pyarrow as pa

    if values.dtype != object:
        return pa.array(np.ascontiguousarray(values), from_pandas=True)  # NaN is what such files write for "missing"
    cleaned = [None if value is None or value != value else value for value in values.tolist()]
    kinds = {type(value) for value in cleaned if value is not None}
    if len(kinds) > 1 and kinds != {int, float}:
        cleaned = [None if value is None else str(value) for value in cleaned]
    return pa.array(cleaned)
