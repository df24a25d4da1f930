"""Checksums of what was fetched: against the versions that the catalogue knows."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyvec.core.errors import ChecksumError
from polyvec.core.files import sha256_file
from polyvec.data.catalogue.entries import Entry

RECORD = "source.json"


class UnknownVersionWarning(UserWarning):
    """The data come from a version that the catalogue has no checksum of; figures may differ from those published."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a source says about the files it laid down: their version, and where it found them."""

    version: str
    origin: str
    archive: str = ""
    archive_sha256: str = ""


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under `folder` by its path relative to it, with `/`; the record itself is left out."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): sha256_file(path) for path in found}
    digests.pop(RECORD, None)
    return digests


def content_digest(digests: Mapping[str, str]) -> str:
    """One SHA-256 for a set of files: of the lines `sha256sum` would print for them, sorted by path."""
    lines = "".join(f"{digests[path]}  {path}\n" for path in sorted(digests))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def check_archive(entry: Entry, version: str, archive: Path) -> str:
    """The SHA-256 of a download; `ChecksumError` when its version and file name are known and the sum is another."""
    seen = sha256_file(archive)
    known = entry.versions.get(version)
    expected = known.archives.get(archive.name) if known else None
    if expected and expected != seen:
        raise ChecksumError(
            f"{entry.name}: {archive.name} has SHA-256 {seen}, needs {expected}; the download was damaged or the "
            f"mirror serves another file; try again, or another mirror"
        )
    return seen


def matches(entry: Entry, version: str, digests: Mapping[str, str]) -> str | None:
    """`None` when the files are what `version` should be (or nothing is known of it), else what is wrong."""
    known = entry.versions.get(version)
    if known is None:
        return None
    for name, expected in known.files.items():
        if digests.get(name) != expected:
            return f"{name} has SHA-256 {digests.get(name, 'none (missing)')}, needs {expected}"
    content = content_digest(digests)
    if known.content and known.content != content:
        return f"its files have the joint SHA-256 {content}, needs {known.content}"
    return None


def record_of(entry: Entry, fetched: Fetched, folder: Path) -> dict[str, Any]:
    """The record `source.json` of a folder; `ChecksumError` when a known version has other content."""
    digests = file_digests(folder)
    content = content_digest(digests)
    version, known = fetched.version, fetched.version in entry.versions
    if wrong := matches(entry, version, digests):
        if entry.source not in {"generated", "bundled"}:
            raise ChecksumError(f"{entry.name} {version}: {wrong}; the source is damaged or was changed; try again")
        # made here, not sent: another processor or library rounds differently, which is a version of its own
        version, known = f"{version} (content {content[:12]})", False
    known = known or content in {each.content for each in entry.versions.values()}
    return {
        "name": entry.name,
        "source": entry.source,
        "package": entry.package,
        "version": version,
        "known": known,
        "content_sha256": content,
        "origin": fetched.origin,
        "archive": fetched.archive,
        "archive_sha256": fetched.archive_sha256,
        "wanted": wanted(entry),
        "files": {name: {"sha256": digest, "size": (folder / name).stat().st_size} for name, digest in digests.items()},
    }


def wanted(entry: Entry) -> dict[str, Any]:
    """What decides the content of the folder beside the version; a cached folder made for another wish is stale."""
    return {"files": list(entry.files), "strip": entry.strip, "options": dict(entry.options)}


def warn_if_unknown(entry: Entry, record: Mapping[str, Any]) -> None:
    """Warn, naming both, when the version at hand is none that the catalogue knows."""
    if record["known"] or not entry.versions:
        return
    known = ", ".join(entry.versions)
    warnings.warn(
        f"{entry.name}: the version at hand is {record['version']!r}, the catalogue knows {known}; "
        f"figures may differ from published ones",
        UnknownVersionWarning,
        stacklevel=3,
    )
