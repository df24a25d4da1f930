"""Data in, vectors out: one package a kind of data (`text`, ...)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.encode.text.chunking import Chunking as Chunking
    from polyvec.encode.text.chunking import ChunkVectors as ChunkVectors
    from polyvec.encode.text.encoder import TextEncoder as TextEncoder

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "TextEncoder": "polyvec.encode.text.encoder",
        "Chunking": "polyvec.encode.text.chunking",
        "ChunkVectors": "polyvec.encode.text.chunking",
    },
)
