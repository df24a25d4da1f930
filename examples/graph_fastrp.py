"""Vectors for the nodes of a graph, tuned on a few labels, and used for nodes that come later.

    pip install 'polyvec[graph]'
    python examples/graph_fastrp.py

The graph is a small one made here: 600 people in 6 groups who mostly know people of their own group. Replace it with
your own networkx graph, scipy sparse matrix, PyG `Data`, or edge arrays: `Graph.from_edges(sources, targets)`.
"""

import networkx as nx
import numpy as np
import scipy.sparse as sp

from polyvec import Vectors
from polyvec.encode.graph import FastRP, as_graph, tune_fastrp
from polyvec.encode.graph.labels import label_scores


def main() -> None:
    groups = np.repeat(np.arange(6), 100)
    graph = nx.stochastic_block_model([100] * 6, (0.05 * np.eye(6) + 0.01).tolist(), seed=1)
    graph = nx.relabel_nodes(graph, {number: f"person {number}" for number in range(600)})

    # 1. Vectors, one a node, in the order of the graph's nodes.
    encoder = FastRP(dim=64, seed=0)
    print("memory needed:", encoder.estimate_memory(len(graph), graph.number_of_edges()) // 1024, "KiB")
    vectors = encoder.fit_transform(graph)
    print("vectors:", vectors.shape, vectors.dtype)

    # 2. Which hops and how much degree correction suit this graph? Ask a few labels.
    known = np.random.default_rng(0).choice(600, 200, replace=False)
    rest = np.setdiff1d(np.arange(600), known)
    tuned = tune_fastrp(graph, groups, trials=20, nodes=known, seed=0)
    print(
        f"best of {len(tuned.trials)} settings: beta {tuned.best.beta:.2f}, weights {np.round(tuned.best.weights, 1)}"
    )
    better = tuned.encoder(dim=64)
    for name, found in (("default", vectors), ("tuned", better.fit_transform(graph))):
        print(f"{name}: macro F1 on the other people {label_scores(found, groups, known, rest).macro:.2f}")

    # 3. Other hop weights cost one sum, no product.
    print("two hops only:", better.reweight((1, 1)).shape)

    # 4. A newcomer who knows three people of group 2 gets a vector in the same space.
    newcomer = sp.csr_array((np.ones(3), ([0, 0, 0], [200, 205, 231])), shape=(1, 600))
    known_vectors = better.reweight()
    query = better.transform(newcomer)[0]
    cosines = known_vectors @ query / (np.linalg.norm(known_vectors, axis=1) * np.linalg.norm(query))
    nearest = np.argsort(-cosines)[:5]
    names = as_graph(graph).names
    print("nearest to the newcomer:", [f"{names[n]} (group {groups[n]})" for n in nearest])

    # 5. As a table with names, ready for a file or an index.
    table = Vectors(known_vectors, ids=list(better.names_))
    print("first id:", table.ids[0])


if __name__ == "__main__":
    main()
