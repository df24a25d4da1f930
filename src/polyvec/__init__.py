"""polyvec: one toolkit for the whole life of an embedding.

    import polyvec
    store = polyvec.index("my-documents/", to="my-index")
    store.search("how do I shrink the vectors?")

Importing it costs nothing: every name is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.core.errors import PolyvecError as PolyvecError
    from polyvec.core.vectors import Vectors as Vectors
    from polyvec.encode.text import TextEncoder as TextEncoder
    from polyvec.search.indexing import index as index
    from polyvec.search.store import Store as Store

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "PolyvecError": "polyvec.core.errors",
        "Store": "polyvec.search.store",
        "TextEncoder": "polyvec.encode.text",
        "Vectors": "polyvec.core.vectors",
        "index": "polyvec.search.indexing",
    },
)
