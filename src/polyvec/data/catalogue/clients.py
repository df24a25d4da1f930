"""The user's own package clients (pip, npm, apt), run as they are, so that mirrors and proxies keep working."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from polyvec.core.errors import DataUnavailableError
from polyvec.data.catalogue.entries import Entry

logger = logging.getLogger("polyvec.data")

_OFFLINE = "POLYVEC_OFFLINE"


def is_offline(offline: bool | None = None) -> bool:
    """Whether no client may be started: the argument when given, else whether `POLYVEC_OFFLINE` is set (and not 0)."""
    if offline is not None:
        return offline
    return os.environ.get(_OFFLINE, "").strip().lower() not in {"", "0", "false", "no"}


def refuse_offline(entry: Entry, offline: bool) -> None:
    """`DataUnavailableError` that names the entry when downloads are switched off."""
    if offline:
        raise DataUnavailableError(
            f"{entry.name}: not in the cache, and downloads are switched off (POLYVEC_OFFLINE or offline=True); "
            f"run once online: polyvec data get {entry.name}"
        )


def run_client(
    command: Sequence[str],
    *,
    purpose: str,
    needs: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Run one client to its end and return what it wrote on stdout.

    Args:
        command: Program and arguments; no shell is involved.
        purpose: What the run is for, for the message: "cannot {purpose}: ...".
        needs: What to install when the program is missing.
        folder: Working folder.
        environment: Variables to add to the present ones.

    Raises:
        DataUnavailableError: The program is missing or ends with an error; the message has its last error line.
    """
    logger.debug("running %s", " ".join(command))
    try:
        done = subprocess.run(
            list(command),
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise DataUnavailableError(f"cannot {purpose}: the program {command[0]!r} is not installed; {needs}") from error
    except OSError as error:
        raise DataUnavailableError(f"cannot {purpose}: {command[0]!r} cannot be started ({error.strerror})") from error
    if done.returncode != 0:
        message = _last_error(done.stderr.decode("utf-8", "replace"))
        raise DataUnavailableError(
            f"cannot {purpose}: {Path(command[0]).name} ended with code {done.returncode}: {message}"
        )
    return done.stdout


def _last_error(text: str) -> str:
    """The line that says most: the last one that names an error, else the last that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if line.lower().startswith(("error", "e:", "npm error", "npm err!"))]
    # npm ends with where its log lies, which says nothing about the cause
    named = [line for line in named if "complete log" not in line.lower() and "debug-0.log" not in line] or named
    chosen = (named or lines or ["no message"])[-1]
    return chosen[:300]
