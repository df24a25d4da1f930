"""Synopses and descriptions of Debian packages, as several reproductions use them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PackageTexts:
    """Texts and section of packages in the order of the index, one row a package.

    Attributes:
        synopses: The one-line descriptions.
        descriptions: The long descriptions.
        sections: The archive's sections.
        version: Version of the package index.
    """

    synopses: list[str] = field(default_factory=list)
    descriptions: list[str] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)
    version: str = ""


def distinct_packages() -> PackageTexts:
    """All packages whose synopsis and description occur first with them, so that the right answer to each is unique."""
    from polyvec.data import load
    from polyvec.data.catalogue import version_used

    synopses, descriptions, sections, seen = [], [], [], set()
    for document in load("debian-packages", view="texts"):
        synopsis, _, description = document.text.partition("\n\n")
        if not description or synopsis in seen or description in seen:
            continue
        seen |= {synopsis, description}
        synopses.append(synopsis)
        descriptions.append(description)
        sections.append(str(document.metadata["section"]))
    return PackageTexts(synopses, descriptions, sections, version_used("debian-packages")["version"])
