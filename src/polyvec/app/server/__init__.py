"""The HTTP server of an index: a JSON API with an OpenAPI schema, and the page that uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.app.server.application import create_app as create_app
    from polyvec.app.server.limits import ServerLimits as ServerLimits

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ServerLimits": "polyvec.app.server.limits",
        "create_app": "polyvec.app.server.application",
    },
)
