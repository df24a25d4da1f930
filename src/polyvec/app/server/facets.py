"""The values of a column, counted, or their range: what a filter's controls are made of."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyvec.app.server.limits import MAX_FACETS
from polyvec.app.server.models import FacetValue, RangeFacets, ValueFacets
from polyvec.core.errors import InvalidValueError, NotFoundError
from polyvec.search.store.snapshot import Snapshot

LONGEST_VALUE = 200
"""Longer values are texts rather than categories; they count as others."""

_WITHOUT = ("id", "text", "title")
_KEPT = 64


class Facets:
    """Facets of the columns of an index; those of the newest versions are remembered."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, snapshot: Snapshot, column: str, limit: int) -> ValueFacets | RangeFacets:
        """The facets of a column.

        Raises:
            NotFoundError: There is no such column.
            InvalidValueError: A column that has another value for each document.
        """
        if column not in snapshot.visible:
            known = ", ".join(name for name in snapshot.visible if name not in _WITHOUT)
            raise NotFoundError(f"column: there is no {column!r}; the columns are: {known}")
        if column in _WITHOUT:
            raise InvalidValueError(f"column: {column!r} has another value for each document; choose another column")
        key = (snapshot.version, snapshot.info.created, column)
        with self._lock:
            found = self._known.get(key)
        if found is None:
            stored, kind = snapshot.visible[column]
            values = snapshot.scan([stored])[stored]
            found = _ranged(column, kind, values) if kind in ("int", "float") else _counted(column, kind, values)
            with self._lock:
                self._known[key] = found
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        if isinstance(found, RangeFacets):
            return found
        left = sum(value.count for value in found.values[limit:])
        return found.model_copy(update={"values": found.values[:limit], "other": found.other + left})


def _counted(column: str, kind: str, values: pa.ChunkedArray) -> ValueFacets:
    missing = values.null_count
    counts = pc.value_counts(values.drop_null())
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    listed = [(value, count) for value, count in pairs if isinstance(value, bool) or len(value) <= LONGEST_VALUE]
    listed.sort(key=lambda pair: (-pair[1], str(pair[0])))
    shown = [FacetValue(value=value, count=count) for value, count in listed[:MAX_FACETS]]
    other = len(values) - missing - sum(value.count for value in shown)
    return ValueFacets(
        column=column, kind="bool" if kind == "bool" else "text", values=shown, other=other, missing=missing
    )


def _ranged(column: str, kind: str, values: pa.ChunkedArray) -> RangeFacets:
    numbers = values.drop_null().to_numpy()
    finite = numbers[np.isfinite(numbers)]
    low, high = (finite.min().item(), finite.max().item()) if len(finite) else (None, None)
    return RangeFacets(
        column=column, kind="int" if kind == "int" else "float", min=low, max=high, missing=len(values) - len(finite)
    )
