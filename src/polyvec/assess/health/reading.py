"""Files of vectors for a report: only what it needs, and in memory once at most."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.vector_files import format_of
from polyvec.core.vectors import Vectors

_BATCH_ROWS = 16_384  # 24 MiB at 384 dimensions; larger ones only take more memory


def read_vectors(path: str | os.PathLike[str]) -> Vectors:
    """The ids and vectors of a file, of any format that `Vectors.load` reads.

    `.npy` files of float32 and uncompressed Arrow files of one batch stay on the disk. Of a Parquet file only ids and
    vectors are read, batch by batch: reading it whole takes three times the memory of its vectors.

    Raises:
        FileProblemError: The file cannot be read.
        FormatError: The content is not what the format promises.
        InvalidValueError: The suffix names no format.
    """
    kind = format_of(path)
    if kind == "parquet":
        try:
            return _read_parquet(path)
        except (OSError, pa.ArrowException, InvalidValueError, InvalidTypeError):
            return Vectors.load(path)  # which says what is wrong
    return Vectors.load(path, memory_map=kind in ("npy", "arrow"))


def _read_parquet(path: str | os.PathLike[str]) -> Vectors:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:
        schema = file.schema_arrow
        unneeded = Vectors.from_arrow(schema.empty_table()).metadata
        columns = [name for name in schema.names if unneeded is None or name not in unneeded.column_names]
        matrix: np.ndarray | None = None
        ids: list[pa.Array] = []
        start = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False):
            part = Vectors.from_arrow(pa.Table.from_batches([batch]))
            if matrix is None:
                matrix = np.empty((file.metadata.num_rows, part.dim), dtype=np.float32)
            if part.dim != matrix.shape[1]:
                raise InvalidValueError(f"vectors of {matrix.shape[1]} and of {part.dim} dimensions")
            matrix[start : start + len(part)] = part.matrix
            start += len(part)
            ids.append(part.arrow_ids)
    if matrix is None:
        raise InvalidValueError("no rows")
    return Vectors(matrix, ids=pa.concat_arrays(ids) if len(columns) > 1 else None)
