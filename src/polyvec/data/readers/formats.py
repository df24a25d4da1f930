"""Which reader takes which file, by the suffix of its name."""

from __future__ import annotations

from pathlib import PurePath

FORMATS = {
    ".txt": "text",
    ".text": "text",
    ".log": "log",
    ".rst": "log",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".pdf": "pdf",
}
"""Suffix -> format. "log" is plain text that is never taken as a page of titled paragraphs."""

COMPRESSIBLE = frozenset({"text", "log", "markdown", "html", "jsonl", "json", "csv", "tsv"})
"""Formats that are also read with `.gz` behind their suffix."""

SUPPORTED_SUFFIXES: tuple[str, ...] = tuple(FORMATS) + tuple(
    f"{suffix}.gz" for suffix, name in FORMATS.items() if name in COMPRESSIBLE
)
"""Every suffix that is read inside a folder without being asked for by a pattern."""


def format_of(name: str) -> tuple[str | None, bool]:
    """`(format, compressed)` of a file name; the format is `None` when no reader takes the suffix."""
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    if not suffixes:
        return None, False
    if suffixes[-1] == ".gz":
        found = FORMATS.get(suffixes[-2]) if len(suffixes) > 1 else None
        return (found, True) if found in COMPRESSIBLE else (None, True)
    return FORMATS.get(suffixes[-1]), False


def suffix_of(name: str) -> str:
    """The suffix of a file name in lower case, with the one before `.gz`."""
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    if suffixes[-1:] == [".gz"]:
        return "".join(suffixes[-2:])
    return suffixes[-1] if suffixes else ""
