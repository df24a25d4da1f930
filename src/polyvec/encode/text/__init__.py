"""Text to vectors: `TextEncoder`, a fast CPU encoder that speaks sentence-transformers' names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.encode.text.bundled import DEFAULT_MODEL as DEFAULT_MODEL
    from polyvec.encode.text.chunking import Chunking as Chunking
    from polyvec.encode.text.chunking import ChunkVectors as ChunkVectors
    from polyvec.encode.text.encoder import TextEncoder as TextEncoder
    from polyvec.encode.text.sources import encode_sources as encode_sources

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "DEFAULT_MODEL": "polyvec.encode.text.bundled",
        "TextEncoder": "polyvec.encode.text.encoder",
        "Chunking": "polyvec.encode.text.chunking",
        "ChunkVectors": "polyvec.encode.text.chunking",
        "encode_sources": "polyvec.encode.text.sources",
    },
)
