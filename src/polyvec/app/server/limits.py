"""What one request, and all requests together, may take of the server."""

from __future__ import annotations

from dataclasses import dataclass, fields

from polyvec.core.errors import InvalidValueError

MAX_HITS = 200
MAX_OFFSET = 10_000
MAX_QUERY = 4_096
MAX_WHERE = 8_192
MAX_ID = 2_048
MAX_FACETS = 200
MAX_DOCUMENTS = 1_000
MAX_DELETED = 10_000
"""Bounds of the arguments; they stand in the OpenAPI schema, so they are the same for every server."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds that a server may set as it likes.

    Attributes:
        body_bytes: Bytes of a request's body; more is refused with 413, whether the length is announced or not.
        seconds: Seconds for a request that reads, from its first byte to its answer; then 504.
        write_seconds: Seconds for a request that writes, which may encode a thousand texts.
        requests: Requests that are in work at once; one more is refused with 503 and may try again.
        threads: Threads that search and write.
        query_vectors: Queries whose vectors are remembered (384 dimensions take 1.5 kB each).
    """

    body_bytes: int = 8 * 1024 * 1024
    seconds: float = 30.0
    write_seconds: float = 300.0
    requests: int = 64
    threads: int = 4
    query_vectors: int = 2_048

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise InvalidValueError(f"{field.name}: got {value!r}, needs a number above 0")
