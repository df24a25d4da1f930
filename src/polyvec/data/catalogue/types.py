"""What the loaders of the catalogue return, beside `Document` lists and dictionaries of Arrow tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import scipy.sparse


@dataclass(slots=True)
class GraphData:
    """A graph with named nodes and, where the source has them, one label a node.

    `adjacency` is `(nodes, nodes)` CSR, float32. An undirected graph stores both directions; entries are edge weights
    (1 where the source has none). `labels[i]` indexes `label_names`; -1 says "no label". `edge_types` (for a graph
    with several relations) maps a relation's name to its own adjacency.
    """

    adjacency: scipy.sparse.csr_matrix
    names: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64] | None = None
    label_names: list[str] = field(default_factory=list)
    directed: bool = False
    edge_types: dict[str, scipy.sparse.csr_matrix] = field(default_factory=dict)

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return int(self.adjacency.shape[0])

    @property
    def num_edges(self) -> int:
        """Number of edges; each pair counts once when the graph is undirected (self-loops count once)."""
        if self.directed:
            return int(self.adjacency.nnz)
        loops = int(np.count_nonzero(self.adjacency.diagonal()))
        return (int(self.adjacency.nnz) - loops) // 2 + loops


@dataclass(slots=True)
class ImageSet:
    """Pictures of one size: `images` is uint8 `(n, height, width)` or `(n, height, width, channels)`.

    `labels[i]` indexes `label_names`; `names[i]` is the picture's own name. Each is `None` or empty where the
    source has none.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None = None
    label_names: list[str] = field(default_factory=list)
    names: list[str] | None = None


@dataclass(slots=True)
class TripleSet:
    """Facts of a knowledge graph as integers: `triples` is int64 `(n, 3)` with columns head, relation, tail.

    Heads and tails index `entities`, relations index `relations`. `splits` maps a split's name to its rows of
    `triples`.
    """

    triples: npt.NDArray[np.int64]
    entities: list[str]
    relations: list[str]
    splits: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)

    def split(self, name: str) -> npt.NDArray[np.int64]:
        """The triples `(n, 3)` of one split, for example "train"."""
        return self.triples[self.splits[name]]


@dataclass(slots=True)
class FileSet:
    """Files of one entry, for kinds whose readers live elsewhere (weights, video, audio, poses, shapes).

    `files` maps a short name to a path; `details` holds what the loader read on the way (sizes, labels, texts, ...).
    """

    folder: Path
    files: dict[str, Path]
    details: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Path:
        return self.files[name]
