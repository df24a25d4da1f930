"""The price list: what every byte of a vector buys, on one's own vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.search.prices.listing import PriceList as PriceList
    from polyvec.search.prices.listing import PriceRow as PriceRow
    from polyvec.search.prices.measuring import price_list as price_list
    from polyvec.search.prices.of_store import prices_path as prices_path
    from polyvec.search.prices.of_store import store_price_list as store_price_list
    from polyvec.search.prices.of_store import take as take

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "PriceList": "polyvec.search.prices.listing:PriceList",
        "PriceRow": "polyvec.search.prices.listing:PriceRow",
        "prices_path": "polyvec.search.prices.of_store:prices_path",
        "store_price_list": "polyvec.search.prices.of_store:store_price_list",
        "take": "polyvec.search.prices.of_store:take",
        "price_list": "polyvec.search.prices.measuring:price_list",
    },
)
