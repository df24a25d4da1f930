"""What an indexing run did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyvec.search.store.store import Store


@dataclass(slots=True)
class IndexReport:
    """Counts and times of one `index_sources`.

    Attributes:
        path: The store's folder or address.
        seen: Documents that were read.
        added: Documents that the store did not have.
        updated: Documents whose text or title has changed.
        metadata_updated: Documents of which only metadata, source or place has changed; they were not encoded again.
        unchanged: Documents that were left as they were.
        removed: Documents that were dropped because the sources no longer have them.
        skipped: Files that could not be read.
        encoded: Texts that went through the encoder; equal texts count once.
        commits: Commits of batches.
        encode_seconds: Time in the encoder.
        seconds: Time of the whole run.
        vector_index: Kind of the vector index, or `None` while exact search is as quick.
        left_out: What was left out and guessed in reading, as lines for a terminal.
        reading: The reader's own report as plain values.
        store: The store, open.
    """

    path: str
    seen: int = 0
    added: int = 0
    updated: int = 0
    metadata_updated: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    encoded: int = 0
    commits: int = 0
    encode_seconds: float = 0.0
    seconds: float = 0.0
    vector_index: str | None = None
    left_out: list[str] = field(default_factory=list)
    reading: dict[str, Any] = field(default_factory=dict)
    store: Store | None = field(default=None, repr=False, compare=False)

    @property
    def documents_per_second(self) -> float:
        """Documents read, compared and, where needed, encoded and written in a second."""
        return self.seen / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All but the store, for JSON."""
        names = [name for name in self.__dataclass_fields__ if name != "store"]
        return {name: getattr(self, name) for name in names} | {"documents_per_second": self.documents_per_second}
