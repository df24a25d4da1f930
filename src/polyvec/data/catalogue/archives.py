"""Taking single files out of wheels, tarballs and Debian packages, without trusting their names."""

from __future__ import annotations

import fnmatch
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from polyvec.core.errors import DataUnavailableError, FormatError
from polyvec.data.catalogue.clients import run_client

_MOST_BYTES = 8 * 1024**3  # no data set of the catalogue comes near; a larger member is an attack or a mistake
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, UnicodeDecodeError, RuntimeError)


def safe_name(name: str, archive: str) -> PurePosixPath:
    """A member's name as a relative path; `FormatError` for one that would leave the folder."""
    path = PurePosixPath(name)
    if not name or "\0" in name or "\\" in name or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise FormatError(f"{archive}: refused, the member {name!r} would be written outside of its folder")
    return path


def is_wanted(name: str, patterns: Sequence[str]) -> bool:
    """Whether a member's path fits one of the patterns (`*` also crosses `/`)."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def check_complete(found: Sequence[str], patterns: Sequence[str], origin: str) -> None:
    """`DataUnavailableError` when a pattern fits none of the files that were found."""
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in found):
            raise DataUnavailableError(
                f"{origin} has no file {pattern!r}; the package holds other files in this version"
            )


def place_for(name: str, folder: Path, strip: str) -> Path:
    """Where the file called `name` goes under `folder`, with the leading `strip` taken off; its parent is made."""
    relative = safe_name(name.removeprefix(strip).lstrip("/"), name)
    place = folder / relative
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def extract(archive: Path, folder: Path, patterns: Sequence[str], strip: str = "") -> list[str]:
    """Take the wanted files out of a `.whl`/`.zip`, `.tgz`/`.tar.*` or `.deb` and return their names in the archive.

    Raises:
        FormatError: The archive is damaged, has a member outside of its folder, or a wanted member is a link or device.
        DataUnavailableError: A pattern fits nothing.
    """
    try:
        if archive.suffix in {".whl", ".zip"}:
            found = _extract_zip(archive, folder, patterns, strip)
        elif archive.suffix == ".deb":
            with _debian_data(archive) as data, tarfile.open(fileobj=data, mode="r|*") as tar:
                found = _extract_tar(tar, archive.name, folder, patterns, strip)
        else:
            with tarfile.open(archive, mode="r|*") as tar:
                found = _extract_tar(tar, archive.name, folder, patterns, strip)
    except _BROKEN as error:
        raise FormatError(f"{archive.name}: the archive is damaged ({error}); fetch it again") from error
    check_complete(found, patterns, archive.name)
    return found


def _extract_zip(archive: Path, folder: Path, patterns: Sequence[str], strip: str) -> list[str]:
    found = []
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = str(safe_name(member.filename, archive.name))
            if member.is_dir() or not is_wanted(name, patterns):
                continue
            mode = member.external_attr >> 16
            if mode and stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
                raise FormatError(f"{archive.name}: refused, the member {name!r} is not a plain file")
            _check_size(member.file_size, name, archive.name)
            with opened.open(member) as source, open(place_for(name, folder, strip), "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            found.append(name)
    return found


def _extract_tar(tar: tarfile.TarFile, archive: str, folder: Path, patterns: Sequence[str], strip: str) -> list[str]:
    found = []
    for member in tar:
        if member.isdir():
            continue
        name = str(safe_name(member.name.removeprefix("./"), archive))
        if not is_wanted(name, patterns):
            continue
        source = tar.extractfile(member) if member.isreg() else None
        if source is None:
            raise FormatError(f"{archive}: refused, the member {name!r} is not a plain file")
        _check_size(member.size, name, archive)
        with source, open(place_for(name, folder, strip), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        found.append(name)
    return found


def _check_size(size: int, name: str, archive: str) -> None:
    if size > _MOST_BYTES:
        raise FormatError(f"{archive}: refused, the member {name!r} says it has {size} bytes")


def _debian_data(archive: Path) -> IO[bytes]:
    """The tar of a Debian package's files: an `ar` archive whose third member is `data.tar.*`."""
    with open(archive, "rb") as opened:
        if opened.read(8) != b"!<arch>\n":
            raise FormatError(f"{archive.name}: not a Debian package (the ar header is missing)")
        while header := opened.read(60):
            if len(header) < 60 or header[58:] != b"`\n":
                raise FormatError(f"{archive.name}: the archive is damaged (a broken ar header); fetch it again")
            name = header[:16].decode("ascii", "replace").strip().rstrip("/")
            try:
                size = int(header[48:58])
            except ValueError as error:
                raise FormatError(f"{archive.name}: the archive is damaged (a broken ar header)") from error
            if name.startswith("data.tar"):
                if name.endswith(".zst"):  # Python 3.11 has no Zstandard; dpkg has
                    return io.BytesIO(
                        run_client(
                            ["dpkg-deb", "--fsys-tarfile", str(archive)],
                            purpose=f"unpack {archive.name}",
                            needs="it is part of every Debian system",
                        )
                    )
                content = opened.read(size)
                if len(content) < size:
                    raise FormatError(f"{archive.name}: the archive is damaged (cut short); fetch it again")
                return io.BytesIO(content)
            opened.seek(size + size % 2, io.SEEK_CUR)
    raise FormatError(f"{archive.name}: not a Debian package (it has no data)")
