"""serve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from polyvec.app.console import note, out
from polyvec.app.options import Quiet

if TYPE_CHECKING:
    from polyvec.search import Store

Port = Annotated[int, typer.Option("--port", help="Port to listen at; 0 takes any free one.")]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(serve)


def serve(
    folder: Annotated[
        str | None, typer.Argument(metavar="DIR", help="Folder or address (s3://...) of the index.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at. One that others can reach needs --token.")
    ] = "127.0.0.1",
    port: Port = 8000,
    token: Annotated[
        str | None, typer.Option("--token", envvar="POLYVEC_TOKEN", help="What API requests have to show.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse changes.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Another name it may be addressed by. Repeatable.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    docs: Annotated[bool, typer.Option("--docs", help="Describe the API at /api/docs.")] = False,
    quiet: Quiet = False,
) -> None:
    """Serve an index: a page to search, see and judge it, and a JSON API. Ctrl-C ends it."""
    from polyvec.core.errors import InvalidValueError
    from polyvec.search import Store

    if folder is None:
        raise InvalidValueError("DIR: which index? polyvec serve DIR, or polyvec demo --serve for the bundled sample")
    run_server(
        Store.open(folder, read_only=read_only),
        host=host,
        port=port,
        token=token,
        allow_hosts=allow_host or (),
        open_page=open_page,
        docs=docs,
        quiet=quiet,
    )


def run_server(
    store: Store,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allow_hosts: Sequence[str] = (),
    open_page: bool = False,
    docs: bool = False,
    quiet: bool = False,
) -> None:
    """Serve a store until Ctrl-C; says where."""
    import webbrowser

    from polyvec.app.server.serving import application, checked_token, listen, url_of
    from polyvec.app.server.serving import serve as answer

    token = checked_token(token)
    opened = listen(host, port)
    try:
        app = application(
            store, opened, host, token=token, read_only=store.read_only, allow_hosts=allow_hosts, docs=docs
        )
        url = url_of(opened, host)
    except BaseException:
        opened.close()
        raise

    def started() -> None:
        out().print(url if quiet else f"polyvec serves {store.path} at {url}", markup=False)
        if not quiet:
            note(f"{len(store):,} documents{', read-only' if store.read_only else ''}; Ctrl-C ends it")
        if open_page:
            webbrowser.open(url)

    answer(app, opened, started)
    if not quiet:
        note("ended")
