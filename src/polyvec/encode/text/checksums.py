"""Checksums of model files, remembered by (path, size, modification time) so that start-up need not read them again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

from polyvec.core.errors import FileProblemError
from polyvec.core.files import cache_directory, file_problem, sha256_file, write_json

logger = logging.getLogger("polyvec.encode.text")


def remembered(path: Path, kind: str, compute: Callable[[Path], str]) -> str:
    """`compute(path)`, or what it gave before for a file of the same path, size and modification time.

    `kind` names the checksum, so that several can be kept for one file. A cache folder that cannot be written only
    costs the next start its shortcut.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise file_problem(error, path, "read") from error
    key = {"path": str(path.resolve()), "size": status.st_size, "modified": status.st_mtime_ns, "kind": kind}
    name = hashlib.sha256(f"{kind} {key['path']}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    note = cache_directory("checksums", f"{name}.json")
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        if isinstance(known, dict) and all(known.get(part) == value for part, value in key.items()):
            return str(known["checksum"])
    except (OSError, ValueError, KeyError):
        pass  # never written, or damaged: compute it
    checksum = compute(path)
    try:
        write_json(note, {**key, "checksum": checksum})
    except (FileProblemError, UnicodeEncodeError) as error:
        logger.debug("checksum of %s is not remembered: %s", path, error)
    return checksum


def file_checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, remembered."""
    return remembered(path, "file", sha256_file)


def folder_checksum(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files that make up a model folder.

    Documentation and exports for other runtimes (`onnx`, `openvino`) are left out: they change nothing here.
    """
    digest = hashlib.sha256()
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and file.suffix in {".json", ".safetensors", ".bin", ".txt", ".model"}
        and file.relative_to(folder).parts[0] not in {"onnx", "openvino"}
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    for file in files:
        checksum = file_checksum(file) if file.stat().st_size > 1 << 20 else sha256_file(file)
        digest.update(f"{file.relative_to(folder).as_posix()} {checksum}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
