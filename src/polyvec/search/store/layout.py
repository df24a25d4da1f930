"""How a store lies on disk: one LanceDB table, its columns, and what its schema says about the store.

What a store has to remember (format, metric, encoder) stands in the schema of the table. It is written by the commit
that creates the table and carried along by every later one, so that no crash can part the two.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

import polyvec
from polyvec.core.errors import StoreError
from polyvec.data.documents import Document, Scalar

TABLE = "documents"
FORMAT = 1
COMPRESSED_FORMAT = 2
"""A store whose vectors are codes: a polyvec that knows none refuses it by this number."""

METRICS = ("cosine", "dot", "l2")
SCHEMA_KEY = b"polyvec"

BASE_COLUMNS = (
    "id", "position", "title", "content", "source", "origin", "content_hash", "embedding_hash", "metadata", "vector",
)  # fmt: skip
"""The store's own columns. `position` numbers documents in the order they came and stays when one is replaced;
`content` is the title, when there is one, on a line above the text (what is embedded and what keyword search reads);
`origin` is where a document was read from (see `source_sets`); `metadata` is JSON. Metadata keys have
columns beside these."""

HIT_COLUMNS = ["id", "title", "content", "source", "metadata"]

_FILTER_NAMES = {"id": "id", "title": "title", "text": "content", "source": "source", "origin": "origin"}


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What the schema says about a store."""

    dim: int
    metric: str
    encoder: dict[str, Any] | None
    language: str
    created: str
    written_by: str
    format: int = FORMAT
    compression: dict[str, Any] | None = None

    def same_store(self, other: StoreInfo) -> bool:
        """Whether both describe one store, shrunk or not."""
        return replace(self, compression=None, format=FORMAT) == replace(other, compression=None, format=FORMAT)

    @classmethod
    def new(cls, dim: int, metric: str, encoder: Mapping[str, Any] | None, language: str) -> StoreInfo:
        """For a store that is created now."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return cls(dim, metric, dict(encoder) if encoder is not None else None, language, now, polyvec.__version__)


def info_json(info: StoreInfo) -> dict[str, Any]:
    """What is written into the schema; without what an older polyvec would not understand where it is not used."""
    told = asdict(info)
    if told["compression"] is None:
        del told["compression"]
    return told


def new_schema(info: StoreInfo) -> pa.Schema:
    """The schema of an empty store."""
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        *(pa.field(name, pa.string()) for name in BASE_COLUMNS[2:-1]),
        pa.field("vector", pa.list_(pa.float32(), info.dim)),
    ]
    return pa.schema(fields, metadata={SCHEMA_KEY: json.dumps(info_json(info)).encode()})


def read_info(schema: pa.Schema, path: str) -> StoreInfo:
    """What a table's schema says; `StoreError` when it is no store or one of a newer format."""
    content = (schema.metadata or {}).get(SCHEMA_KEY)
    if content is None:
        raise StoreError(
            f"{path}: holds a LanceDB table, but not one that polyvec made; choose another folder, or read the table "
            "with lancedb and add its rows to a store"
        )
    try:
        told = json.loads(content)
        version = told["format"]
        if isinstance(version, int) and version > COMPRESSED_FORMAT:
            raise StoreError(
                f"{path}: is a store of format {version}, written by polyvec {told.get('written_by', '?')}; this is "
                f"polyvec {polyvec.__version__}, which reads up to format {COMPRESSED_FORMAT}. "
                "Upgrade: pip install -U polyvec"
            )
        return StoreInfo(**told)
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path}: the store's description in its schema is damaged ({error})") from error


def visible_columns(kinds: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Name in a filter -> (stored column, type): the store's own and one for each metadata key.

    A key that is also the name of one of the store's own columns is reached as `meta_<key>`.
    """
    from polyvec.search.store.columns import column_name

    visible = {name: (column, "text") for name, column in _FILTER_NAMES.items()}
    for key in sorted(kinds):
        name = f"meta_{key}" if key in _FILTER_NAMES else key
        while name in visible:
            name = f"meta_{name}"
        visible[name] = (column_name(key, kinds[key]), kinds[key])
    return visible


def to_table(
    schema: pa.Schema,
    documents: Sequence[Document],
    vectors: Mapping[str, pa.Array],
    positions: np.ndarray,
    metadata: Sequence[Mapping[str, Scalar]],
    filters: Mapping[str, pa.Array],
    *,
    origins: Sequence[str],
    embedding_hashes: Sequence[str],
) -> pa.Table:
    """Documents and the columns of their vectors (or codes) as rows of the table."""
    from polyvec.search.store.columns import to_json

    columns = {
        "id": pa.array([document.id for document in documents], pa.string()),
        "position": pa.array(positions, pa.int64()),
        "title": pa.array([document.title for document in documents], pa.string()),
        "content": pa.array([document.embedding_text for document in documents], pa.string()),
        "source": pa.array([document.source for document in documents], pa.string()),
        "origin": pa.array(origins, pa.string()),
        "content_hash": pa.array([document.content_hash for document in documents], pa.string()),
        "embedding_hash": pa.array(embedding_hashes, pa.string()),
        "metadata": pa.array([to_json(row) for row in metadata], pa.string()),
        **vectors,
        **filters,
    }
    arrays = [
        columns[field.name] if field.name in columns else pa.nulls(len(documents), field.type) for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema.remove_metadata())


def split_content(title: str | None, content: str) -> str:
    """A document's text, from the content that has its title on top."""
    return content[len(title) + 1 :] if title else content


def to_documents(rows: pa.Table) -> list[Document]:
    """Rows with at least `HIT_COLUMNS` as documents."""
    return [
        Document(
            id=row["id"],
            text=split_content(row["title"], row["content"]),
            title=row["title"],
            source=row["source"] or "",
            metadata=json.loads(row["metadata"]),
        )
        for row in rows.select(HIT_COLUMNS).to_pylist()
    ]
