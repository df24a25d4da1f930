"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Model = Annotated[
    str | None,
    typer.Option("--model", help="Text model: a sentence-transformers name or folder. Default: all-MiniLM-L6-v2."),
]
Include = Annotated[list[str] | None, typer.Option("--include", help="Only files that match this glob. Repeatable.")]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="No files that match this glob. Repeatable.")]
TextField = Annotated[str | None, typer.Option("--text-field", help="Field or column that holds the text.")]
TitleField = Annotated[str | None, typer.Option("--title-field", help="Field or column that holds the title.")]
IdField = Annotated[str | None, typer.Option("--id-field", help="Field or column that holds the id.")]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Character encoding of text files. Default: guessed.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no remarks.")]
