"""Values of records as metadata: plain scalars, nested values as JSON, the rest dropped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from polyvec.data.documents import Scalar
from polyvec.data.readers.encodings import clean_text
from polyvec.data.readers.limits import MAX_NESTED_CHARACTERS

INTEGER_LIMIT = 2**63


def to_scalar(value: object) -> tuple[bool, Scalar]:
    """`(kept, scalar)` for a value of a record.

    Numbers that are not finite mean "missing" in tables and become `None`; integers beyond 64 bits become text; times
    become ISO 8601 text; lists and objects become JSON up to `limits.MAX_NESTED_CHARACTERS`. Longer ones, and
    bytes that are not text, are not kept.
    """
    if value is None or isinstance(value, bool):
        return True, value
    if isinstance(value, str):
        return True, clean_text(value)
    if isinstance(value, int):
        return True, int(value) if -INTEGER_LIMIT <= value < INTEGER_LIMIT else _long_integer(value)
    if isinstance(value, float):
        return True, float(value) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return True, float(value) if value.is_finite() else None
    if isinstance(value, (datetime, date, time)):
        return True, value.isoformat()
    if isinstance(value, timedelta):
        return True, value.total_seconds()
    if isinstance(value, UUID):
        return True, str(value)
    if isinstance(value, (bytes, bytearray)):
        try:
            return True, clean_text(bytes(value).decode("utf-8"))
        except UnicodeDecodeError:
            return False, None
    if isinstance(value, (Mapping, list, tuple)):
        return _nested(value)
    return False, None


def _long_integer(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python refuses to write integers of thousands of digits in decimal
        return hex(value)


def _nested(value: Mapping[object, object] | list[object] | tuple[object, ...]) -> tuple[bool, Scalar]:
    if len(value) > MAX_NESTED_CHARACTERS:
        return False, None
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return False, None
    return (True, clean_text(text)) if len(text) <= MAX_NESTED_CHARACTERS else (False, None)
