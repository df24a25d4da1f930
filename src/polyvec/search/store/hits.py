"""What the store gives back: hits and statistics."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from polyvec.data.documents import Scalar


@dataclass(frozen=True, slots=True)
class Hit:
    """One found document.

    Attributes:
        id: The document's id.
        score: Higher is better. Dense: similarity by the store's metric (cosine: -1 to 1). Keyword: BM25. Hybrid: the
            sum of reciprocal ranks.
        rank: Place among all hits, from 1; a page that starts at `offset` begins with `offset + 1`.
        title: The document's title, or `None`.
        text: Its text without the title.
        source: Where it was read from.
        metadata: Its metadata, as given.
    """

    id: str
    score: float
    rank: int
    title: str | None
    text: str
    source: str
    metadata: dict[str, Scalar] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds and takes.

    Attributes:
        path: Folder or address.
        documents: Number of documents.
        dim: Dimensions of the vectors.
        metric: `cosine`, `dot` or `l2`.
        encoder: Fingerprint of the encoder, or `None` when vectors were given.
        columns: Metadata keys that filters can use, with their types.
        compression: What the vectors were shrunk to, or `None` when they are whole.
        nbytes: Bytes of the vectors (float32) or of their codes.
        bytes_on_disk: Bytes of all files, older versions included; `None` on object storage.
        fragments: Pieces that the table is stored in; `optimize()` joins them.
        vector_index: Kind of the vector index, or `None` when every search is exact.
        unindexed_documents: Documents that the keyword index does not hold yet; they are found all the same, slower.
        version: LanceDB's version number of the table; each commit counts.
        format: Version of the store's layout.
        written_by: Version of polyvec that created it.
        created: When it was created, ISO time in UTC.
        updated: When it was last changed, ISO time in UTC.
    """

    path: str
    documents: int
    dim: int
    metric: str
    encoder: dict[str, Any] | None
    compression: dict[str, Any] | None
    columns: dict[str, str]
    nbytes: int
    bytes_on_disk: int | None
    fragments: int
    vector_index: str | None
    unindexed_documents: int
    version: int
    format: int
    written_by: str
    created: str
    updated: str

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)
