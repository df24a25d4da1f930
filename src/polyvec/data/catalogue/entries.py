"""The entries: read from `catalogue.toml`, from a TOML file of the user, and from `register_path`.

A user's own entries stand in the TOML file that the environment variable `POLYVEC_CATALOGUE` names. The short form is a
path; the long form has every field of `Entry`:

    [my-notes]
    kind = "texts"
    title = "My notes"
    path = "~/notes"

    [my-package]
    kind = "tables"
    title = "Tables inside a wheel"
    source = "wheel"
    package = "some-package"
    version = "1.2"
    files = ["some_package/data/*.csv"]
    loader = "polyvec.data.catalogue.loaders.tables.load_folder"
"""

from __future__ import annotations

import difflib
import importlib.resources
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError, NotFoundError
from polyvec.core.files import file_problem

SOURCES = ("bundled", "debian", "debian-index", "generated", "npm", "path", "polyvec", "wheel")
KINDS = (
    "audio", "database", "graph", "images", "poses", "shapes", "tables", "texts", "triples", "vectors", "video",
    "weights",
)  # fmt: skip

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """Checksums of one version that was seen.

    `archives` maps the file name of a download to its SHA-256. `content` is one SHA-256 over the wanted files (see
    `verify.content_digest`), the same whether they come from a download or from an installed package. `files` pins
    single files where that is worth reading.
    """

    content: str = ""
    archives: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set of the catalogue.

    Attributes:
        name: Name by which `get` and `load` know it; lower case, digits, `.`, `_`, `-`.
        kind: What it holds; one of `KINDS`.
        title: One line.
        source: Where it comes from; one of `SOURCES`.
        loader: Dotted name of the function that `load` calls with the folder and the options.
        licence: SPDX name where there is one.
        citation: Who made the data.
        notes: What a user must know before use.
        views: Views that `load(name, view=...)` knows; the first is the default. Empty when there is one only.
        package: Distribution, npm package or Debian package that holds it.
        version: Version that is asked for; empty where the source decides (Debian, bundled).
        files: Patterns (as in `fnmatch`, `*` also crosses `/`) of the wanted files of the archive.
        strip: Leading part of the archive's paths that is dropped on extraction.
        pip_arguments: Extra arguments of `pip download`, for wheels that exist for some platforms only.
        generator: Dotted name of the function that makes the files, for `generated` and `bundled`.
        options: Keyword arguments of the generator.
        size: Bytes of the wanted files, about.
        download: Bytes of the download, about; 0 where nothing is downloaded.
        path: The user's own file or folder, for `path`.
        versions: Checksums of the versions that were seen.
    """

    name: str
    kind: str
    title: str
    source: str
    loader: str
    licence: str = ""
    citation: str = ""
    notes: str = ""
    views: tuple[str, ...] = ()
    package: str = ""
    version: str = ""
    files: tuple[str, ...] = ()
    strip: str = ""
    pip_arguments: tuple[str, ...] = ()
    generator: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0
    download: int = 0
    path: Path | None = None
    versions: Mapping[str, KnownVersion] = field(default_factory=dict)


_registered: dict[str, Entry] = {}
_LISTS = {"views", "files", "pip_arguments"}
_TEXTS = {
    "kind",
    "title",
    "source",
    "loader",
    "licence",
    "citation",
    "notes",
    "package",
    "version",
    "strip",
    "generator",
}


def catalogue() -> dict[str, Entry]:
    """All entries by name, sorted: those of the package, of the file in `POLYVEC_CATALOGUE`, and of `register_path`.

    Later ones win when a name is given twice, so that a user can point a name at a copy of their own.
    """
    entries = dict(_built_in())
    if configured := os.environ.get("POLYVEC_CATALOGUE"):
        entries.update(read_catalogue(Path(configured).expanduser()))
    entries.update(_registered)
    return dict(sorted(entries.items()))


def entry(name: str) -> Entry:
    """The entry called `name`; `NotFoundError` with the nearest names when there is none."""
    entries = catalogue()
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(str(name).lower(), entries, n=3, cutoff=0.5)
    near += [other for other in entries if str(name).lower() in other and other not in near][:3] if name else []
    hint = f"did you mean {', '.join(near)}?" if near else f"there are: {', '.join(entries)}"
    raise NotFoundError(f"no data set is called {name!r}; {hint}")


def register_path(
    name: str,
    path: str | os.PathLike[str],
    *,
    kind: str,
    loader: str | None = None,
    title: str = "",
    licence: str = "",
    citation: str = "",
) -> Entry:
    """Give the user's own file or folder a name in the catalogue, for this process.

    For good, put it into the TOML file named by `POLYVEC_CATALOGUE` instead. `loader` defaults to the reader of the
    kind: documents for "texts", Arrow tables for "tables", and the plain list of files for the rest.

    Raises:
        FileProblemError: There is nothing at `path`.
        InvalidValueError: The name or the kind cannot be used.
    """
    place = Path(path).expanduser().absolute()
    if not place.exists():
        raise FileProblemError(f"path: there is no file or folder at {place}; check the path")
    raw: dict[str, Any] = {"kind": kind, "title": title or place.name, "path": str(place)}
    raw |= {key: value for key, value in (("loader", loader), ("licence", licence), ("citation", citation)) if value}
    made = _entry_from(name, raw, "register_path", place.parent)
    _registered[name] = made
    return made


def forget_path(name: str) -> None:
    """Take back what `register_path` added; the files stay."""
    if _registered.pop(name, None) is None:
        raise NotFoundError(f"no path is registered as {name!r}")


def read_catalogue(path: Path) -> dict[str, Entry]:
    """The entries of a TOML file; `FormatError` names the file and the entry that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise file_problem(error, path, "read the catalogue") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: the catalogue is not UTF-8 text (byte {error.start})") from error
    return _parse(text, str(path), path.parent)


