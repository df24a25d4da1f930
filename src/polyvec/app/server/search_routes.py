"""Searching, reading and changing documents."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from polyvec import __version__
from polyvec.app.server.facets import Facets
from polyvec.app.server.limits import MAX_FACETS, MAX_HITS, MAX_ID, MAX_OFFSET, MAX_QUERY, MAX_WHERE
from polyvec.app.server.models import (
    Deleted,
    Found,
    FullDocument,
    Info,
    NewDocuments,
    OldDocuments,
    RangeFacets,
    ValueFacets,
    Written,
)
from polyvec.app.server.problems import documented
from polyvec.app.server.service import Service
from polyvec.data.documents import Document

K = Annotated[int, Query(ge=1, le=MAX_HITS, description="Hits at most.")]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Hits to leave out before the first (paging).")]
Where = Annotated[str, Query(max_length=MAX_WHERE, description="Filter on metadata, such as: year > 2020.")]
Id = Annotated[str, Query(min_length=1, max_length=MAX_ID, description="Id of a document.")]
Mode = Literal["dense", "keyword", "hybrid"]


def search_routes(service: Service, *, token_required: bool) -> APIRouter:
    """`/api/info`, `facets`, `search`, `similar`, `document`, `documents`."""
    router = APIRouter(tags=["documents"])
    run = service.workers.run
    facet_counts = Facets()

    def describe() -> Info:
        stats = service.store.stats()
        return Info(
            name=service.name,
            documents=stats.documents,
            dim=stats.dim,
            metric=stats.metric,
            encoder=stats.encoder,
            columns=stats.columns,
            read_only=service.read_only,
            version=stats.version,
            polyvec_version=__version__,
            bytes=stats.bytes_on_disk,
            modes=service.modes(),
            token_required=token_required,
        )

    @router.get("/info", operation_id="info", responses=documented())
    async def info() -> Info:
        """What is served."""
        return await run(describe)

    @router.get("/facets", operation_id="facets", responses=documented(404, 422))
    async def facets(
        column: Annotated[str, Query(min_length=1, max_length=MAX_ID)],
        limit: Annotated[int, Query(ge=1, le=MAX_FACETS)] = 30,
    ) -> ValueFacets | RangeFacets:
        """The values of a column with their counts, or its range."""
        return await run(lambda: facet_counts.of(service.store.snapshot(), column, limit))

    def as_json(found: Found) -> Response:
        # written on the thread that searched, and not validated a second time: a third of a request's time
        return Response(found.model_dump_json(), media_type="application/json")

    @router.get("/search", operation_id="search", response_model=Found, responses=documented(422))
    async def search(
        q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY, description="What to look for.")],
        mode: Annotated[Mode, Query(description="By meaning, by words, or both.")] = "dense",
        k: K = 10,
        offset: Offset = 0,
        where: Where = "",
    ) -> Response:
        """Find documents."""
        return await run(lambda: as_json(service.search(q, mode, k, offset, where or None)))

    @router.get("/similar", operation_id="similar", response_model=Found, responses=documented(404, 422))
    async def similar(id: Id, k: K = 10, offset: Offset = 0, where: Where = "") -> Response:
        """Documents like a given one, without it."""
        return await run(lambda: as_json(service.similar(id, k, offset, where or None)))

    @router.get("/document", operation_id="document", responses=documented(404, 422))
    async def document(id: Id) -> FullDocument:
        """A whole document."""
        return await run(service.document, id)

    def write(given: NewDocuments) -> Written:
        documents = [
            Document(one.id, one.text, title=one.title, source=one.source, metadata=dict(one.metadata))
            for one in given.documents
        ]
        written = service.store.add(documents, on_conflict=given.on_conflict, show_progress=False)
        service.committed()
        return Written(written=written)

    @router.post("/documents", operation_id="add_documents", responses=documented(415, 422))
    async def add_documents(given: Annotated[NewDocuments, Body()]) -> Written:
        """Keep documents. When this is answered they are on the disk; when it fails, none of them is."""
        service.check_writable()
        return await run(write, given)

    def drop(given: OldDocuments) -> Deleted:
        deleted = service.store.delete(given.ids, missing=given.missing)
        service.committed()
        return Deleted(deleted=deleted)

    @router.post("/documents/delete", operation_id="delete_documents", responses=documented(404, 415, 422))
    async def delete_documents(given: Annotated[OldDocuments, Body()]) -> Deleted:
        """Drop documents."""
        service.check_writable()
        return await run(drop, given)

    return router
