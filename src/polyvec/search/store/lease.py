"""One writer at a time on object storage: a lease in a small table beside the documents."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyarrow as pa

from polyvec.core.errors import StoreError
from polyvec.search.store.problems import store_problems

LEASE_TABLE = "polyvec_writer"
LEASE_SECONDS = 30.0
"""A writer that was killed keeps the others out for so long at most. It is renewed three times as often; clocks of the
machines that write need to agree to a few seconds."""

_SCHEMA = pa.schema([("token", pa.string()), ("beat", pa.int64()), ("until", pa.float64()), ("holder", pa.string())])
_TIDY_VERSIONS = 50

SETTLE_SECONDS = 2.0
"""LanceDB lets two processes that create a table at the same moment both succeed, the later one over the earlier. Who
takes the lease in a table this young therefore looks again once it is older, before it believes that it has it."""


class Lease:
    """The right to write to a store, taken, renewed and given back by compare-and-swap.

    Object storage has no file locks, but LanceDB's commits there are conditional: of two updates of one row that start
    from the same version, the second is made again on top of the first, and finds that its condition holds no more.

    Args:
        connect: Gives LanceDB's connection to the place of the store.
        address: The store, for messages.
        seconds: How long the lease lasts without being renewed.
    """

    def __init__(self, connect: Callable[[], Any], address: str, seconds: float = LEASE_SECONDS) -> None:
        self._connect = connect
        self._address = address
        self._seconds = seconds
        self._token = ""
        self._safe_until = 0.0  # of this process's own clock
        self._lost = False
        self._stop = threading.Event()
        self._renewer: threading.Thread | None = None

    def acquire(self, timeout: float) -> None:
        """Take the lease.

        Raises:
            StoreError: Another writer holds it for longer than `timeout` seconds, or the storage does not answer.
        """
        with store_problems(self._address, "write to"):
            table = self._table()
            deadline = time.monotonic() + timeout
            while not (self._take(table) and self._settled(table)):
                if time.monotonic() >= deadline:
                    raise StoreError(self._taken(self._row(table)["holder"], timeout))
                time.sleep(min(0.5, max(0.01, deadline - time.monotonic())))
        self._lost = False
        self._stop = threading.Event()
        self._renewer = threading.Thread(
            target=self._renew, args=(table, self._stop), name="polyvec-lease", daemon=True
        )
        self._renewer.start()

    def check(self) -> None:
        """Raise `StoreError` unless this process may still write."""
        if self._lost or time.monotonic() >= self._safe_until:
            raise StoreError(
                f"{self._address}: this writer could not renew its lease in {self._seconds:g} s, so another may be "
                "writing; run the same command again, what was finished is kept"
            )

    def release(self) -> None:
        """Give the lease back; when the storage does not answer, it runs out by itself."""
        self._stop.set()
        if self._renewer is not None:
            self._renewer.join()
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            table = self._table()
            table.update(where=f"token = '{self._token}'", values={"until": 0.0})
            if len(table.list_versions()) > _TIDY_VERSIONS:
                table.optimize(cleanup_older_than=timedelta(minutes=1))

    def _table(self) -> Any:
        connection = self._connect()
        begin = time.monotonic()
        while True:
            waited = time.monotonic() - begin
            if LEASE_TABLE in connection.list_tables().tables:
                try:
                    return connection.open_table(LEASE_TABLE)
                except ValueError as error:  # listed before it is there: another writer is creating it, or was killed
                    if "was not found" not in str(error):
                        raise
            if LEASE_TABLE not in connection.list_tables().tables or waited > SETTLE_SECONDS:
                nobody = pa.Table.from_pylist([{"token": "", "beat": 0, "until": 0.0, "holder": ""}], schema=_SCHEMA)
                try:
                    return connection.create_table(LEASE_TABLE, nobody)
                except (OSError, RuntimeError, ValueError):  # another writer may have been quicker
                    if waited > 2 * SETTLE_SECONDS:
                        raise
            time.sleep(0.1)

    @staticmethod
    def _row(table: Any) -> dict[str, Any]:
        table.checkout_latest()
        return dict(table.search().limit(1).to_arrow().to_pylist()[0])

    def _take(self, table: Any) -> bool:
        row = self._row(table)
        if row["until"] > time.time():
            return False
        begin, token = time.monotonic(), uuid.uuid4().hex
        values = {"token": token, "beat": 0, "until": time.time() + self._seconds, "holder": _this_process()}
        try:
            if not table.update(where=_unchanged(row), values=values).rows_updated:
                return False
        except (OSError, RuntimeError, ValueError) as error:
            if "incompatible transaction" in str(error).lower():  # the table was created a second time meanwhile
                return False
            raise
        self._token, self._safe_until = token, begin + self._seconds
        return True

    def _settled(self, table: Any) -> bool:
        """Whether the lease that was just taken is still there once no second creation of the table is on its way."""
        settle = min(SETTLE_SECONDS, self._seconds / 3)
        wait = table.list_versions()[0]["timestamp"].timestamp() + settle - time.time()
        if wait <= 0:
            return True
        time.sleep(min(wait, settle))
        return bool(self._row(table)["token"] == self._token)

    def _renew(self, table: Any, stop: threading.Event) -> None:
        beat = 0
        while not stop.wait(self._seconds / 3) and not self._lost:
            begin = time.monotonic()
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # `check` tells when it went on for too long
                values = {"beat": beat + 1, "until": time.time() + self._seconds}
                table.checkout_latest()
                if table.update(where=f"token = '{self._token}'", values=values).rows_updated:
                    beat, self._safe_until = beat + 1, begin + self._seconds
                else:
                    self._lost = True

    def _taken(self, holder: str, timeout: float) -> str:
        return (
            f"{self._address}: {holder or 'another process'} is writing to it and did not finish within {timeout:g} s; "
            f"wait for it (the lease of a writer that was killed ends after {self._seconds:g} s), or give it more time "
            "with lock_timeout"
        )


def _unchanged(row: dict[str, Any]) -> str:
    return f"token = '{row['token']}' AND beat = {row['beat']}"


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
