"""The few contracts that everything speaks: Encoder, Transform, Index.

They are structural (`typing.Protocol`): any object with these members fits, a `SentenceTransformer` is an
Encoder as it is and a scikit-learn transformer is a Transform as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

FloatMatrix = npt.NDArray[np.float32]


@runtime_checkable
class Encoder(Protocol):
    """Turns items (texts, images, rows, ...) into a float32 matrix `(n, dim)`."""

    def encode(self, sentences: Any, *, batch_size: int = 32, **options: Any) -> Any:
        """Vectors `(n, dim)` of `n` items."""
        ...


@runtime_checkable
class GraphEncoder(Protocol):
    """Turns a graph into one vector a node."""

    def fit_transform(self, graph: Any) -> Any:
        """Vectors `(nodes, dim)`; the rows follow the graph's node order."""
        ...


@runtime_checkable
class Transform(Protocol):
    """Turns vectors into other vectors or codes; scikit-learn's contract."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from `X` `(n, d)`; `y` is ignored by unsupervised transforms."""
        ...

    def transform(self, X: Any) -> Any:
        """The transformed rows of `X`, one a row."""
        ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments."""
        ...


@runtime_checkable
class Index(Protocol):
    """Finds the nearest stored vectors."""

    @property
    def nbytes(self) -> int:
        """Bytes that the stored vectors or codes take."""
        ...

    def add(self, vectors: Any, ids: Sequence[Any] | None = None) -> None:
        """Add vectors `(n, d)`; without `ids` they are numbered on from the last one."""
        ...

    def search(self, queries: Any, k: int = 10) -> tuple[Any, Any]:
        """`(scores, ids)`, each `(queries, k)`, best first."""
        ...

    def save(self, path: str | PathLike[str]) -> None:
        """Write the index to `path` atomically."""
        ...

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read an index that `save` wrote."""
        ...
