"""Files: atomic writes, checksums, the cache folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polyvec.core.errors import FileProblemError

_REASONS = {
    errno.ENOSPC: "no space left on the disk; free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EACCES: "no permission; check the owner and the mode of the folder",
    errno.EPERM: "not permitted; check the owner and the mode of the folder",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOENT: "no such file or folder; check the path",
    errno.EISDIR: "this is a folder, a file is needed",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long for the file system",
}


def file_problem(error: OSError, path: str | os.PathLike[str], action: str = "use") -> FileProblemError:
    """The package's one-line error for an `OSError` that happened while doing `action` to `path`."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return FileProblemError(f"cannot {action} {os.fspath(path)}: {reason}")


def _fsync_directory(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # platforms whose folders cannot be opened: the rename alone has to do
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is fsynced and renamed onto `path`.

    On any error (also Ctrl-C) the temporary file is removed and an existing `path` is untouched.
    Raises `FileProblemError` when the place cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".partial", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise file_problem(error, target, "write") from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp is 0600; a file the user asked for follows the umask
        temporary.replace(target)
        _fsync_directory(target.parent)
    except OSError as error:
        if isinstance(error, FileProblemError):
            raise
        raise file_problem(error, target, "write") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` to `path` atomically, as indented JSON that refuses NaN and infinities."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder; on success it becomes `path`, replacing a folder that was there.

    On any error the temporary folder is removed and an existing `path` is untouched.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise file_problem(error, target, "write") from error
    try:
        yield temporary
        old: Path | None = None
        if target.exists():
            old = temporary.with_suffix(".old")
            target.replace(old)
        try:
            temporary.replace(target)
        except BaseException:
            if old is not None:
                old.replace(target)
            raise
        target.chmod(0o755)
        _fsync_directory(target.parent)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if isinstance(error, FileProblemError):
            raise
        raise file_problem(error, target, "write") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file as a hexadecimal string, read in blocks."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise file_problem(error, path, "read") from error
    return digest.hexdigest()


def cache_directory(*parts: str) -> Path:
    """The cache folder (or a folder inside it), not created.

    `POLYVEC_CACHE` when set, else `$XDG_CACHE_HOME/polyvec`, else `~/.cache/polyvec`.
    """
    if configured := os.environ.get("POLYVEC_CACHE"):
        base = Path(configured).expanduser()
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "polyvec"
    return base.joinpath(*parts)
