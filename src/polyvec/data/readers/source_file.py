"""A file that is going to be read, and texts that are safe to print."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def printable(path: str | os.PathLike[str]) -> str:
    """`path` as text that encodes to UTF-8 and stays on one line.

    A file name is bytes; those that are not UTF-8 are shown escaped.
    """
    return _escaped(os.fsencode(path).decode("utf-8", "backslashreplace"))


def one_line(text: str, limit: int = 200) -> str:
    """`text` from a file or a parser as part of a message: on one line, encodable, not longer than `limit`."""
    short = " ".join(text[: 4 * limit].split())
    short = short if len(short) <= limit else f"{short[: limit - 1]}…"
    return _escaped(short.encode("utf-8", "backslashreplace").decode("utf-8"))


def _escaped(text: str) -> str:
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that `scan` found.

    Attributes:
        path: Where it is.
        source: What documents give as their source: the path below the folder that was given, with `/` between names.
        size: Bytes on the disk.
        modified: Time of the last change, in seconds since 1970.
        format: Name of the reader that takes it ("text", "csv", ...).
        compressed: Whether it is gzip around that format.
        explicit: Whether the user named this very file (then it must be readable), or it was found in a folder.
    """

    path: Path
    source: str
    size: int
    modified: float
    format: str
    compressed: bool = False
    explicit: bool = False

    @property
    def id_prefix(self) -> str:
        """The source as the start of document ids.

        `#` separates the part of a file in an id, so names that have one (or look escaped) are escaped here: that
        keeps ids of different files apart.
        """
        if "#" in self.source or "%23" in self.source or "%25" in self.source:
            return self.source.replace("%", "%25").replace("#", "%23")
        return self.source
