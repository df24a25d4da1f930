"""Vectors of the nodes of a graph: one graph view, random walks, and encoders that follow `fit_transform(graph)`."""

from typing import TYPE_CHECKING

from polyvec.core.lazy import lazy_exports

if TYPE_CHECKING:
    from polyvec.encode.graph.fastrp import FastRP as FastRP
    from polyvec.encode.graph.projection import sparse_projection as sparse_projection
    from polyvec.encode.graph.tuning import FastRPTuning as FastRPTuning
    from polyvec.encode.graph.tuning import tune_fastrp as tune_fastrp
    from polyvec.encode.graph.view import Graph as Graph
    from polyvec.encode.graph.view import as_graph as as_graph
    from polyvec.encode.graph.walks import random_walks as random_walks

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "FastRP": "polyvec.encode.graph.fastrp",
        "FastRPTuning": "polyvec.encode.graph.tuning",
        "Graph": "polyvec.encode.graph.view",
        "as_graph": "polyvec.encode.graph.view",
        "random_walks": "polyvec.encode.graph.walks",
        "sparse_projection": "polyvec.encode.graph.projection",
        "tune_fastrp": "polyvec.encode.graph.tuning",
    },
)
