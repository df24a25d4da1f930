"""Texts: the user's own folder of documents, and the descriptions of the registry."""

from __future__ import annotations

import tomllib
from itertools import islice
from pathlib import Path

from polyvec.core.errors import FormatError, InvalidValueError
from polyvec.data.documents import Document


def load_documents(folder: Path, *, limit: int | None = None) -> list[Document]:
    """The documents of the user's own file or folder, as `polyvec.data.read` finds them.

    Args:
        folder: The file or folder.
        limit: The first so many. Default all.
    """
    from polyvec.data.readers import read

    return list(islice(read(folder), check_limit(limit)))


def check_limit(limit: int | None) -> int | None:
    """`limit` as it is; `InvalidValueError` for anything but a whole number of at least 1, or `None`."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidValueError(f"limit: got {limit!r}, needs a whole number >= 1 or None for all")
    return limit


def load_systems(folder: Path) -> list[Document]:
    """The registry's descriptions of research systems, one `Document` each: the sample that needs no download.

    The id is the system's short name, the title its titles, the text the description; the metadata have room, year,
    venue and status.
    """
    path = folder / "systems.toml"
    try:
        systems = tomllib.loads(path.read_text(encoding="utf-8"))["system"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise FormatError(f"{path}: the registry is damaged ({error}); install the package again") from error
    return [
        Document(
            id=each["slug"],
            title=_full_title(each["title"], each.get("full_title", "")),
            text=" ".join(each["description"].split()),
            source="systems",
            metadata={key: each[key] for key in ("room", "year", "venue", "status") if key in each},
        )
        for each in systems
    ]


def _full_title(short: str, full: str) -> str:
    """Both titles, once where the full one begins with the short one."""
    return full if full.casefold().startswith(short.casefold()) else f"{short}: {full}" if full else short
