"""Work that blocks, on a bounded number of threads and with a bounded queue in front of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from polyvec.app.server.problems import busy

T = TypeVar("T")


class Workers:
    """Threads for the parts of requests that block.

    A request that ran out of time leaves its thread at work; its place is given to another only when the thread is
    done, so that slow requests cannot pile up.

    Args:
        threads: Threads that work at once.
        waiting: Calls that may be in work or in the queue.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._free = waiting
        self._lock = threading.Lock()

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """`work(*arguments)` on one of the threads.

        Raises:
            ApiError: 503, the queue is full.
        """
        with self._lock:
            if self._free <= 0:
                raise busy("too many requests at once; try again in a second")
            self._free -= 1
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="polyvec-serve")
            pool = self._pool
        try:
            future = pool.submit(work, *arguments)
        except BaseException:
            self._release()
            raise
        future.add_done_callback(self._release)
        return await asyncio.wrap_future(future)

    def _release(self, _: Future[Any] | None = None) -> None:
        with self._lock:
            self._free += 1

    def close(self) -> None:
        """Drop what waits, and wait for what is in work: a write that has begun is finished."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
