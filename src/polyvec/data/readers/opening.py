"""Opening files: plain, gzip and standard input, with every failure as one of the package's errors."""

from __future__ import annotations

import gzip
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from polyvec.core.errors import FileProblemError, FormatError, PolyvecError
from polyvec.core.files import file_problem
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.limits import BLOCK_BYTES
from polyvec.data.readers.scanning import STANDARD_INPUT
from polyvec.data.readers.source_file import SourceFile, printable

SPOOL_BYTES = 16 * BLOCK_BYTES
"""Standard input is kept in memory up to this size, in a temporary file beyond."""


@contextmanager
def open_binary(file: SourceFile, context: ReadContext) -> Iterator[BinaryIO]:
    """Open `file` for reading bytes, decompressed, seekable.

    Errors that reading raises inside the `with` block become `FileProblemError` (the system) or `FormatError` (the
    content).
    """
    with ExitStack() as stack:
        try:
            raw = (
                _standard_input(stack)
                if file.path == Path(STANDARD_INPUT)
                else stack.enter_context(open(file.path, "rb"))
            )
            context.position = raw.tell
            yield cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=raw))) if file.compressed else raw
        except PolyvecError:
            raise
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise FormatError(
                f"{printable(file.path)} is not a whole gzip file ({error}); compress it again, or drop the .gz if "
                "it is not compressed"
            ) from error
        except UnicodeError as error:
            raise FormatError(f"{printable(file.path)} cannot be decoded: {error}; name its encoding") from error
        except OSError as error:
            raise file_problem(error, printable(file.path), "read") from error
        finally:
            context.position = None


def _standard_input(stack: ExitStack) -> BinaryIO:
    spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - the stack closes it
    stack.callback(spool.close)
    if sys.stdin is None:
        raise FileProblemError("cannot read standard input: there is none; name a file instead of -")
    shutil.copyfileobj(sys.stdin.buffer, spool, BLOCK_BYTES)
    spool.seek(0)
    return cast(BinaryIO, spool)
