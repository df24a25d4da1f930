"""Results that many runs need, computed once and kept by the hash of what they were computed from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.files import atomic_directory, atomic_path, cache_directory
from polyvec.data.catalogue.locks import exclusive

if TYPE_CHECKING:
    import pyarrow as pa

Key = str | bytes | Iterable[str | bytes]


def cached_array(name: str, content_key: Key, compute: Callable[[], npt.ArrayLike]) -> npt.NDArray[Any]:
    """The array that `compute()` returns, kept as `.npy` and memory-mapped read-only from then on.

    Args:
        name: What it is, for example "minilm-debian-packages"; letters, digits, `.`, `_`, `-`.
        content_key: Everything that decides the result: the content hash of the input, the model's checksum, the
            options. A text, bytes, or an iterable of them (it may be a long one: only its hash is kept).
        compute: Called without arguments when nothing is kept yet. Two callers at once compute it once.

    Raises:
        InvalidTypeError: The array holds Python objects, which cannot be kept safely.
    """
    place = _place(name, content_key).with_suffix(".npy")
    if (kept := _open_array(place)) is not None:
        return kept
    with exclusive(place.with_suffix(".lock")):
        if (kept := _open_array(place)) is not None:
            return kept
        made = np.asarray(compute())
        if made.dtype.hasobject:
            raise InvalidTypeError("compute: returned an array of Python objects, needs numbers or fixed-width texts")
        with atomic_path(place) as temporary, open(temporary, "wb") as handle:
            np.save(handle, made, allow_pickle=False)
    opened = _open_array(place)
    return made if opened is None else opened


def cached_tables(name: str, content_key: Key, compute: Callable[[], Mapping[str, pa.Table]]) -> dict[str, pa.Table]:
    """The Arrow tables that `compute()` returns by name, kept as Parquet (zstd) and read back from then on.

    Arguments as for `cached_array`.
    """
    place = _place(name, content_key)
    if (kept := _read_tables(place)) is not None:
        return kept
    with exclusive(place.with_suffix(".lock")):
        if (kept := _read_tables(place)) is not None:
            return kept
        import pyarrow.parquet as pq

        made = dict(compute())
        with atomic_directory(place) as temporary:
            for table_name, table in made.items():
                pq.write_table(table, temporary / f"{_checked(table_name)}.parquet", compression="zstd")
        return made


def _checked(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InvalidValueError(f"name: got {name!r}, needs letters, digits, '.', '_' and '-', as it names a file")
    return name


def _place(name: str, content_key: Key) -> Path:
    parts = [content_key] if isinstance(content_key, (str, bytes)) else content_key
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else bytes(part)
        # the length goes first, so that ("ab", "c") and ("a", "bc") are different keys
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return cache_directory("processed", _checked(name), digest.hexdigest()[:40])


def _open_array(place: Path) -> npt.NDArray[Any] | None:
    try:
        return np.load(place, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return None
    except (ValueError, OSError, EOFError):
        # not an array any more (damaged disk, edited by hand) or of a size that cannot be mapped: compute it anew
        return None


def _read_tables(place: Path) -> dict[str, pa.Table] | None:
    if not place.is_dir():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return {file.stem: pq.read_table(file) for file in sorted(place.glob("*.parquet"))}
    except (pa.ArrowInvalid, OSError):
        return None