@lru_cache(maxsize=1)
def _built_in() -> dict[str, Entry]:
    text = importlib.resources.files("polyvec.data.catalogue").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return _parse(text, "catalogue.toml", None)


def _parse(text: str, origin: str, base: Path | None) -> dict[str, Entry]:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{origin}: not valid TOML: {error}") from error
    entries = {}
    for name, value in raw.items():
        if not isinstance(value, dict):
            raise FormatError(f"{origin}: {name!r} is not a table; each entry is a table like [my-data]")
        entries[name] = _entry_from(name, value, origin, base)
    return entries


def _entry_from(name: str, raw: Mapping[str, Any], origin: str, base: Path | None) -> Entry:
    """Check one raw entry and turn it into an `Entry`; relative paths are relative to `base`."""
    here = f"{origin}: entry {name!r}"
    if not isinstance(name, str):
        raise InvalidTypeError(f"name: got {type(name).__name__}, needs a str")
    if not _NAME.fullmatch(name):
        raise InvalidValueError(f"{here}: a name is made of lower case letters, digits, '.', '_' and '-'")
    known = {each.name for each in fields(Entry)} - {"name"}
    if unknown := sorted(set(raw) - known):
        raise InvalidValueError(f"{here}: unknown field {unknown[0]!r}; the fields are {', '.join(sorted(known))}")
    values: dict[str, Any] = dict(raw)
    for key in _TEXTS & set(values):
        if not isinstance(values[key], str):
            raise InvalidValueError(f"{here}: {key} is {type(values[key]).__name__}, needs text")
    for key in _LISTS & set(values):
        if not isinstance(values[key], list) or not all(isinstance(item, str) for item in values[key]):
            raise InvalidValueError(f"{here}: {key} needs a list of texts")
        values[key] = tuple(values[key])
    if "path" in values:
        place = Path(str(values["path"])).expanduser()
        values["path"] = place if place.is_absolute() or base is None else base / place
        values.setdefault("source", "path")
    values.setdefault("title", name)
    if values.get("kind") not in KINDS:
        raise InvalidValueError(f"{here}: kind is {values.get('kind')!r}, needs one of {', '.join(KINDS)}")
    if values.get("source") not in SOURCES:
        raise InvalidValueError(f"{here}: source is {values.get('source')!r}, needs one of {', '.join(SOURCES)}")
    if (values["source"] == "path") != ("path" in values):
        raise InvalidValueError(f"{here}: 'path' and source = \"path\" belong together")
    if values["source"] in {"wheel", "npm", "debian"} and not (values.get("package") and values.get("files")):
        raise InvalidValueError(f"{here}: source {values['source']!r} needs 'package' and 'files'")
    values.setdefault("loader", _default_loader(values["kind"]))
    values["versions"] = _versions(values.get("versions", {}), here)
    return Entry(name=name, **values)


def _default_loader(kind: str) -> str:
    package = "polyvec.data.catalogue.loaders."
    return package + {"texts": "texts.load_documents", "tables": "tables.load_folder"}.get(kind, "files.load_files")


def _versions(raw: Any, here: str) -> dict[str, KnownVersion]:
    if not isinstance(raw, dict) or not all(isinstance(value, dict) for value in raw.values()):
        raise InvalidValueError(f"{here}: versions needs a table for each version")
    versions = {}
    for version, value in raw.items():
        if unknown := sorted(set(value) - {"content", "archives", "files"}):
            raise InvalidValueError(f"{here}: version {version!r} has the unknown field {unknown[0]!r}")
        sums = [value.get("content", ""), *value.get("archives", {}).values(), *value.get("files", {}).values()]
        if not any(sums) or not all(not one or re.fullmatch("[0-9a-f]{64}", str(one)) for one in sums):
            raise InvalidValueError(f"{here}: version {version!r} needs SHA-256 checksums of 64 hexadecimal digits")
        versions[version] = KnownVersion(**value)
    return versions
