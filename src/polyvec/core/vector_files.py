"""Reading and writing `Vectors` in the formats that other tools use.

Tables (Parquet, Arrow IPC) have a column `id`, a column `vector` (fixed-size list of float32) and metadata columns.
`.npz` and safetensors hold the matrix as `vectors`, the ids as `ids` (integers) or `ids_utf8` (bytes joined by zero
bytes) and the metadata as `metadata_arrow` (an Arrow stream). `.npy` has room for the matrix only, word2vec files for
string ids and the matrix. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError

from polyvec.core.arrays import as_matrix
from polyvec.core.errors import FormatError, InvalidTypeError, InvalidValueError, PolyvecError
from polyvec.core.files import atomic_path, file_problem
from polyvec.core.vectors import Vectors
from polyvec.core.word2vec_files import read_binary, read_text, write_binary, write_text

_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".npy": "npy",
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".vec": "word2vec-text",
    ".w2v.txt": "word2vec-text",
    ".w2v": "word2vec-binary",
    ".bin": "word2vec-binary",
}
# What the parsers below raise on content that is not theirs.
_DAMAGE: tuple[type[Exception], ...] = (
    ValueError, KeyError, EOFError, TypeError, OverflowError, MemoryError, struct.error, zlib.error, pa.ArrowException,
    zipfile.BadZipFile, SafetensorError, SyntaxError, tokenize.TokenError,
)  # fmt: skip
_BATCH_ROWS = 16_384  # 24 MiB at 384 dimensions; larger ones only take more memory
_BUFFER = 1 << 22
FORMATS = tuple(dict.fromkeys(_SUFFIXES.values()))


def format_of(path: str | os.PathLike[str], format: str | None = None) -> str:
    """The format that `format` or the suffix of `path` names.

    Raises:
        InvalidValueError: Neither names a known format.
    """
    if format is not None:
        if format not in FORMATS:
            raise InvalidValueError(f"format: got {format!r}, needs one of {', '.join(FORMATS)}")
        return format
    name = Path(path).name.lower()
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            return _SUFFIXES[suffix]
    raise InvalidValueError(
        f"{os.fspath(path)}: the suffix names no known format of vectors; use one of {', '.join(_SUFFIXES)} or format="
    )


def to_table(vectors: Vectors) -> pa.Table:
    """Table `id`, `vector`, metadata."""
    flat = pa.array(np.ascontiguousarray(vectors.matrix).reshape(-1), type=pa.float32())
    columns: dict[str, Any] = {
        "id": vectors.arrow_ids,
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.dim),
    }
    if vectors.metadata is not None:
        columns |= {name: vectors.metadata.column(name) for name in vectors.metadata.column_names}
    return pa.table(columns)


def _is_vector_type(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    return pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)


def _matrix_of(column: pa.ChunkedArray, name: str) -> np.ndarray:
    if column.null_count:
        raise FormatError(f"column {name!r}: {column.null_count} vectors are missing; drop those rows first")
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # no rows at all
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=column.type)
    values = array.flatten()
    if values.null_count:
        raise FormatError(f"column {name!r}: {values.null_count} elements are missing; drop those rows first")
    if pa.types.is_fixed_size_list(array.type):
        width = array.type.list_size
    else:
        lengths = np.unique(array.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise FormatError(f"column {name!r}: vectors of {lengths[0]} to {lengths[-1]} dimensions, needs one width")
        width = int(lengths[0]) if len(lengths) else 1
    if width == 0:
        raise FormatError(f"column {name!r}: vectors of 0 dimensions")
    return values.to_numpy(zero_copy_only=False).reshape(-1, width)


def from_table(table: pa.Table, *, id_column: str | None = None, vector_column: str | None = None) -> Vectors:
    """Vectors of a table; see `Vectors.from_arrow`."""
    id_column, vector_column = _chosen_columns(table.schema, id_column, vector_column)
    metadata = table.drop_columns([name for name in (id_column, vector_column) if name is not None])
    return Vectors(
        _matrix_of(table.column(vector_column), vector_column),
        ids=table.column(id_column) if id_column is not None else None,
        metadata=metadata if metadata.num_columns else None,
    )


def _chosen_columns(schema: pa.Schema, id_column: str | None, vector_column: str | None) -> tuple[str | None, str]:
    """The columns of ids (`None` when rows are to be numbered) and of vectors."""
    names = schema.names
    for wanted in (id_column, vector_column):
        if wanted is not None and wanted not in names:
            raise InvalidValueError(f"column {wanted!r}: the table has only {', '.join(names)}")
    if vector_column is None:
        candidates = [field.name for field in schema if _is_vector_type(field.type)]
        preferred = [name for name in ("vector", "embedding", "vectors", "embeddings") if name in candidates]
        if not candidates:
            raise FormatError(f"no column holds vectors (lists of numbers) among {', '.join(names) or 'no columns'}")
        if not preferred and len(candidates) > 1:
            raise FormatError(f"several columns hold vectors ({', '.join(candidates)}); name one with vector_column=")
        vector_column = (preferred or candidates)[0]
    elif not _is_vector_type(schema.field(vector_column).type):
        kind = schema.field(vector_column).type
        raise InvalidTypeError(f"column {vector_column!r}: got {kind}, needs lists of numbers")
    if id_column is None and "id" in names:
        kind = schema.field("id").type
        id_column = (
            "id" if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind) else None
        )
    return id_column, vector_column


def save(
    vectors: Vectors, path: str | os.PathLike[str], *, format: str | None = None, drop: Sequence[str] = ()
) -> None:
    """Write `vectors`; see `Vectors.save`."""
    kind = format_of(path, format)
    if unknown := set(drop) - {"ids", "metadata"}:
        raise InvalidValueError(f"drop: got {sorted(unknown)[0]!r}, needs 'ids' and/or 'metadata'")
    keeps_metadata = kind in ("parquet", "arrow", "npz", "safetensors")
    if vectors.metadata is not None and not keeps_metadata and "metadata" not in drop:
        raise InvalidValueError(f"{kind} has no room for metadata; pass drop=['metadata'] or choose parquet")
    numbered = vectors.arrow_ids.equals(pa.array(np.arange(len(vectors), dtype=np.int64)))
    if kind == "npy" and not numbered and "ids" not in drop:
        raise InvalidValueError("npy has no room for ids; pass drop=['ids'] or choose npz")
    if "metadata" in drop and keeps_metadata:
        vectors = Vectors(vectors.matrix, ids=vectors.arrow_ids)
    if "ids" in drop:
        vectors = Vectors(vectors.matrix, metadata=vectors.metadata)
    with atomic_path(path) as temporary:
        _write(vectors, temporary, kind)


def _write(vectors: Vectors, path: Path, kind: str) -> None:
    if kind == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(to_table(vectors), path, compression="zstd", row_group_size=64 * 1024)
    elif kind == "arrow":
        table = to_table(vectors).combine_chunks()  # one batch, so that a reader can map it
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    elif kind == "npy":
        with open(path, "wb") as handle:
            np.save(handle, vectors.matrix, allow_pickle=False)
    elif kind == "npz":
        with open(path, "wb") as handle:
            np.savez(handle, allow_pickle=False, **_named_arrays(vectors))
    elif kind == "safetensors":
        from safetensors.numpy import save_file

        save_file(_named_arrays(vectors), path, metadata={"format": "polyvec-vectors-1"})
    elif kind == "word2vec-text":
        write_text(vectors, path)
    else:
        write_binary(vectors, path)


def _named_arrays(vectors: Vectors) -> dict[str, np.ndarray]:
    arrays = {"vectors": np.ascontiguousarray(vectors.matrix)}
    if pa.types.is_integer(vectors.arrow_ids.type):
        arrays["ids"] = np.ascontiguousarray(vectors.ids)
    else:
        names = vectors.arrow_ids.to_pylist()
        if any("\0" in name for name in names):
            raise InvalidValueError(
                "ids: an id holds a zero byte, which npz and safetensors cannot keep; choose parquet"
            )
        arrays["ids_utf8"] = np.frombuffer("\0".join(names).encode("utf-8"), dtype=np.uint8)
    if vectors.metadata is not None:
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, vectors.metadata.schema) as writer:
            writer.write_table(vectors.metadata)
        arrays["metadata_arrow"] = np.frombuffer(sink.getvalue(), dtype=np.uint8)
    return arrays


def _from_arrays(arrays: dict[str, np.ndarray]) -> Vectors:
    names = [name for name in arrays if name not in ("ids", "ids_utf8", "metadata_arrow")]
    usual = ("vectors", "embeddings", "vector", "embedding", "matrix")
    chosen: list[str] = [name for name in usual if name in names]
    chosen = chosen or [name for name in names if arrays[name].ndim == 2]
    if len(chosen) != 1 and not {"vectors", "embeddings"} & set(chosen):
        raise FormatError(f"needs one matrix named 'vectors', got {', '.join(names) or 'nothing'}")
    matrix = arrays[chosen[0]]
    ids: Any = None
    if "ids" in arrays:
        ids = arrays["ids"]
    elif "ids_utf8" in arrays:
        joined = arrays["ids_utf8"].tobytes().decode("utf-8")
        ids = pa.array(joined.split("\0") if len(matrix) else [], type=pa.string())
    metadata = None
    if "metadata_arrow" in arrays:
        metadata = pa.ipc.open_stream(pa.py_buffer(arrays["metadata_arrow"].tobytes())).read_all()
    return Vectors(matrix, ids=ids, metadata=metadata)


def load(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    memory_map: bool = False,
    id_column: str | None = None,
    vector_column: str | None = None,
    metadata: bool = True,
) -> Vectors:
    """Read vectors; see `Vectors.load`."""
    kind = format_of(path, format)
    if memory_map and kind not in ("npy", "arrow"):
        raise InvalidValueError(f"memory_map: {kind} files cannot be mapped; convert to .npy or .arrow first")
    try:
        with open(path, "rb") as handle:
            handle.read(1)
        found = _read(Path(path), kind, memory_map, id_column, vector_column, metadata)
        return found if metadata or found.metadata is None else Vectors(found.matrix, ids=found.arrow_ids)
    except PolyvecError as error:
        if os.fspath(path) in str(error):
            raise
        raise type(error)(f"{os.fspath(path)}: {error}") from error
    except OSError as error:  # Arrow also raises OSError (without a number) for damaged content
        if error.errno is None:
            raise _damaged(path, kind, error) from error
        raise file_problem(error, path, "read") from error
    except _DAMAGE as error:
        raise _damaged(path, kind, error) from error


def _damaged(path: str | os.PathLike[str], kind: str, error: Exception) -> FormatError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return FormatError(f"{os.fspath(path)}: damaged or not a {kind} file ({reason})")


def _read(
    path: Path, kind: str, memory_map: bool, id_column: str | None, vector_column: str | None, metadata: bool
) -> Vectors:
    if kind == "parquet":
        import pyarrow.parquet as pq

        try:
            return _stream_parquet(path, id_column, vector_column, metadata)
        except (InvalidValueError, InvalidTypeError, pa.ArrowException):  # said of a batch; let it be said of the file
            return from_table(pq.read_table(path), id_column=id_column, vector_column=vector_column)
    if kind == "arrow":
        source = pa.memory_map(str(path)) if memory_map else pa.OSFile(str(path), "rb")
        return from_table(pa.ipc.open_file(source).read_all(), id_column=id_column, vector_column=vector_column)
    if kind == "npy":
        return Vectors(np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False))
    if kind == "npz":
        with np.load(path, allow_pickle=False) as archive:
            return _from_arrays({name: archive[name] for name in archive.files})
    if kind == "safetensors":
        return _from_arrays(_read_safetensors(path))
    return read_text(path) if kind == "word2vec-text" else read_binary(path)


def _stream_parquet(path: Path, id_column: str | None, vector_column: str | None, metadata: bool) -> Vectors:
    """The vectors batch by batch into their matrix: reading the table whole takes three times its memory."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
        id_column, vector_column = _chosen_columns(file.schema_arrow, id_column, vector_column)
        wanted = [name for name in (id_column, vector_column) if name is not None]
        others = [name for name in file.schema_arrow.names if name not in wanted] if metadata else []
        matrix: np.ndarray | None = None
        ids: list[pa.Array] = []
        start = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted, use_threads=False):
            part = _matrix_of(pa.chunked_array([batch.column(vector_column)]), vector_column)
            if matrix is None:
                matrix = np.empty((file.metadata.num_rows, part.shape[1]), dtype=np.float32)
            if part.shape[1] != matrix.shape[1]:
                raise FormatError(f"vectors of {matrix.shape[1]} and of {part.shape[1]} dimensions")
            with np.errstate(over="ignore"):  # as everywhere: what float32 cannot hold is infinite
                matrix[start : start + len(part)] = part
            start += len(part)
            if id_column is not None:
                ids.append(batch.column(id_column))
        if matrix is None:
            raise FormatError("no rows")
        rest = file.read(columns=others, use_threads=False) if others else None
    return Vectors(matrix, ids=pa.chunked_array(ids) if ids else None, metadata=rest)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import safe_open

    arrays = {}
    with safe_open(str(path), framework="numpy") as handle:
        for name in handle.keys():  # noqa: SIM118 - not a mapping
            if handle.get_slice(name).get_dtype() == "BF16":  # NumPy has no bfloat16
                from safetensors.torch import load_file

                arrays[name] = as_matrix(load_file(str(path))[name], name, min_rows=0, finite=False)
            else:
                arrays[name] = handle.get_tensor(name)
    return arrays
