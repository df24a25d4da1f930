"""`polyvec`: the entry point, and what it says when something is wrong.

Exit codes: 0 done; 1 interrupted, a claim that does not hold, or a defect of polyvec; 2 bad input, with one line on
stderr that says what, got, needed, fix.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Annotated, Any, NoReturn, TextIO

import typer

from polyvec.app import (
    data_commands,
    index_commands,
    inspect_commands,
    map_commands,
    merge_commands,
    serve_commands,
    shrink_commands,
    system_commands,
)
from polyvec.app.console import note

app = typer.Typer(
    name="polyvec",
    help="One toolkit for the whole life of an embedding. Start with: polyvec demo",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    pretty_exceptions_enable=False,
)
index_commands.register(app)
inspect_commands.register(app)
map_commands.register(app)
merge_commands.register(app)
serve_commands.register(app)
shrink_commands.register(app)
system_commands.register(app)
app.add_typer(data_commands.app, name="data")


_INTERRUPTED = 128 + 2  # what a shell reports for a process that SIGINT ended


def _version(value: bool) -> None:
    if value:
        from polyvec import __version__

        typer.echo(f"polyvec {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what is done, on stderr.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR, format="%(name)s: %(message)s", stream=sys.stderr
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _stop(message: str, code: int) -> NoReturn:
    note(f"polyvec: {message}")
    sys.exit(code)


class _PatientPipe(io.FileIO):
    """Standard output whose reader may leave early (`| head`): the rest is dropped, and that is no error."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def _patient_output(stream: TextIO) -> TextIO:
    stream.flush()
    raw = _PatientPipe(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=stream.isatty()
    )


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; always ends in `SystemExit`."""
    from polyvec.core.errors import PolyvecError
    from polyvec.core.files import file_problem

    if (stream := sys.__stdout__) is not None and sys.stdout is stream:
        sys.stdout = _patient_output(stream)
    try:
        code = app(args=arguments, standalone_mode=False, prog_name="polyvec")
        if code == _INTERRUPTED:  # the parser library turns Ctrl-C into this
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except PolyvecError as error:
        if os.environ.get("POLYVEC_TRACEBACK"):
            raise
        _stop(_one_line(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        _stop("interrupted; what was finished is kept, run the same command again to go on", 1)
    except OSError as error:
        if os.environ.get("POLYVEC_TRACEBACK"):
            raise
        _stop(_one_line(file_problem(error, error.filename or "a file")), 2)
    except Exception as error:  # the last place that can turn a traceback into a line
        if hasattr(error, "format_message"):  # a usage error of the command line parser
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "polyvec"
            if message := _one_line_text(error.format_message()):
                note(f"{command}: {message} Try '{command} --help'.")
            sys.exit(2)
        if os.environ.get("POLYVEC_TRACEBACK"):
            raise
        _stop(
            f"internal error: {type(error).__name__}: {_one_line(error)}; "
            "please report it with the output of the same command under POLYVEC_TRACEBACK=1",
            1,
        )


def _one_line_text(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
