"""The price list of an index: what every way to make its vectors smaller keeps of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyvec.app.server.derived import Background, Derived, Progress, Stamp
from polyvec.core.errors import MissingDependencyError

if TYPE_CHECKING:
    from polyvec.search import Store
    from polyvec.search.store.snapshot import Snapshot


def price_list(folder: Path, store: Store, background: Background) -> Derived[dict[str, Any]]:
    """The price list as something derived; it is measured only when somebody asks for it."""

    def compute(snapshot: Snapshot, progress: Progress) -> dict[str, Any]:
        raise MissingDependencyError("price lists are not part of this installation")

    def read() -> tuple[Stamp, dict[str, Any]]:
        raise FileNotFoundError

    def keep(value: dict[str, Any], stamp: Stamp) -> None:
        return None

    return Derived("price list", compute=compute, read=read, keep=keep, background=background)
