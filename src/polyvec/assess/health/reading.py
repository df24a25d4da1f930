"""Files of vectors for a report: only what it needs, and in memory once at most."""

from __future__ import annotations

import os

from polyvec.core.vector_files import format_of
from polyvec.core.vectors import Vectors


def read_vectors(path: str | os.PathLike[str]) -> Vectors:
    """The ids and vectors of a file, of any format that `Vectors.load` reads.

    `.npy` files of float32 and uncompressed Arrow files of one batch stay on the disk.

    Raises:
        FileProblemError: The file cannot be read.
        FormatError: The content is not what the format promises.
        InvalidValueError: The suffix names no format.
    """
    return Vectors.load(path, memory_map=format_of(path) in ("npy", "arrow"), metadata=False)
