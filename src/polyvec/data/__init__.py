"""Data: documents, readers for the user's own files, and the catalogue of real data sets (`polyvec.data.catalogue`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.data.catalogue.fetch import load as load
    from polyvec.data.catalogue.types import FileSet as FileSet
    from polyvec.data.catalogue.types import GraphData as GraphData
    from polyvec.data.catalogue.types import ImageSet as ImageSet
    from polyvec.data.catalogue.types import TripleSet as TripleSet
    from polyvec.data.documents import Document as Document
    from polyvec.data.readers import SUPPORTED_SUFFIXES as SUPPORTED_SUFFIXES
    from polyvec.data.readers import ReadReport as ReadReport
    from polyvec.data.readers import SourceFile as SourceFile
    from polyvec.data.readers import read as read
    from polyvec.data.readers import scan as scan

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Document": "polyvec.data.documents",
        "FileSet": "polyvec.data.catalogue.types",
        "GraphData": "polyvec.data.catalogue.types",
        "ImageSet": "polyvec.data.catalogue.types",
        "ReadReport": "polyvec.data.readers",
        "SUPPORTED_SUFFIXES": "polyvec.data.readers",
        "SourceFile": "polyvec.data.readers",
        "TripleSet": "polyvec.data.catalogue.types",
        "load": "polyvec.data.catalogue.fetch",
        "read": "polyvec.data.readers",
        "scan": "polyvec.data.readers",
    },
)
