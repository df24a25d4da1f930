"""Output: tables and text for people on stdout, JSON on request, messages on stderr; colours only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def out() -> Console:
    """The console for results. Piped, it is plain and wide enough not to break lines."""
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def note(message: str) -> None:
    """A remark on stderr, so that stdout stays clean for pipes."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - this is the terminal


def print_json(content: Any) -> None:
    """The content as indented JSON on stdout."""
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Rows under headings: a rich table on a terminal, tab-separated lines in a pipe."""
    console = out()
    if not console.is_terminal:
        sys.stdout.write("\t".join(columns) + "\n")
        for row in rows:
            sys.stdout.write("\t".join(" ".join(str(cell).split()) for cell in row) + "\n")
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    console.print(table)


def shorten(text: str, width: int) -> str:
    """The text on one line, cut at a word with an ellipsis when it is longer than `width` characters."""
    line = " ".join(text[: 4 * width].split())
    if len(line) <= width:
        return line
    return line[: width - 1].rsplit(" ", 1)[0].rstrip(",;:.") + "…"
