"""Texts: the user's own folder of documents, and the descriptions of the registry."""

from __future__ import annotations

import tomllib
from pathlib import Path

from polyvec.core.errors import FormatError
from polyvec.data.documents import Document


def load_systems(folder: Path) -> list[Document]:
    """The registry's descriptions of research systems, one `Document` each: the sample that needs no download.

    The id is the system's short name, the title its titles, the text the description; the metadata have room, year, venue
    and status.
    """
    path = folder / "systems.toml"
    try:
        systems = tomllib.loads(path.read_text(encoding="utf-8"))["system"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise FormatError(f"{path}: the registry is damaged ({error}); install the package again") from error
    return [
        Document(
            id=each["slug"],
            title=f"{each['title']}: {each['full_title']}" if each.get("full_title") else each["title"],
            text=" ".join(each["description"].split()),
            source="systems",
            metadata={key: each[key] for key in ("room", "year", "venue", "status") if key in each},
        )
        for each in systems
    ]
