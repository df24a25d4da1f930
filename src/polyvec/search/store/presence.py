"""Who reads a folder: each open version holds a shared lock on it, so that a writer knows when old versions can go."""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def mark_reader(folder: Path, handle: Any) -> None:
    """Hold a shared lock on `folder` for as long as the object `handle` lives.

    The operating system drops it when the process ends, however it ends. Where a folder cannot be locked (some network
    file systems) there is no mark, and then `nobody_reads` cannot lock it either.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits, a moment, while a writer removes old versions
    except OSError:
        os.close(descriptor)
        return
    weakref.finalize(handle, os.close, descriptor)


@contextmanager
def nobody_reads(folder: Path) -> Iterator[bool]:
    """Whether no process of this machine has a version open; if so, none is opened inside the block."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        alone = False
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        yield alone
    finally:
        os.close(descriptor)
