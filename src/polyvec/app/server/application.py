"""`create_app`: the whole server of one index as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from starlette.responses import JSONResponse

from polyvec import __version__
from polyvec.app.server import problems
from polyvec.app.server.derived_routes import derived_routes
from polyvec.app.server.guards import LOOPBACK, Access, Guards
from polyvec.app.server.limits import ServerLimits
from polyvec.app.server.models import Alive
from polyvec.app.server.pages import page_routes, read_page
from polyvec.app.server.reference import reference_routes
from polyvec.app.server.schema import complete_schema
from polyvec.app.server.search_routes import search_routes
from polyvec.app.server.service import Service
from polyvec.app.server.system_routes import system_routes
from polyvec.core.errors import InvalidValueError

if TYPE_CHECKING:
    from polyvec.search import Store

_DESCRIPTION = """Search and judge one index. Errors are `{"error": {"code", "message"}}` with a 4xx or 5xx status."""


def create_app(
    store: Store,
    *,
    token: str | None = None,
    read_only: bool = False,
    limits: ServerLimits | None = None,
    docs: bool = False,
    hosts: Collection[str] = LOOPBACK,
    any_address: bool = False,
) -> FastAPI:
    """The API and the page of an index, as an ASGI application.

    Args:
        store: The index. Opened with `read_only=True` it refuses changes in any case.
        token: What every request to `/api` must show as `Authorization: Bearer TOKEN`; `None` asks for none.
        read_only: Refuse changes.
        limits: Bounds; see `ServerLimits`.
        docs: Whether `/api/docs` describes the API for people. `/api/openapi.json` does so for programs in any case.
        hosts: Names by which the server may be addressed; requests to other names are refused.
        any_address: Whether it may be addressed by any IP address too, for a server that listens on all of them.

    Raises:
        InvalidValueError: An empty token.

    Example:
        >>> import tempfile, polyvec
        >>> store = polyvec.Store.create(tempfile.mkdtemp() + "/index", dim=2)
        >>> app = create_app(store)
        >>> sorted(path for path in app.openapi()["paths"])[:3]
        ['/api/document', '/api/documents', '/api/documents/delete']
    """
    if token is not None and not token.strip():
        raise InvalidValueError("token: is empty, needs at least one character; leave it out to ask for none")
    limits = limits or ServerLimits()
    service = Service(store, limits, read_only=read_only or store.read_only)
    access = Access(token, frozenset(name.lower() for name in hosts), any_address)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.background.start(service.warm, "warm-up")
        yield
        service.workers.close()

    app = FastAPI(
        title="polyvec",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.service = service
    problems.install(app, store.path, service.name)
    api = APIRouter(prefix="/api")
    for router in (
        search_routes(service, token_required=token is not None),
        derived_routes(service),
        system_routes(service),
    ):
        api.include_router(router)

    @api.get("/openapi.json", include_in_schema=False)
    async def schema() -> JSONResponse:
        return JSONResponse(app.openapi())

    @app.get("/healthz", operation_id="alive", tags=["server"], responses=problems.documented())
    async def alive() -> Alive:
        """Whether the server answers; needs no token."""
        return Alive()

    app.include_router(api)
    if docs:
        app.include_router(reference_routes(app))
    app.router.routes.extend(page_routes(read_page()))
    app.add_middleware(Guards, access=access, limits=limits)
    complete_schema(app, secured=token is not None)
    return app
