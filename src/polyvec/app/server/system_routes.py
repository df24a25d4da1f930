"""The research systems."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from polyvec.app.server.limits import MAX_QUERY
from polyvec.app.server.models import SystemDetails, Systems
from polyvec.app.server.problems import documented
from polyvec.app.server.service import Service
from polyvec.app.server.systems import SystemCatalogue, plot
from polyvec.core.errors import NotFoundError

Slug = Annotated[str, Path(min_length=1, max_length=80, description="Short name of the system.")]
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        "description": "The committed plot.",
    }
}


def system_routes(service: Service) -> APIRouter:
    """`/api/systems`, `systems/{slug}`, `systems/{slug}/plot.png`."""
    router = APIRouter(prefix="/systems", tags=["systems"])
    run = service.workers.run
    catalogue = SystemCatalogue(service.default_encoder)

    def listed(query: str) -> Systems:
        return Systems(systems=catalogue.search(query) if query.strip() else catalogue.all())

    @router.get("", operation_id="systems", responses=documented(422))
    async def systems(
        q: Annotated[str, Query(max_length=MAX_QUERY, description="What a system should be about.")] = "",
    ) -> Systems:
        """The systems: all by name, or the most similar to a query first."""
        return await run(listed, q)

    @router.get("/{slug}", operation_id="system", responses=documented(404, 422))
    async def system(slug: Slug) -> SystemDetails:
        """All that is known of a system, with its committed result."""
        return await run(catalogue.details, slug)

    def picture(slug: str) -> Response:
        content = plot(catalogue.get(slug).slug)
        if content is None:
            raise NotFoundError(f"{slug} was not measured yet, so there is no plot")
        return Response(content, media_type="image/png", headers={"Cache-Control": "max-age=3600"})

    @router.get(
        "/{slug}/plot.png",
        operation_id="system_plot",
        response_class=Response,
        responses={**_PICTURE, **documented(404, 422)},
    )
    async def system_plot(slug: Slug) -> Response:
        """The plot of a system's result."""
        return await run(picture, slug)

    return router
