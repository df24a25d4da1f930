"""word2vec's text and binary formats: a line `n d`, then one word and its vector after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from polyvec.core.errors import FormatError, InvalidValueError
from polyvec.core.vectors import Vectors

_BREAKS = (" ", "\n", "\r", "\t", "\0")


def _words(vectors: Vectors) -> list[str]:
    words = [str(word) for word in vectors.arrow_ids.to_pylist()]
    for word in words:
        if not word or any(mark in word for mark in _BREAKS):
            raise InvalidValueError(f"ids: {word!r} is empty or holds white space, which word2vec files cannot keep")
    return words


def write_binary(vectors: Vectors, path: Path) -> None:
    """Write the binary format (little-endian float32 after each word)."""
    words = _words(vectors)
    with open(path, "wb") as handle:
        handle.write(f"{len(vectors)} {vectors.dim}\n".encode())
        for word, vector in zip(words, vectors.matrix, strict=True):
            handle.write(word.encode("utf-8") + b" " + vector.astype("<f4").tobytes())


def write_text(vectors: Vectors, path: Path) -> None:
    """Write the text format; numbers have as many digits as float32 needs to come back exactly."""
    words = _words(vectors)
    with open(path, "wb") as handle:
        handle.write(f"{len(vectors)} {vectors.dim}\n".encode())
        options = pa.csv.WriteOptions(include_header=False, delimiter=" ")
        for start in range(0, len(words), 8192):
            block = vectors.matrix[start : start + 8192]
            columns = [pa.array(np.ascontiguousarray(block[:, column])) for column in range(vectors.dim)]
            sink = pa.BufferOutputStream()
            pa.csv.write_csv(pa.table(columns, names=[str(column) for column in range(vectors.dim)]), sink, options)
            lines = sink.getvalue().to_pybytes().split(b"\n")
            named = zip(words[start : start + 8192], lines, strict=False)
            handle.write(b"".join(word.encode("utf-8") + b" " + line + b"\n" for word, line in named))


def _header(line: bytes) -> tuple[int, int]:
    try:
        count, dim = (int(part) for part in line.split())
    except ValueError:
        raise FormatError(f"the first line is {line[:60]!r}, needs 'count dimensions' (word2vec format)") from None
    if count < 0 or dim < 1:
        raise FormatError(f"the first line says {count} vectors of {dim} dimensions")
    return count, dim


def read_binary(path: Path) -> Vectors:
    """Read the binary format, with or without a line break after each vector."""
    content = memoryview(np.memmap(path, dtype=np.uint8, mode="r"))  # type: ignore[arg-type]
    head = bytes(content[:100])
    if b"\n" not in head:
        raise FormatError("the first line is missing, needs 'count dimensions' (word2vec format)")
    count, dim = _header(head.partition(b"\n")[0])
    position, width = head.index(b"\n") + 1, 4 * dim
    if count * (width + 2) > len(content) - position + 1:
        raise FormatError(f"promises {count} vectors of {dim} dimensions, but the file is only {len(content)} bytes")
    matrix = np.empty((count, dim), dtype=np.float32)
    words = []
    for row in range(count):
        window = bytes(content[position : position + 4096])
        end = window.find(b" ")
        if end < 0 or position + end + 1 + width > len(content):
            raise FormatError(f"ends inside vector {row} of {count}")
        words.append(window[:end].lstrip(b"\n").decode("utf-8"))
        position += end + 1
        matrix[row] = np.frombuffer(content[position : position + width], dtype="<f4")
        position += width
    return Vectors(matrix, ids=pa.array(words, type=pa.string()))


def read_text(path: Path) -> Vectors:
    """Read the text format, with or without a blank at the end of the lines."""
    with open(path, "rb") as handle:
        count, dim = _header(handle.readline())
        start = handle.tell()
        first = handle.readline().rstrip(b"\n")
    if not count:
        return Vectors(np.empty((0, dim), dtype=np.float32), ids=pa.array([], type=pa.string()))
    trailing = first.endswith(b" ")
    if len(first.split(b" ")) != dim + 1 + trailing:
        raise FormatError(f"line 2 has {len(first.split()) - 1} numbers, the first line promises {dim}")
    names = ["word", *(str(column) for column in range(dim)), *(["blank"] if trailing else [])]
    types = {name: pa.float32() for name in names[1 : dim + 1]} | {"word": pa.string()}
    with open(path, "rb") as handle:
        handle.seek(start)
        table = pa.csv.read_csv(
            handle,
            read_options=pa.csv.ReadOptions(column_names=names, block_size=max(1 << 20, 64 * dim)),
            parse_options=pa.csv.ParseOptions(delimiter=" ", quote_char=False, double_quote=False),
            convert_options=pa.csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        )
    if table.num_rows != count:
        raise FormatError(f"promises {count} vectors and holds {table.num_rows}")
    columns = [table.column(name).to_numpy() for name in names[1 : dim + 1]]
    return Vectors(np.stack(columns, axis=1), ids=table.column("word"))
