"""`Vectors`: ids, a float32 matrix and optional metadata, with one way in and out of every usual format."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import pyarrow as pa

from polyvec.core.arrays import as_matrix, first_bad_row
from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFoundError

if TYPE_CHECKING:
    import torch

Id = int | str


def _id_array(ids: Any, count: int) -> pa.Array:
    """Ids as an int64 or string array without nulls or duplicates."""
    if ids is None:
        return pa.array(np.arange(count, dtype=np.int64))
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if isinstance(ids, pa.DictionaryArray):
        ids = ids.dictionary_decode()
    if not isinstance(ids, pa.Array):
        values = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        kinds = {str if isinstance(value, str) else int if isinstance(value, (int, np.integer)) else type(value)
                 for value in values}  # fmt: skip
        if kinds - {int, str}:
            odd = next(kind.__name__ for kind in kinds if kind not in (int, str))
            raise InvalidTypeError(f"ids: got elements of type {odd}, needs all int or all str")
        if len(kinds) > 1:
            raise InvalidTypeError("ids: got both int and str, needs all int or all str")
        try:
            ids = pa.array(values, type=pa.string() if kinds == {str} else pa.int64())
        except (OverflowError, pa.ArrowInvalid, UnicodeEncodeError) as error:
            raise InvalidValueError(f"ids: {error}; needs 64-bit integers or valid text") from error
    elif pa.types.is_integer(ids.type):
        ids = ids.cast(pa.int64())
    elif pa.types.is_large_string(ids.type) or pa.types.is_string_view(ids.type):
        ids = ids.cast(pa.string())
    elif not pa.types.is_string(ids.type):
        raise InvalidTypeError(f"ids: got an Arrow array of {ids.type}, needs integers or strings")
    if len(ids) != count:
        raise InvalidValueError(f"ids: got {len(ids)} ids for {count} vectors, needs one each")
    if ids.null_count:
        raise InvalidValueError(f"ids: {ids.null_count} of {len(ids)} are missing, needs one for each vector")
    counts = ids.value_counts()
    if len(counts) != len(ids):
        repeated = next(entry["values"].as_py() for entry in counts if entry["counts"].as_py() > 1)
        raise InvalidValueError(f"ids: {repeated!r} occurs more than once; ids must be unique")
    return ids


class Vectors:
    """Named vectors with metadata.

    Args:
        matrix: `(n, d)` numbers: NumPy (also memory-mapped), torch, pandas, polars or nested sequences. Kept as
            float32; a float32 NumPy array is not copied.
        ids: `n` unique ids, all int or all str; numbered from 0 when left out.
        metadata: Arrow table (or mapping of columns, pandas or polars frame) of `n` rows.

    NaN and infinity are kept, since a report on damaged vectors has to be able to read them; `check_finite` refuses
    them. Indexing with a slice, a mask or an array of row numbers gives `Vectors`; with one row number, the vector.

    Raises:
        InvalidValueError: Wrong shape, as many ids or rows of metadata as there are not vectors, duplicate ids.
        InvalidTypeError: Not numeric, ids of a wrong or mixed type.

    Example:
        >>> vectors = Vectors([[3.0, 4.0], [0.0, 2.0]], ids=["a", "b"])
        >>> vectors.dim, vectors["b"].tolist(), vectors.normalized().matrix[0].tolist()
        (2, [0.0, 2.0], [0.6000000238418579, 0.800000011920929])
    """

    def __init__(self, matrix: Any, ids: Any = None, metadata: Any = None) -> None:
        if isinstance(matrix, Vectors):
            ids = matrix._ids if ids is None else ids
            metadata = matrix.metadata if metadata is None else metadata
            matrix = matrix.matrix
        self.matrix: np.ndarray = as_matrix(matrix, "matrix", min_rows=0, finite=False)
        self._ids: pa.Array = _id_array(ids, len(self.matrix))
        self.metadata: pa.Table | None = _metadata_table(metadata, len(self.matrix))
        self._rows: dict[Id, int] | None = None

    # -- what it holds ------------------------------------------------------------------------------------------

    @property
    def dim(self) -> int:
        """Number of dimensions `d`."""
        return int(self.matrix.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """`(n, d)`."""
        return (len(self), self.dim)

    @property
    def nbytes(self) -> int:
        """Bytes of the matrix."""
        return int(self.matrix.nbytes)

    @property
    def ids(self) -> np.ndarray:
        """Ids `(n,)`: int64, or objects of type str."""
        return self._ids.to_numpy(zero_copy_only=False)

    @property
    def arrow_ids(self) -> pa.Array:
        """Ids as an Arrow array (int64 or string), without a copy."""
        return self._ids

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def __iter__(self) -> Iterator[tuple[Id, np.ndarray]]:
        return zip(self._ids.to_pylist(), self.matrix, strict=True)

    def __contains__(self, key: object) -> bool:
        return key in self._row_of()

    def __repr__(self) -> str:
        columns = f", metadata={self.metadata.column_names}" if self.metadata is not None else ""
        return f"Vectors(n={len(self)}, dim={self.dim}, ids={self._ids.type}{columns})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vectors):
            return NotImplemented
        if (self.metadata is None) != (other.metadata is None):
            return False
        if self.metadata is not None and not self.metadata.equals(other.metadata):
            return False
        return self._ids.equals(other._ids) and np.array_equal(self.matrix, other.matrix, equal_nan=True)

    __hash__ = None  # type: ignore[assignment]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.matrix, dtype=dtype, copy=bool(copy)) if copy else np.asarray(self.matrix, dtype=dtype)

    def _row_of(self) -> dict[Id, int]:
        if self._rows is None:
            self._rows = {key: row for row, key in enumerate(self._ids.to_pylist())}
        return self._rows

    @overload
    def __getitem__(self, key: int | str) -> np.ndarray: ...
    @overload
    def __getitem__(self, key: slice | Sequence[Any] | np.ndarray) -> Vectors: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.matrix[self.row(key)]
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            return self.matrix[key]
        if isinstance(key, slice):
            rows: Any = np.arange(len(self))[key]
            matrix = self.matrix[key]
        else:
            rows = np.asarray(key)
            if rows.dtype == bool:
                if rows.shape != (len(self),):
                    raise InvalidValueError(f"mask: got shape {rows.shape}, needs ({len(self)},)")
                rows = np.flatnonzero(rows)
            rows = rows.astype(np.int64) if rows.size == 0 else rows
            matrix = self.matrix[rows]
        taken = pa.array(rows)
        return Vectors(
            matrix, ids=self._ids.take(taken), metadata=self.metadata.take(taken) if self.metadata is not None else None
        )

    def row(self, key: Id) -> int:
        """Row number of an id.

        Raises:
            NotFoundError: There is no such id.
        """
        try:
            return self._row_of()[key]
        except KeyError:
            raise NotFoundError(
                f"no vector has the id {key!r}; ids are {self._ids.type}, {len(self)} of them"
            ) from None

    def select(self, ids: Iterable[Id]) -> Vectors:
        """The vectors of these ids, in this order.

        Raises:
            NotFoundError: An id does not exist.
        """
        return self[np.array([self.row(key) for key in ids], dtype=np.int64)]

    # -- small operations ---------------------------------------------------------------------------------------

    def check_finite(self) -> Self:
        """Return self; raise `InvalidValueError` with the first row and id that hold NaN or infinity."""
        if (bad := first_bad_row(self.matrix)) is not None:
            raise InvalidValueError(f"vectors: row {bad} (id {self._ids[bad].as_py()!r}) holds NaN or infinity")
        return self

    def normalized(self) -> Vectors:
        """Rows scaled to unit Euclidean length; rows of zeros stay zeros."""
        norms = np.linalg.norm(self.matrix, axis=1, keepdims=True)
        return Vectors(self.matrix / np.where(norms > 0, norms, 1), ids=self._ids, metadata=self.metadata)

    @classmethod
    def concatenate(cls, parts: Sequence[Vectors]) -> Vectors:
        """All rows of `parts`, which must agree in dimensions, kind of ids and metadata columns.

        Raises:
            InvalidValueError: No parts, other dimensions or columns, an id that occurs twice.
        """
        if not parts:
            raise InvalidValueError("parts: got none, needs at least one Vectors")
        if len(widths := {part.dim for part in parts}) > 1:
            raise InvalidValueError(f"parts: got {sorted(widths)} dimensions, needs the same in all")
        if len(kinds := {str(part._ids.type) for part in parts}) > 1:
            raise InvalidValueError(f"parts: got ids of types {sorted(kinds)}, needs the same in all")
        if len({part.metadata is None for part in parts}) > 1:
            raise InvalidValueError("parts: some have metadata and some have none; add or drop it first")
        metadata = None
        if parts[0].metadata is not None:
            try:
                metadata = pa.concat_tables([part.metadata for part in parts], promote_options="permissive")
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise InvalidValueError(f"parts: their metadata do not fit together ({error})") from error
        return cls(
            np.concatenate([part.matrix for part in parts]),
            ids=pa.concat_arrays([part._ids for part in parts]),
            metadata=metadata,
        )

    # -- other libraries ----------------------------------------------------------------------------------------

    def to_numpy(self) -> np.ndarray:
        """The matrix `(n, d)`, not copied."""
        return self.matrix

    def to_torch(self, device: str | torch.device = "cpu") -> torch.Tensor:
        """The matrix as a float32 tensor on `device`; shares memory with a writable matrix on the CPU."""
        import torch

        matrix = self.matrix if self.matrix.flags.writeable else self.matrix.copy()
        return torch.from_numpy(np.ascontiguousarray(matrix)).to(device)

    def to_arrow(self) -> pa.Table:
        """Table with the columns `id`, `vector` (fixed-size list of float32) and the metadata."""
        from polyvec.core.vector_files import to_table

        return to_table(self)

    @classmethod
    def from_arrow(cls, table: pa.Table, *, id_column: str | None = None, vector_column: str | None = None) -> Vectors:
        """From a table with a column of vectors.

        Args:
            table: Arrow table; the vector column may be a fixed-size or variable list of any numeric type.
            id_column: Column of ids; by default `id` when there is one, else rows are numbered.
            vector_column: Column of vectors; by default `vector`, `embedding` or the only list of numbers.
        """
        from polyvec.core.vector_files import from_table

        return from_table(table, id_column=id_column, vector_column=vector_column)

    def to_pandas(self) -> Any:
        """Frame with the ids as index, a column for each dimension (numbered from 0) and the metadata columns."""
        from polyvec.core.lazy import require

        pandas = require("pandas", "tables", "Vectors.to_pandas")
        frame = pandas.DataFrame(self.matrix, index=pandas.Index(self.ids, name="id"))
        if self.metadata is not None:
            extra = self.metadata.to_pandas()
            extra.index = frame.index
            frame = pandas.concat([frame, extra], axis=1)
        return frame

    @classmethod
    def from_pandas(cls, frame: Any, columns: Sequence[Any] | None = None) -> Vectors:
        """From a frame: its index gives the ids, `columns` the vectors, the other columns become metadata.

        By default the columns named by integers are taken, or all when there are none.
        """
        chosen = list(columns) if columns is not None else [name for name in frame.columns if isinstance(name, int)]
        chosen = chosen or list(frame.columns)
        rest = [name for name in frame.columns if name not in set(chosen)]
        metadata = pa.Table.from_pandas(frame[rest], preserve_index=False) if rest else None
        return cls(frame[chosen].to_numpy(), ids=frame.index.to_numpy(), metadata=metadata)

    def to_polars(self) -> Any:
        """Frame with the columns `id`, `vector` (Array of float32) and the metadata."""
        from polyvec.core.lazy import require

        return require("polars", "tables", "Vectors.to_polars").from_arrow(self.to_arrow())

    @classmethod
    def from_polars(cls, frame: Any, *, id_column: str | None = None, vector_column: str | None = None) -> Vectors:
        """From a frame with a column of vectors (Array or List); see `from_arrow` for the columns."""
        return cls.from_arrow(frame.to_arrow(), id_column=id_column, vector_column=vector_column)

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, format: str | None = None, drop: Sequence[str] = ()) -> None:
        """Write to a file, atomically.

        Args:
            path: Where to; the suffix chooses the format: `.parquet`, `.arrow`/`.feather`/`.ipc`, `.npy`, `.npz`,
                `.safetensors`, `.vec`/`.w2v.txt` (word2vec text), `.bin`/`.w2v` (word2vec binary).
            format: Overrides the suffix: parquet, arrow, npy, npz, safetensors, word2vec-text, word2vec-binary.
            drop: What may be left out where the format has no room for it: `"ids"`, `"metadata"`.

        Raises:
            InvalidValueError: Unknown format; ids or metadata that the format cannot hold and `drop` does not name.
            FileProblemError: The file cannot be written.
        """
        from polyvec.core.vector_files import save

        save(self, path, format=format, drop=drop)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,
        memory_map: bool = False,
        id_column: str | None = None,
        vector_column: str | None = None,
        metadata: bool = True,
    ) -> Vectors:
        """Read a file of any format that `save` writes, also when another program wrote it.

        A Parquet file is read batch by batch into the matrix, so that memory holds its vectors once.

        Args:
            path: The file.
            format: Overrides the suffix, see `save`.
            memory_map: Leave the matrix on disk (`.npy`, and uncompressed Arrow files of one batch).
            id_column: For tables, see `from_arrow`.
            vector_column: For tables, see `from_arrow`.
            metadata: Whether metadata come along; without, the other columns of a Parquet file are not read.

        Raises:
            FileProblemError: The file cannot be read.
            FormatError: The content is not what the format promises.
        """
        from polyvec.core.vector_files import load

        return load(
            path,
            format=format,
            memory_map=memory_map,
            id_column=id_column,
            vector_column=vector_column,
            metadata=metadata,
        )


def _metadata_table(metadata: Any, count: int) -> pa.Table | None:
    if metadata is None:
        return None
    if isinstance(metadata, pa.RecordBatch):
        metadata = pa.Table.from_batches([metadata])
    elif isinstance(metadata, Mapping):
        try:
            metadata = pa.table(dict(metadata))
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
            raise InvalidValueError(f"metadata: {error}") from error
    elif hasattr(metadata, "to_arrow"):  # polars
        metadata = metadata.to_arrow()
    elif not isinstance(metadata, pa.Table) and hasattr(metadata, "iloc"):  # pandas
        metadata = pa.Table.from_pandas(metadata, preserve_index=False)
    if not isinstance(metadata, pa.Table):
        raise InvalidTypeError(f"metadata: got {type(metadata).__name__}, needs an Arrow table or a mapping of columns")
    if metadata.num_rows != count:
        raise InvalidValueError(f"metadata: got {metadata.num_rows} rows for {count} vectors, needs one each")
    if not metadata.num_columns:
        return None
    if len(set(metadata.column_names)) != metadata.num_columns:
        raise InvalidValueError(f"metadata: column names repeat ({metadata.column_names}), needs unique ones")
    if taken := {"id", "vector"} & set(metadata.column_names):
        raise InvalidValueError(f"metadata: the column name {sorted(taken)[0]!r} is taken by Vectors itself; rename it")
    return metadata
