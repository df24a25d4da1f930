"""One writer at a time: a lock file beside the table, or a lease on object storage."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyvec.core.errors import StoreError
from polyvec.core.files import file_problem
from polyvec.search.store.lease import Lease


class WriterLock:
    """Lets one writer in at a time, among threads and processes of one machine.

    The operating system drops the lock when its process ends, also by `kill -9`, so that a stale lock cannot exist. The
    same thread may take it again while it holds it. Readers need no lock: they read a version, and versions do not
    change.

    Args:
        path: The lock file; `None` on object storage.
        timeout: Seconds to wait for another writer.
        lease: What does the same on object storage.
    """

    def __init__(self, path: Path | None, timeout: float = 10.0, *, lease: Lease | None = None) -> None:
        self.path = path
        self.timeout = timeout
        self.lease = lease
        self._thread_lock = threading.RLock()
        self._depth = 0
        self._handle: int | None = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock inside the block.

        Raises:
            StoreError: Another writer kept it for longer than `timeout`.
            FileProblemError: The lock file cannot be written.
        """
        if not self._thread_lock.acquire(timeout=max(0.0, self.timeout)):
            raise StoreError(self._message("another thread of this process"))
        try:
            if self._depth == 0 and self.path is not None:
                self._handle = self._acquire(self.path)
            elif self._depth == 0 and self.lease is not None:
                self.lease.acquire(self.timeout)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0 and self._handle is not None:
                    os.close(self._handle)
                    self._handle = None
                elif self._depth == 0 and self.lease is not None:
                    self.lease.release()
        finally:
            self._thread_lock.release()

    def check(self) -> None:
        """Raise `StoreError` when a lease was lost; a lock file cannot be."""
        if self.lease is not None:
            self.lease.check()

    def _acquire(self, path: Path) -> int:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise file_problem(error, path, "write") from error
        try:
            self._wait(handle)
        except BaseException:  # also Ctrl-C while waiting
            os.close(handle)
            raise
        with contextlib.suppress(
            OSError
        ):  # a full disk: the lock holds all the same, only the holder's name is missing
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}\n".encode(), 0)
        return handle

    def _wait(self, handle: int) -> None:
        deadline = time.monotonic() + self.timeout
        pause = 0.01
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip()
                    raise StoreError(self._message(holder or "another process")) from None
            except OSError as error:
                raise file_problem(error, self.path or "", "lock") from error
            time.sleep(pause)
            pause = min(0.2, pause * 2)

    def _message(self, holder: str) -> str:
        place = self.path.parent if self.path is not None else "the store"
        return (
            f"{place}: {holder} is writing to it and did not finish within {self.timeout:g} s; "
            "wait for it, or give it more time with lock_timeout"
        )
