"""The unit that readers yield, the encoder reads and the store keeps."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

Scalar = str | int | float | bool | None


@dataclass(slots=True)
class Document:
    """One text with its place of origin.

    `id` is stable: the same part of the same source has the same id in every run, so that re-indexing can tell
    what changed. `source` is the path (or catalogue name) it was read from, relative to the folder that was given.
    """

    id: str
    text: str
    title: str | None = None
    source: str = ""
    metadata: dict[str, Scalar] = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """SHA-256 of all that is stored (title, text, metadata), as 64 hexadecimal digits."""
        content = json.dumps([self.title, self.text, self.metadata], ensure_ascii=False, sort_keys=True, default=str)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def embedding_text(self) -> str:
        """What is embedded: the title, when there is one, on a line above the text."""
        return f"{self.title}\n{self.text}" if self.title else self.text
