"""Progress of long work: a rich bar on a terminal, a quiet log line elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

logger = logging.getLogger("polyvec")
T = TypeVar("T")


class ProgressHandle:
    """What `progress` yields: call `advance(n)` as work is done, `describe(text)` to change the label."""

    def advance(self, amount: int = 1) -> None:
        """Count `amount` more units as done."""

    def describe(self, text: str) -> None:
        """Change the label."""

    def set_total(self, total: int) -> None:
        """Set the number of units once it is known."""


class _RichHandle(ProgressHandle):
    def __init__(self, bar: object, task: object) -> None:
        self._bar = bar
        self._task = task

    def advance(self, amount: int = 1) -> None:
        self._bar.advance(self._task, amount)  # type: ignore[attr-defined]

    def describe(self, text: str) -> None:
        self._bar.update(self._task, description=text)  # type: ignore[attr-defined]

    def set_total(self, total: int) -> None:
        self._bar.update(self._task, total=total)  # type: ignore[attr-defined]


class _LogHandle(ProgressHandle):
    """Logs at most one line each `every` seconds at INFO, so that a log file stays short."""

    def __init__(self, description: str, total: int | None, every: float = 30.0) -> None:
        self._description, self._total, self._every = description, total, every
        self._done, self._last = 0, time.monotonic()

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            logger.info("%s: %s of %s", self._description, self._done, self._total or "?")

    def describe(self, text: str) -> None:
        self._description = text

    def set_total(self, total: int) -> None:
        self._total = total


class _ToldHandle(ProgressHandle):
    """Passes on to a listener what another handle shows."""

    def __init__(self, shown: ProgressHandle, total: int | None, listener: Callable[[float], None]) -> None:
        self._shown, self._total, self._listener, self._done = shown, total, listener, 0

    def advance(self, amount: int = 1) -> None:
        self._shown.advance(amount)
        self._done += amount
        if self._total:
            self._listener(min(1.0, self._done / self._total))

    def describe(self, text: str) -> None:
        self._shown.describe(text)

    def set_total(self, total: int) -> None:
        self._shown.set_total(total)
        self._total = total


_listener: ContextVar[Callable[[float], None] | None] = ContextVar("polyvec-progress", default=None)


@contextmanager
def progress_told_to(listener: Callable[[float], None]) -> Iterator[None]:
    """Inside the block (and its thread), each `progress` also tells `listener` its share that is done, from 0 to 1."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def progress(description: str, total: int | None = None, *, show: bool | None = None) -> Iterator[ProgressHandle]:
    """Context manager that reports progress on stderr.

    `show=None` (default) draws a bar when stderr is a terminal; `False` never draws; `True` always draws.
    `total` is the number of units, or `None` while unknown.
    """
    listener = _listener.get()
    with _shown(description, total, show) as handle:
        yield handle if listener is None else _ToldHandle(handle, total, listener)


@contextmanager
def _shown(description: str, total: int | None, show: bool | None) -> Iterator[ProgressHandle]:
    if show is None:
        show = sys.stderr.isatty()
    if not show:
        yield _LogHandle(description, total)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=False,
    ) as bar:
        yield _RichHandle(bar, bar.add_task(description, total=total))


def track(items: Iterable[T], description: str, total: int | None = None, *, show: bool | None = None) -> Iterator[T]:
    """Yield `items` and count each as one unit of progress."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with progress(description, total, show=show) as handle:
        for item in items:
            yield item
            handle.advance()
