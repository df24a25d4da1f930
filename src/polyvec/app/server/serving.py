"""Listening: the socket, who may reach it, and a server that ends cleanly."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from polyvec.app.server.guards import LOOPBACK
from polyvec.app.server.limits import ServerLimits
from polyvec.core.errors import FileProblemError, InvalidValueError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from polyvec.search import Store

CONNECTIONS = 1_000
"""Connections that may be open at once; beyond, uvicorn answers 503 itself."""

GRACE_SECONDS = 5
"""What a request that is being answered gets when the server is told to stop."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at this address.

    Raises:
        InvalidValueError: The host is no name or address of this machine, or the port is none.
        FileProblemError: The port is in use, or needs more rights.
    """
    if not 0 <= port <= 65_535:
        raise InvalidValueError(f"--port: got {port}, needs a number from 0 (any free one) to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise InvalidValueError(f"--host: got {host!r}, which is no name or address of this machine") from error
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(128)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise FileProblemError(
                f"port {port} of {host} is in use, perhaps by another polyvec serve; choose another with --port, "
                "or --port 0 for any free one"
            ) from error
        if error.errno == errno.EACCES:
            raise FileProblemError(f"port {port} needs more rights; choose one from 1024 on with --port") from error
        raise InvalidValueError(
            f"--host: cannot listen at {host!r}, which is no address of this machine ({error.strerror})"
        ) from error
    return opened


def is_loopback(opened: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    return ipaddress.ip_address(opened.getsockname()[0].partition("%")[0]).is_loopback


def is_wildcard(opened: socket.socket) -> bool:
    """Whether the socket listens at all addresses."""
    return ipaddress.ip_address(opened.getsockname()[0].partition("%")[0]).is_unspecified


def url_of(opened: socket.socket, host: str) -> str:
    """What to type into a browser on this machine."""
    name = "localhost" if is_wildcard(opened) else host
    port = opened.getsockname()[1]
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def checked_token(token: str | None) -> str | None:
    """The token without blanks around it.

    Raises:
        InvalidValueError: Empty, or with characters that an HTTP header cannot carry.
    """
    if token is None:
        return None
    token = token.strip()
    if not token:
        raise InvalidValueError("--token: is empty; give at least one character, or leave it out")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidValueError("--token: needs printable ASCII characters without blanks, as HTTP headers carry them")
    return token


def application(
    store: Store,
    opened: socket.socket,
    host: str,
    *,
    token: str | None,
    read_only: bool,
    allow_hosts: Collection[str],
    docs: bool,
    limits: ServerLimits | None = None,
) -> FastAPI:
    """The application for a socket.

    Raises:
        InvalidValueError: Others can reach the socket and there is no token.
    """
    from polyvec.app.server.application import create_app

    if token is None and not is_loopback(opened):
        raise InvalidValueError(
            f"--host: {host} can be reached from other machines, so it needs --token (or POLYVEC_TOKEN); "
            "for example --token $(openssl rand -hex 16)"
        )
    return create_app(
        store,
        token=token,
        read_only=read_only,
        limits=limits,
        docs=docs,
        hosts={*LOOPBACK, host, *allow_hosts},
        any_address=is_wildcard(opened),
    )


def serve(app: FastAPI, opened: socket.socket, started: Callable[[], None] = lambda: None) -> None:
    """Answer until Ctrl-C or SIGTERM; requests that are in work are finished.

    `started` is called when requests are answered.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(opened):
        Server(config).run(sockets=[opened])
    if app.state.service.background.running:
        # A health report or a map is being computed on a thread that cannot be interrupted. Its result would only be
        # kept for the next time, so it is dropped; requests have ended and all that was written is on the disk.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
