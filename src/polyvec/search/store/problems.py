"""Errors of LanceDB and of the operating system, turned into the package's own one-line errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from polyvec.core.errors import InvalidValueError, PolyvecError, StoreError
from polyvec.core.files import file_problem
from polyvec.search.store.object_storage import is_address, storage_problem

_SYSTEM_CODE = re.compile(r"os error (\d+)")
_SOURCE_PLACE = re.compile(r",?\s*\S*\.rs:\d+:\d+\S*")
_PARSER = re.compile(r"sql parser error: (.*?)\)?$")
_DAMAGE = (
    "lanceerror(io)",
    "file size is too small",
    "invalid range",
    "magic",
    "decode",
    "corrupt",
    "eof",
    "not found",
)


def first_line(error: BaseException) -> str:
    """The first line of a message, without places in LanceDB's source code that help no user."""
    lines = str(error).strip().splitlines()
    return _SOURCE_PLACE.sub("", lines[0]).strip() if lines else type(error).__name__


def translated(error: BaseException, path: str, action: str) -> PolyvecError:
    """The package's error for one of LanceDB, Arrow or the operating system."""
    if is_address(path) and (problem := storage_problem(error, path, action)) is not None:
        return problem
    if isinstance(error, OSError) and error.errno is not None:
        return file_problem(error, path, action)
    if found := _SYSTEM_CODE.search(str(error)):
        code = int(found.group(1))
        return file_problem(OSError(code, os.strerror(code)), path, action)
    message = first_line(error)
    if "conflict" in message.lower():
        return StoreError(f"cannot {action} {path}: another process changed it at the same time; try again")
    if isinstance(error, RuntimeError) and any(sign in message.lower() for sign in _DAMAGE):
        return StoreError(
            f"cannot {action} {path}: a file of the store is damaged or missing ({message}); "
            "restore the folder from a copy, or index the documents into a new one"
        )
    return StoreError(f"cannot {action} {path}: {message}")


def filter_problem(error: BaseException, where: str) -> InvalidValueError | None:
    """The package's error for a filter that LanceDB cannot use; `None` when something else is wrong."""
    message = first_line(error)
    if not isinstance(error, ValueError) and "filter expression" not in message:
        return None
    inner = _PARSER.search(message)
    reason = inner.group(1) if inner else message.removeprefix("Invalid input, ").removeprefix("lance error: ")
    shown = where if len(where) <= 100 else where[:97] + "..."
    return InvalidValueError(f"where: {reason}; got: {shown}")


@contextmanager
def store_problems(path: str, action: str, where: str | None = None) -> Iterator[None]:
    """Turn errors inside the block into `StoreError` or `FileProblemError` that name the store and the action.

    With `where`, errors that come of this filter become an `InvalidValueError` that quotes it.
    """
    try:
        yield
    except PolyvecError:
        raise
    except (OSError, RuntimeError, ValueError, pa.ArrowException) as error:
        if where is not None and (problem := filter_problem(error, where)) is not None:
            raise problem from error
        raise translated(error, path, action) from error
