"""Documents from files straight to `Vectors`, without an index."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from polyvec.core.errors import InvalidValueError
from polyvec.core.vectors import Vectors
from polyvec.data.readers import ReadReport
from polyvec.data.source_sets import source_set
from polyvec.encode.text.encoder import TextEncoder

if TYPE_CHECKING:
    from polyvec.data.documents import Document
    from polyvec.data.readers.scanning import OnError


def encode_sources(
    sources: Any,
    *,
    encoder: TextEncoder | None = None,
    output: Literal["sentence", "chunks"] = "sentence",
    limit: int | None = None,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    text_field: str | None = None,
    title_field: str | None = None,
    id_field: str | None = None,
    encoding: str | None = None,
    on_error: OnError = "warn",
    report: ReadReport | None = None,
    show_progress: bool | None = None,
) -> Vectors:
    """Vectors of files, folders, catalogue entries or documents; ids are the documents' ids.

    Args:
        sources: Paths, patterns, names of catalogue entries, or documents.
        encoder: The encoder; the default text model when left out.
        output: `"sentence"` gives one vector a document, with its title and source as metadata; `"chunks"` one a
            chunk, with the ids `<document>@<start>` and the document's id and the place of the chunk as metadata.
        limit: Read at most so many documents.
        include: Patterns that files in folders must match.
        exclude: Patterns of files and folders to leave out.
        text_field: Field of records that holds the text.
        title_field: Field of records that holds the title.
        id_field: Field of records that identifies them.
        encoding: Encoding of text files.
        on_error: `warn` leaves out what cannot be read, and counts it; `raise` stops.
        report: Filled while reading.
        show_progress: A bar on the terminal; by default when there is a terminal.

    Raises:
        InvalidValueError: No documents; two with the same id; unknown output.
        FileProblemError: A source is missing or unreadable.
        FormatError: No file holds documents.
    """
    if output not in ("sentence", "chunks"):
        raise InvalidValueError(f"output: got {output!r}, needs 'sentence' or 'chunks'")
    found = source_set(
        sources,
        origin=None,
        report=report or ReadReport(),
        scanning={
            "include": include, "exclude": exclude, "hidden": False, "follow_links": False, "on_error": on_error,
        },
        reading={"text_field": text_field, "title_field": title_field, "id_field": id_field, "encoding": encoding},
    )  # fmt: skip
    documents = [document for document, _ in islice(found, limit)]
    if not documents:
        raise InvalidValueError("sources: no documents; give at least one")
    texts = [document.embedding_text for document in documents]
    encoder = encoder or TextEncoder()
    if output == "chunks":
        return _chunks(documents, texts, encoder, show_progress)
    metadata = pa.table(
        {
            "title": pa.array([document.title for document in documents], pa.string()),
            "source": pa.array([document.source for document in documents], pa.string()),
        }
    )
    matrix = encoder.encode(texts, show_progress_bar=show_progress)
    return Vectors(matrix, ids=[document.id for document in documents], metadata=metadata)


def _chunks(
    documents: Sequence[Document], texts: list[str], encoder: TextEncoder, show_progress: bool | None
) -> Vectors:
    chunks = encoder.encode(texts, output="chunks", show_progress_bar=show_progress)
    names = np.array([document.id for document in documents], dtype=object)[chunks.items]
    ids = [f"{name}@{start}" for name, start in zip(names, chunks.starts.tolist(), strict=True)]
    metadata = {
        "document": pa.array(names, pa.string()),
        "start": pa.array(chunks.starts),
        "end": pa.array(chunks.ends),
    }
    return Vectors(chunks.vectors, ids=ids, metadata=metadata)
