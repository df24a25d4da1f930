"""What every reader is told: the user's choices and the report to fill."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from polyvec.core.errors import FormatError
from polyvec.data.readers.report import ReadReport
from polyvec.data.readers.scanning import OnError
from polyvec.data.readers.source_file import SourceFile, printable

logger = logging.getLogger("polyvec.data.readers")

LOGGED_PARTS = 3
"""So many malformed parts of one file are logged one by one; all are counted."""


@dataclass(slots=True)
class ReadContext:
    """The arguments of one `read`, and its state.

    Attributes:
        on_error: Whether a malformed part (record, page) is counted or raised.
        encoding: The encoding that the user gave, else `None`.
        text_field: Field of records that holds the text, `None` to find it.
        title_field: Field of records that holds the title, `None` to find it.
        id_field: Field of records that identifies them, `None` to find it.
        report: Where things are counted.
        position: Tells how far the open file is read, in bytes on the disk; `None` between files.
    """

    on_error: OnError
    encoding: str | None
    text_field: str | None
    title_field: str | None
    id_field: str | None
    report: ReadReport
    position: Callable[[], int] | None = None
    bad_parts: Counter[str] = field(default_factory=Counter)

    def bad_part(self, file: SourceFile, kind: str, place: str, reason: str) -> None:
        """Leave out a malformed part of a file, or raise.

        `kind` is a plural noun ("malformed rows"), `place` says where ("line 7").
        """
        message = f"{printable(file.path)}, {place}: {reason}"
        if self.on_error == "raise":
            raise FormatError(message)
        self.report.leave_out(file.source, kind, 1, [f"{place}: {reason}"])
        self.bad_parts[file.source] += 1
        if self.bad_parts[file.source] <= LOGGED_PARTS:
            logger.warning("left out: %s", message)
