"""A lock between threads and processes, so that two fetches of one entry do not get in each other's way."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyvec.core.errors import FileProblemError
from polyvec.core.files import file_problem


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` alone; waits for whoever holds it. The system frees it when a process dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # every holder opens its own description, so that the lock also works between threads of one process
        handle = open(path, "a")  # noqa: SIM115
    except OSError as error:
        raise file_problem(error, path, "lock") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            raise FileProblemError(
                f"cannot lock {path}: {error.strerror}; set POLYVEC_CACHE to a local disk"
            ) from error
        yield
