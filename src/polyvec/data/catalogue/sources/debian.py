"""Debian packages and the package index, through the machine's own apt.

apt is given its own folder for its lists inside the cache, so that neither root nor an up-to-date system is needed;
its sources, keys and proxies are the system's. The system's own lists are not touched.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyvec.core.errors import DataUnavailableError
from polyvec.core.files import cache_directory, write_text
from polyvec.data.catalogue.archives import extract
from polyvec.data.catalogue.clients import refuse_offline, run_client
from polyvec.data.catalogue.entries import Entry
from polyvec.data.catalogue.locks import exclusive
from polyvec.data.catalogue.verify import Fetched, check_archive

_NEEDS = "this data set needs a Debian system (or a Debian container) with apt"
_LISTS_AGE = 24 * 3600.0  # seconds; a point release comes every two months, a day-old list is new enough

# The system's hooks would run as the user and fail or touch the system; languages and indexes are set to what is
# needed: package stanzas and the English descriptions, kept as gzip, which Python reads.
_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear Acquire::Languages;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::Contents-deb;
#clear Acquire::IndexTargets::deb-src;
Acquire::Languages {{ "en"; }};
Acquire::GzipIndexes "true";
Acquire::IndexTargets::deb::Packages::KeepCompressedAs "gz";
Acquire::IndexTargets::deb::Translations::KeepCompressedAs "gz";
Acquire::Retries "2";
APT::Sandbox::User "root";
Dir::State::Lists "{state}/lists";
Dir::Cache "{state}";
Dir::Cache::archives "archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""


def fetch_package(entry: Entry, folder: Path, *, offline: bool, refresh: bool) -> Fetched:
    """Download one Debian package with `apt-get download` and take the wanted files out; nothing is installed."""
    refuse_offline(entry, offline)
    purpose = f"fetch the Debian package {entry.package}"
    with (
        _apt(purpose, refresh) as configuration,
        tempfile.TemporaryDirectory(dir=folder.parent, suffix=".partial", prefix=f".{folder.name[:40]}.") as scratch,
    ):
        command = ["apt-get", "-c", str(configuration), "-q", "download", entry.package]
        try:
            run_client(command, purpose=purpose, needs=_NEEDS, folder=Path(scratch))
        except DataUnavailableError:
            if refresh:
                raise
            # the lists may name a version that the archive has replaced since
            _update(configuration, purpose)
            run_client(command, purpose=purpose, needs=_NEEDS, folder=Path(scratch))
        archives = list(Path(scratch).glob("*.deb"))
        if len(archives) != 1:
            raise DataUnavailableError(f"cannot {purpose}: apt-get left {len(archives)} packages, expected one")
        archive = archives[0]
        version = archive.name.split("_")[1].replace("%3a", ":")
        digest = check_archive(entry, version, archive)
        extract(archive, folder, entry.files, entry.strip)
        return Fetched(version, "apt-get download", archive.name, digest)


def fetch_index(entry: Entry, folder: Path, *, offline: bool, refresh: bool) -> Fetched:
    """Copy the package index of the release's `main` component, and its English descriptions.

    Only the release proper counts, not its security and other update suites, which change daily: so that the content
    is the same between two point releases. The version reads "CODENAME VERSION ARCHITECTURE".
    """
    refuse_offline(entry, offline)
    purpose = f"fetch {entry.name}"
    with _apt(purpose, refresh) as configuration:
        targets = _targets(configuration, purpose)
        releases = {version: pair for version, pair in _releases(targets) if all(Path(file).is_file() for file in pair)}
        if not releases:
            raise DataUnavailableError(
                f"cannot {purpose}: apt knows no Debian release with a 'main' component and English descriptions; "
                f"check the sources in /etc/apt"
            )
        version = next((known for known in entry.versions if known in releases), next(iter(releases)))
        for name, file in zip(("Packages", "Translation-en"), releases[version], strict=True):
            with (
                gzip.open(file) if file.endswith(".gz") else open(file, "rb") as source,
                open(folder / name, "wb") as copy,
            ):
                shutil.copyfileobj(source, copy, 1 << 20)
        return Fetched(version, "apt-get update")


@contextmanager
def _apt(purpose: str, refresh: bool) -> Iterator[Path]:
    """A configuration of apt with lists of our own, brought up to date; held alone while it is used."""
    state = cache_directory("apt").absolute()
    if shutil.which("apt-get") is None:
        raise DataUnavailableError(f"cannot {purpose}: the program 'apt-get' is not installed; {_NEEDS}")
    with exclusive(cache_directory("locks", "apt.lock")):
        for part in ("lists/partial", "archives/partial"):
            (state / part).mkdir(parents=True, exist_ok=True)
        configuration = state / "apt.conf"
        write_text(configuration, _CONFIGURATION.format(state=state))
        releases = list((state / "lists").glob("*Release"))
        marker = state / "updated"
        old = not releases or not marker.exists() or time.time() - marker.stat().st_mtime > _LISTS_AGE
        if refresh or old:
            _update(configuration, purpose)
        yield configuration


def _update(configuration: Path, purpose: str) -> None:
    marker = configuration.with_name("updated")
    run_client(["apt-get", "-c", str(configuration), "-q", "update"], purpose=purpose, needs=_NEEDS)
    marker.touch()


def _targets(configuration: Path, purpose: str) -> list[dict[str, str]]:
    """What `apt-get indextargets` prints: one dictionary for each list file that is there."""
    command = ["apt-get", "-c", str(configuration), "indextargets"]
    output = run_client(command, purpose=purpose, needs=_NEEDS).decode("utf-8", "replace")
    stanzas = [block for block in output.split("\n\n") if block.strip()]
    return [dict(line.partition(": ")[::2] for line in block.splitlines() if ": " in line) for block in stanzas]


def _releases(targets: list[dict[str, str]]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each release proper that is configured: its version, and the files of its stanzas and English descriptions."""
    main = [target for target in targets if target.get("Component") == "main"]
    texts = {target.get("Base-URI"): target for target in main if target.get("Created-By") == "Translations"}
    for target in main:
        suite = target.get("Base-URI", "").rstrip("/").rpartition("/")[2]
        # other publishers also call a component "main"; a distribution's own archive is labelled with its name
        own = target.get("Origin") == target.get("Label") and target.get("Origin") in {"Debian", "Ubuntu"}
        if target.get("Created-By") == "Packages" and own and "-" not in suite and target.get("Base-URI") in texts:
            version = f"{target.get('Codename', suite)} {target.get('Version', 'rolling')} {target.get('Architecture')}"
            yield version, (target["Filename"], texts[target["Base-URI"]]["Filename"])
