"""The page and what belongs to it: read once from the package, served from memory."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
}
MISSING = "the page is not part of this installation; the API is at /api and described by /api/openapi.json\n"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of the page."""

    content: bytes
    media_type: str
    etag: str


def read_page(root: Traversable | None = None) -> dict[str, StaticFile]:
    """Every file of the page by the path it is served at: a request names a key of this dictionary, never a file."""
    root = files("polyvec.app") / "web" if root is None else root
    found: dict[str, StaticFile] = {}
    if root.is_dir():
        _collect(root, "/", found)
    if "/index.html" in found:
        found["/"] = found["/index.html"]
    return found


def _collect(folder: Traversable, path: str, found: dict[str, StaticFile]) -> None:
    for entry in folder.iterdir():
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir():
            _collect(entry, f"{path}{entry.name}/", found)
            continue
        content = entry.read_bytes()
        suffix = f".{entry.name.rpartition('.')[2].lower()}"
        kind = _TYPES.get(suffix) or mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
        found[path + entry.name] = StaticFile(content, kind, f'"{hashlib.sha256(content).hexdigest()[:24]}"')


def page_routes(page: dict[str, StaticFile]) -> list[Route]:
    """`/` and the files of the page, as routes outside the OpenAPI schema."""
    routes = [Route(path, _server_of(file), methods=["GET", "HEAD"]) for path, file in page.items()]
    return routes if "/" in page else [*routes, Route("/", _missing, methods=["GET", "HEAD"])]


def _server_of(file: StaticFile) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        headers = {"ETag": file.etag, "Cache-Control": "no-cache"}  # asked for again each time, and mostly unchanged
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)

    return serve


async def _missing(request: Request) -> Response:
    return PlainTextResponse(MISSING, 404)
