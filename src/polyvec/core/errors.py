"""Errors of the whole package: one base class, and subclasses that are also Python's own kinds.

Every message names the argument or file, says what it got, what is needed and the likely fix.
"""

from __future__ import annotations


class PolyvecError(Exception):
    """Base of every error that polyvec raises on purpose."""


class InvalidValueError(PolyvecError, ValueError):
    """An argument has the right type but a value that cannot be used."""


class InvalidTypeError(PolyvecError, TypeError):
    """An argument has a type that cannot be used."""


class FormatError(InvalidValueError):
    """A file is not what its name or its content promises (malformed, truncated, binary, ...)."""


class FileProblemError(PolyvecError, OSError):
    """A file or folder cannot be read or written (missing, no permission, disk full, ...)."""


class DataUnavailableError(PolyvecError):
    """A data set of the catalogue is not in the cache and cannot be fetched (offline, unknown, ...)."""


class ChecksumError(DataUnavailableError):
    """A file that was fetched does not have a checksum that the catalogue knows."""


class MissingDependencyError(PolyvecError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class StoreError(PolyvecError):
    """A store cannot be opened, or an operation on it is refused."""


class EncoderMismatchError(StoreError):
    """A store was written with one encoder and is asked to work with another."""


class NotFoundError(PolyvecError, KeyError):
    """A name or id does not exist."""

    def __str__(self) -> str:  # KeyError shows the repr of its argument, which is unreadable in one line
        return str(self.args[0]) if self.args else ""


class NotFittedError(PolyvecError, ValueError, AttributeError):
    """A transform or encoder is used before `fit`."""
