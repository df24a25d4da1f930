"""What every request passes before any handler sees it: host, origin, token, size, time, number; and what leaves.

One ASGI layer around the application, so that nothing that is added inside can forget a guard.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polyvec.app.server.limits import ServerLimits
from polyvec.app.server.problems import ApiError, busy, problem_response

logger = logging.getLogger("polyvec.server")

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask.

    Attributes:
        token: What API requests have to show, or `None`.
        hosts: Names by which the server may be addressed, without port, in lower case.
        any_address: Whether any IP address will do as well (a server that listens on all of them). A page of another
            site can point its own name at this machine, but not an address, so this opens nothing to it.
    """

    token: str | None = None
    hosts: Collection[str] = field(default=LOOPBACK)
    any_address: bool = False


def check_host(headers: Headers, access: Access) -> None:
    """Refuse requests that were addressed to another name: a site whose name was pointed here (DNS rebinding)."""
    given = headers.getlist("host")
    name = _host_name(given[0]) if len(given) == 1 else None
    if name is not None and (name in access.hosts or (access.any_address and _is_address(name))):
        return
    raise ApiError(
        400, "invalid_value", f"Host: got {', '.join(given)[:100]!r}, which is not this server; use --allow-host NAME"
    )


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_site(headers: Headers) -> None:
    """Refuse requests that the page of another site, or of another port of this machine, sends from a browser."""
    site = headers.get("sec-fetch-site", "none").lower()
    origin = headers.get("origin")
    foreign = site not in ("none", "same-origin")
    if origin is not None and not foreign:
        try:
            parts = urlsplit(origin)
        except ValueError:
            foreign = True
        else:
            foreign = parts.scheme not in ("http", "https") or parts.netloc.lower() != headers.get("host", "").lower()
    if foreign:
        raise ApiError(403, "unauthorized", "another site's page sent this request; only this server's own page may")


def check_token(headers: Headers, access: Access) -> None:
    """Refuse requests without the token, in a time that does not tell how much of it was right."""
    if access.token is None:
        return
    scheme, _, given = headers.get("authorization", "").partition(" ")
    shown = given.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
    if not hmac.compare_digest(shown, access.token.encode("utf-8")):
        raise ApiError(
            401, "unauthorized", "the token is missing or wrong; send 'Authorization: Bearer TOKEN'",
            {"WWW-Authenticate": 'Bearer realm="polyvec"'},
        )  # fmt: skip


def check_content_type(headers: Headers, body: bytes) -> None:
    """Refuse bodies that are not declared as JSON: a form of another site could send those."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise ApiError(415, "invalid_value", f"Content-Type: got {kind[:60]!r}, needs application/json")


async def read_body(headers: Headers, receive: Receive, most: int) -> bytes:
    """The whole body, given up as soon as it is announced or found to be too large."""
    too_large = ApiError(413, "too_large", f"the body has more than {most:,} bytes; send fewer documents at once")
    announced = headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > most:
        raise too_large
    if announced == "0" and "transfer-encoding" not in headers:
        return b""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, "invalid_value", "the request ended early")
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise too_large
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


class Guards:
    """The layer itself.

    Args:
        app: What it protects.
        access: Who may ask.
        limits: How much.
    """

    def __init__(self, app: ASGIApp, access: Access, limits: ServerLimits) -> None:
        self._app = app
        self._access = access
        self._limits = limits
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            await self._admit(scope, receive, answer)
        except ApiError as error:
            await self._refuse(error, scope, receive, answer)
        except TimeoutError:
            late = ApiError(504, "timeout", "the request took too long and was given up")
            await self._refuse(late, scope, receive, answer)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            defect = ApiError(500, "internal", "internal error; the server's log tells more")
            await self._refuse(defect, scope, receive, answer)

    async def _refuse(self, error: ApiError, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if not answer.started:
            headers = {**(error.headers or {}), "Connection": "close"} if error.status == 413 else error.headers
            await problem_response(error.status, error.code, error.message, headers)(scope, receive, answer)

    async def _admit(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers = Headers(scope=scope)
        check_host(headers, self._access)
        if not scope["path"].startswith("/api"):
            await self._app(scope, receive, answer)
            return
        check_site(headers)
        check_token(headers, self._access)
        if self._active >= self._limits.requests:
            raise busy("too many requests at once; try again in a second")
        seconds = self._limits.seconds if scope["method"] in ("GET", "HEAD") else self._limits.write_seconds
        self._active += 1
        try:
            async with asyncio.timeout(seconds):
                body = await asyncio.wait_for(
                    read_body(headers, receive, self._limits.body_bytes), self._limits.seconds
                )
                check_content_type(headers, body)
                await self._app(scope, _Replay(body, receive), answer)
        finally:
            self._active -= 1


class _Replay:
    """Gives the application the body that was read."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()


class _Answer:
    """Passes an answer on, with the security headers, and knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)
