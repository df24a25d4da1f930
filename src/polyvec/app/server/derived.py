"""Things that are computed from one version of an index: once, in the background, and kept in a file beside it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from polyvec.core.errors import PolyvecError
from polyvec.core.files import cache_directory, write_json
from polyvec.core.progress import progress_told_to
from polyvec.search.store.opening import DERIVED_FOLDER
from polyvec.search.store.snapshot import Snapshot

logger = logging.getLogger("polyvec.server")
T = TypeVar("T")

Stamp = dict[str, Any]
Status = Literal["none", "computing", "ready", "failed"]


def stamp_of(snapshot: Snapshot) -> Stamp:
    """What tells one version of one index from all others."""
    return {"version": snapshot.version, "created": snapshot.info.created, "documents": snapshot.count}


def derived_folder(path: str) -> Path:
    """Where derived files of the index at `path` go: beside it, or in the user's cache where that cannot be written."""
    if "://" not in path:
        index = Path(path).expanduser().absolute()
        folder = index / DERIVED_FOLDER
        if os.access(folder if folder.exists() else index, os.W_OK):
            return folder
        path = str(index)
    return cache_directory("derived", hashlib.sha256(path.encode()).hexdigest()[:24])


@dataclass(frozen=True, slots=True)
class State(Generic[T]):
    """How far it is."""

    status: Status
    value: T | None = None
    progress: float | None = None
    message: str | None = None


class Background:
    """One computation at a time for all derived things, so that searching keeps the other cores.

    Its threads do not keep the process alive: what is computed can be computed again.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._running = 0
        self._lock = threading.Lock()

    @property
    def running(self) -> int:
        """Computations at work or waiting for their turn."""
        return self._running

    def start(self, work: Callable[[], None], name: str) -> None:
        """Run `work` on a thread of its own, when it is its turn."""

        def run() -> None:
            try:
                with self._turn:
                    work()
            finally:
                with self._lock:
                    self._running -= 1

        with self._lock:
            self._running += 1
        threading.Thread(target=run, name=f"polyvec-{name}", daemon=True).start()


class Derived(Generic[T]):
    """One such thing.

    Args:
        name: What it is called in messages.
        compute: Makes it from a version of the index; its progress bars tell how far it is.
        steps: Progress bars that it shows, one after the other.
        read: Reads what was kept before; gives the stamp with it. May raise anything.
        keep: Writes it down with the stamp.
        background: Where it is computed.
    """

    def __init__(
        self,
        name: str,
        *,
        compute: Callable[[Snapshot], T],
        read: Callable[[], tuple[Stamp, T]],
        keep: Callable[[T, Stamp], None],
        background: Background,
        steps: int = 1,
    ) -> None:
        self.name = name
        self._steps = steps
        self._compute, self._read, self._keep, self._background = compute, read, keep, background
        self._lock = threading.Lock()
        self._looked: Stamp | None = None
        self._stamp: Stamp | None = None
        self._state: State[T] = State("none")
        self._busy = False

    def state(self, snapshot: Snapshot, *, start: bool = True) -> State[T]:
        """How far it is for this version; with `start` it is begun when it was not yet."""
        stamp = stamp_of(snapshot)
        with self._lock:
            if self._stamp == stamp:
                return self._state
            if self._busy:  # for an older version: the newest one's turn comes after it
                return State("computing")
            if self._looked != stamp:
                self._looked = stamp
                if (kept := self._kept(stamp)) is not None:
                    self._stamp, self._state = stamp, State("ready", kept)
                    return self._state
            if not start:
                return State("none")
            self._begin(snapshot, stamp)
            return self._state

    def begin(self, snapshot: Snapshot) -> bool:
        """Begin anew, also when it is ready; `False` when it is being computed already."""
        with self._lock:
            if self._busy:
                return False
            self._begin(snapshot, stamp_of(snapshot))
            return True

    def _begin(self, snapshot: Snapshot, stamp: Stamp) -> None:
        self._busy, self._stamp, self._state = True, stamp, State("computing")
        self._background.start(lambda: self._work(snapshot, stamp), self.name)

    def _work(self, snapshot: Snapshot, stamp: Stamp) -> None:
        finished, last = 0, 0.0

        def tell(share: float) -> None:  # a step that begins anew follows one that is finished
            nonlocal finished, last
            finished += share < last
            last = share
            done = min(0.99, (finished + share) / max(self._steps, finished + 1))
            self._state = State("computing", progress=round(max(done, self._state.progress or 0.0), 4))

        try:
            with progress_told_to(tell):
                value = self._compute(snapshot)
        except PolyvecError as error:
            self._finish(State("failed", message=" ".join(str(error).split())))
        except Exception as error:
            logger.exception("%s failed", self.name)
            self._finish(State("failed", message=f"{self.name}: internal error ({type(error).__name__})"))
        else:
            self._finish(State("ready", value))
            try:
                self._keep(value, stamp)
            except PolyvecError as error:  # a full disk: it is served from memory all the same
                logger.warning("%s", error)

    def _finish(self, state: State[T]) -> None:
        with self._lock:
            self._busy, self._state = False, state

    def _kept(self, stamp: Stamp) -> T | None:
        try:
            told, value = self._read()
        except (PolyvecError, OSError, ValueError, KeyError, TypeError, ImportError):
            return None  # there is none, or it is damaged or of another version of polyvec: made anew
        return value if told == stamp else None


def json_file(path: Path) -> tuple[Callable[[], tuple[Stamp, Any]], Callable[[Any, Stamp], None]]:
    """`read` and `keep` for something that JSON can hold."""

    def read() -> tuple[Stamp, Any]:
        content = json.loads(path.read_bytes())
        return content["made_from"], content["value"]

    def keep(value: Any, stamp: Stamp) -> None:
        write_json(path, {"made_from": stamp, "value": value})

    return read, keep
