"""The price list of an index: what every way to make its vectors smaller keeps of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyvec.app.server.derived import Background, Derived, Stamp, stamp_of

if TYPE_CHECKING:
    from polyvec.search import Store
    from polyvec.search.prices import PriceList
    from polyvec.search.store.snapshot import Snapshot

KEEP = 0.95
"""The recall@10 that the choice holds, as `polyvec shrink` asks for by itself."""


def price_list(folder: Path, store: Store, background: Background) -> Derived[PriceList]:
    """The price list as something derived. It takes minutes, so it is measured only when somebody asks for it."""
    path = folder / "prices.json"

    def compute(snapshot: Snapshot) -> PriceList:
        from polyvec.search.prices import store_price_list

        prices = store_price_list(store, show_progress=False)
        prices.choose(keep=KEEP)
        return prices

    def read() -> tuple[Stamp, PriceList]:
        from polyvec.search.prices import PriceList

        prices = PriceList.load(path)
        snapshot = store.snapshot()
        known: Any = getattr(prices, "store_version", None)
        current = known == snapshot.version and prices.date >= snapshot.info.created
        # of an index that was shrunk, the list that led to it is the one to show: its full vectors are gone
        shrunk = getattr(snapshot.info, "compression", None) is not None
        return (stamp_of(snapshot) if current or shrunk else {}), prices

    def keep(prices: PriceList, stamp: Stamp) -> None:
        prices.save(path)

    return Derived("price list", compute=compute, read=read, keep=keep, background=background)
