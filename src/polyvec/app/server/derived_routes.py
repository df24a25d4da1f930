"""What is computed from the index: health report, price list, map."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from polyvec.app.server.highlights import Highlighter
from polyvec.app.server.models import Health, Map, MapPoint, MapSummary, Prices
from polyvec.app.server.problems import ApiError, documented
from polyvec.app.server.service import Service
from polyvec.core.errors import NotFoundError

NO_CLUSTER = 65_535
_BINARY: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        "description": "Little-endian: x and y of each point as float32, then the number of its cluster as uint16 "
        "(65535: none); in the order of the map.",
    },
    304: {"description": "The map is the one that the caller has (its ETag was sent)."},
}


def derived_routes(service: Service) -> APIRouter:
    """`/api/health`, `prices`, `map`, `map/points`, `map/point`."""
    router = APIRouter(tags=["views"])
    run = service.workers.run

    def health_now() -> Health:
        state = service.health.state(service.store.snapshot())
        return Health(status=state.status, progress=state.progress, message=state.message, report=state.value)

    @router.get("/health", operation_id="health", responses=documented())
    async def health() -> Health:
        """The health report; the first request for a version begins it."""
        return await run(health_now)

    def prices_now() -> Prices:
        state = service.prices.state(service.store.snapshot(), start=False)
        prices = None if state.value is None else state.value.to_dict()
        return Prices(status=state.status, progress=state.progress, message=state.message, prices=prices)

    @router.get("/prices", operation_id="prices", responses=documented())
    async def prices() -> Prices:
        """The price list, if it was measured for this version."""
        return await run(prices_now)

    def price() -> Prices:
        if not service.prices.begin(service.store.snapshot()):
            raise ApiError(409, "busy", "the price list is being measured already")
        return prices_now()

    @router.post("/prices", operation_id="measure_prices", responses=documented(409, 415))
    async def measure_prices() -> Prices:
        """Measure the price list, which takes minutes."""
        service.check_writable()
        return await run(price)

    def map_now() -> Map:
        state = service.map.state(service.store.snapshot())
        made = None
        if state.value is not None:
            told = state.value.to_dict()
            made = MapSummary(**{name: told[name] for name in ("count", "method", "clusters", "x", "y")})
        return Map(status=state.status, progress=state.progress, message=state.message, map=made)

    @router.get("/map", operation_id="map", responses=documented())
    async def map_summary() -> Map:
        """The map without its points; the first request for a version begins it."""
        return await run(map_now)

    def points_now(etag: str | None) -> Response:
        made = service.map.state(service.store.snapshot(), start=False).value
        if made is None:
            raise NotFoundError("there is no map of this version yet; ask /api/map until it is ready")
        headers = {"ETag": service.etag(), "Cache-Control": "no-cache"}
        if etag is not None and headers["ETag"] in etag:
            return Response(status_code=304, headers=headers)
        content = np.ascontiguousarray(made.points, dtype="<f4").tobytes() + made.clusters.astype("<u2").tobytes()
        return Response(content, media_type="application/octet-stream", headers=headers)

    @router.get(
        "/map/points", operation_id="map_points", response_class=Response, responses={**_BINARY, **documented(404, 422)}
    )
    async def map_points(if_none_match: Annotated[str | None, Header(max_length=512)] = None) -> Response:
        """The points of the map."""
        return await run(points_now, if_none_match)

    def point(index: int) -> MapPoint:
        made = service.map.state(service.store.snapshot(), start=False).value
        if made is None or index >= len(made):
            raise NotFoundError(f"index: there is no point {index}" + ("" if made is None else f" of {len(made)}"))
        found = service.store.get(str(made.ids[index]))
        cluster = int(made.clusters[index])
        return MapPoint(
            index=index,
            id=found.id,
            title=found.title,
            snippet=Highlighter("").snippet(found.text)[0],
            cluster=None if cluster == NO_CLUSTER else cluster,
        )

    @router.get("/map/point", operation_id="map_point", responses=documented(404, 422))
    async def map_point(index: Annotated[int, Query(ge=0, le=2**31 - 1)]) -> MapPoint:
        """The document behind a point."""
        return await run(point, index)

    return router
