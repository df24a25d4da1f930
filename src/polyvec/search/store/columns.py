"""Metadata as typed columns, so that filters work: names, types, and what happens when types disagree.

Every document keeps its metadata exactly as given, as JSON. Beside it, each key gets a column of its own for filters,
named `key:type` with the type `bool`, `int`, `float` or `text`. When documents disagree about a key's type, the column
is widened: int and float become float, any other mix becomes text (`True` reads `true`, numbers as they print). The
wider column is computed from the narrow one in one commit, the narrow one is dropped in the next, and while both exist
the wider one counts, so that a crash between the two harms nothing.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa

from polyvec.core.errors import InvalidTypeError
from polyvec.data.documents import Document, Scalar

logger = logging.getLogger("polyvec.search")

ARROW_TYPES = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "text": pa.string()}
_SQL_TYPES = {"float": "double", "text": "string"}
_WIDTH = {"bool": 0, "int": 0, "float": 1, "text": 2}
_INT64 = 1 << 63

MAX_COLUMNS = 256
"""Further keys get no filter column: JSON lines with free-form keys must not make a table of 10,000 columns."""


def column_name(key: str, kind: str) -> str:
    """The column of a metadata key; characters that SQL or LanceDB could trip over are percent-encoded."""
    return f"{quote(key, safe='').replace('.', '%2E')}:{kind}"


def parse_column(name: str) -> tuple[str, str] | None:
    """`(key, type)` of a column's name, or `None` for one of the store's own columns."""
    quoted, colon, kind = name.rpartition(":")
    return (unquote(quoted), kind) if colon and kind in ARROW_TYPES else None


def filter_columns(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The type of each metadata key among a table's columns, and the narrow columns that a wider one has replaced."""
    kinds: dict[str, str] = {}
    replaced = []
    for name in names:
        if (parsed := parse_column(name)) is None:
            continue
        key, kind = parsed
        if key in kinds:
            kind, narrow = sorted([kind, kinds[key]], key=_WIDTH.__getitem__, reverse=True)
            replaced.append(column_name(key, narrow))
        kinds[key] = kind
    return kinds, replaced


def widened(first: str, second: str) -> str:
    """The type that holds values of both types."""
    if first == second:
        return first
    return "float" if {first, second} == {"int", "float"} else "text"


def clean_metadata(document: Document) -> dict[str, Scalar]:
    """A document's metadata as plain Python values; dates become ISO text, NumPy scalars Python's.

    Raises:
        InvalidTypeError: A key that is not text, or a value that is not one of text, number, truth value, date or
            `None`.
    """
    clean: dict[str, Scalar] = {}
    for key, value in document.metadata.items():
        if not isinstance(key, str):
            raise InvalidTypeError(
                f"metadata of document {document.id!r}: key {key!r} is {type(key).__name__}, needs text"
            )
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, (datetime.date, datetime.datetime)):
            value = value.isoformat()
        if value is not None and not isinstance(value, (str, int, float)):
            raise InvalidTypeError(
                f"metadata of document {document.id!r}: {key!r} is {type(value).__name__}, needs text, a number, a "
                "truth value or None; join lists into one text"
            )
        clean[key] = value
    return clean


def to_json(metadata: Mapping[str, Scalar]) -> str:
    """Metadata as the JSON text that is stored (Python's NaN and Infinity are kept)."""
    return json.dumps(metadata, ensure_ascii=False)


def _kind(value: Scalar) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -_INT64 <= value < _INT64 else "float"
    return "float" if isinstance(value, float) else "text"


def needed_columns(kinds: Mapping[str, str], metadata: Sequence[Mapping[str, Scalar]]) -> dict[str, str]:
    """The types of all keys once these documents have come in; new keys stop at `MAX_COLUMNS`."""
    needed = dict(kinds)
    left_out = set()
    for values in metadata:
        for key, value in values.items():
            if value is None or not key:
                continue
            if key in needed:
                needed[key] = widened(needed[key], _kind(value))
            elif len(needed) < MAX_COLUMNS:
                needed[key] = _kind(value)
            else:
                left_out.add(key)
    if left_out:
        some = ", ".join(sorted(left_out)[:5])
        logger.warning(
            "metadata: more than %d keys; %d of them are stored but cannot be filtered by, such as %s",
            MAX_COLUMNS, len(left_out), some,
        )  # fmt: skip
    return needed


def schema_changes(kinds: Mapping[str, str], needed: Mapping[str, str]) -> tuple[list[pa.Field], dict[str, str]]:
    """Columns to add empty, and columns to add with their values computed (name -> SQL) from a narrower one."""
    added = [pa.field(column_name(key, kind), ARROW_TYPES[kind]) for key, kind in needed.items() if key not in kinds]
    computed = {
        column_name(key, kind): f"cast(`{column_name(key, kinds[key])}` as {_SQL_TYPES[kind]})"
        for key, kind in needed.items()
        if key in kinds and kinds[key] != kind
    }
    return added, computed


def _as_text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def filter_arrays(kinds: Mapping[str, str], metadata: Sequence[Mapping[str, Scalar]]) -> dict[str, pa.Array]:
    """The documents' values in each filter column, by column name."""
    arrays = {}
    for key, kind in kinds.items():
        values: list[Any] = [row.get(key) for row in metadata]
        if kind == "text":
            values = [None if value is None else _as_text(value) for value in values]
        elif kind == "float":
            values = [None if value is None else _as_float(value) for value in values]
        arrays[column_name(key, kind)] = pa.array(values, type=ARROW_TYPES[kind])
    return arrays


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond 1e308
        return float("inf") if value > 0 else float("-inf")
