"""Finding a store: what lies at a path, and opening its table."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyvec.core.errors import InvalidTypeError, StoreError
from polyvec.core.files import atomic_directory, file_problem
from polyvec.search.store.layout import TABLE
from polyvec.search.store.lease import Lease
from polyvec.search.store.lock import WriterLock
from polyvec.search.store.object_storage import connection_options, is_address
from polyvec.search.store.presence import mark_reader
from polyvec.search.store.problems import store_problems

LOCK_FILE = ".polyvec.lock"
PARAMETERS = "compressors"
"""A table beside the documents: what the compressors of the store have learned."""

DERIVED_FOLDER = ".polyvec"
"""Folder beside the table for what was computed from it (map, health report, prices); it may go at any time."""


class Place:
    """Where a store lies: a folder, or an address that LanceDB understands (`s3://...`, `gs://...`).

    Only the lock, the size on disk and the checks for clear messages need a folder; the data go through LanceDB alone.

    Args:
        path: The folder or address.
        storage_options: What LanceDB needs to know to reach an address (endpoint, region, credentials), beside what it
            finds in the environment.
    """

    def __init__(self, path: str | os.PathLike[str], storage_options: Mapping[str, str] | None = None) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise InvalidTypeError(f"path: got {type(path).__name__}, needs the path of a folder")
        text = os.fspath(path)
        self.address = text
        self.folder: Path | None = None if is_address(text) else Path(text).expanduser().absolute()
        self._options = None if self.folder is not None else connection_options(text, storage_options)
        self._versions = "" if self.folder is None else os.path.join(self.folder, f"{TABLE}.lance", "_versions")
        self._connection: Any = None

    def __str__(self) -> str:
        return self.address

    @property
    def lock_path(self) -> Path | None:
        """The lock file, or `None` on object storage."""
        return None if self.folder is None else self.folder / LOCK_FILE

    def writer_lock(self, timeout: float) -> WriterLock:
        """What lets one writer in at a time: a lock file in a folder, a lease on object storage."""
        return WriterLock(
            self.lock_path, timeout, lease=Lease(self.connection, self.address) if self.folder is None else None
        )

    def connection(self) -> Any:
        """LanceDB's connection; the folder must exist, as LanceDB would create it."""
        if self._connection is None:
            import lancedb

            place = self.address if self.folder is None else str(self.folder)
            self._connection = lancedb.connect(place, storage_options=self._options)
        return self._connection

    def open_table(self) -> Any:
        """The table at its newest version, as a handle of its own; as long as it lives, no version is removed."""
        table = self.open_for_writing()
        if self.folder is not None:
            mark_reader(self.folder, table)
        return table

    def open_for_writing(self) -> Any:
        """The same, for the one who decides which versions are removed."""
        return self.connection().open_table(TABLE)

    def tables(self) -> list[str]:
        """Names of all tables: the documents, and what a compressed store keeps beside them."""
        return list(self.connection().list_tables().tables)

    def keep_parameters(self, checksum: str, content: bytes) -> None:
        """Keep the parameters of a compressor under their checksum."""
        import pyarrow as pa

        row = pa.table({"sha256": [checksum], "content": pa.array([content], pa.large_binary())})
        if PARAMETERS in self.tables():
            table = self.connection().open_table(PARAMETERS)
            table.merge_insert("sha256").when_not_matched_insert_all().execute(row)
        else:
            self.connection().create_table(PARAMETERS, row)

    def parameters(self, checksum: str) -> bytes:
        """The parameters that `keep_parameters` kept.

        Raises:
            StoreError: They are not there.
        """
        found: list[bytes] = []
        if PARAMETERS in self.tables():
            rows = self.connection().open_table(PARAMETERS).search().where(f"sha256 = '{checksum}'").to_arrow()
            found = rows["content"].to_pylist()
        if not found:
            raise StoreError(
                f"{self.address}: the parameters of its codes are missing; restore the folder from a copy, or index "
                "the documents into a new one"
            )
        return found[0]

    def has_table(self) -> bool:
        """Whether there is a table that can be opened; a creation that was killed half-way leaves none."""
        if self.folder is not None:
            versions = self.folder / f"{TABLE}.lance" / "_versions"
            try:
                return any(entry.name.endswith(".manifest") for entry in os.scandir(versions))
            except (FileNotFoundError, NotADirectoryError):
                return False
            except OSError as error:
                raise file_problem(error, versions, "read") from error
        with store_problems(self.address, "open"):
            return TABLE in self.connection().list_tables().tables

    def listed_versions(self) -> frozenset[str] | None:
        """Names of the files of all versions in a folder: each commit adds one. `None` on object storage.

        As long as this list is the same there is no newer version; to ask LanceDB takes a hundred times longer.
        """
        if self.folder is None:
            return None
        try:
            return frozenset(entry.name for entry in os.scandir(self._versions))
        except OSError:
            return None

    def check_readable(self) -> None:
        """Raise `StoreError` that says what is there instead of a store."""
        create = f"create one with: polyvec index SOURCE --to {self.address}"
        if self.folder is not None and not self.folder.exists():
            raise StoreError(
                f"{self.address}: there is no such folder, so no index to open; check the path, or {create}"
            )
        if self.folder is not None and not self.folder.is_dir():
            raise StoreError(f"{self.address}: is a file, and an index is a folder; check the path, or {create}")
        if not self.has_table():
            if self.folder is not None and (self.folder / f"{TABLE}.lance").exists():
                raise StoreError(
                    f"{self.address}: the index was never finished (its creation was interrupted); {create}"
                )
            empty = self.folder is not None and not any(self.folder.iterdir())
            raise StoreError(
                f"{self.address}: {'is an empty folder' if empty else 'holds no index'}; check the path, or {create}"
            )

    def make_folder(self) -> None:
        """Create the folder for a new store; refuse one that holds other things.

        Raises:
            StoreError: There is a file, or a folder with other content.
            FileProblemError: It cannot be created.
        """
        if self.folder is None:
            return
        try:
            if self.folder.exists() and not self.folder.is_dir():
                raise StoreError(f"{self.address}: is a file, and an index is a folder; choose another path")
            self.folder.mkdir(parents=True, exist_ok=True)
            ours = {f"{TABLE}.lance", LOCK_FILE, DERIVED_FOLDER}
            others = sorted({entry.name for entry in os.scandir(self.folder)} - ours)
        except OSError as error:
            raise file_problem(error, self.address, "create") from error
        if others:
            raise StoreError(
                f"{self.address}: holds other files ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''}); "
                "choose a new or an empty folder for the index"
            )

    def copy_to(self, path: str | os.PathLike[str], lock: WriterLock) -> None:
        """Copy the folder to `path`, which must not exist, while no writer is at it."""
        target = Path(path)
        if self.folder is None:
            raise StoreError(f"{self.address}: is not in a folder; copy it with the tools of its storage")
        if target.exists():
            raise StoreError(f"{target}: exists; choose a path that does not")
        left_out = shutil.ignore_patterns(LOCK_FILE, DERIVED_FOLDER)
        with lock.hold(), atomic_directory(target) as temporary:
            shutil.copytree(self.folder, temporary, dirs_exist_ok=True, ignore=left_out)

    def bytes_on_disk(self) -> int | None:
        """Bytes of all files, or `None` on object storage."""
        if self.folder is None:
            return None
        total = 0
        for parent, _, names in os.walk(self.folder):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # a writer cleaned up meanwhile
                    total += Path(parent, name).stat().st_size
        return total
