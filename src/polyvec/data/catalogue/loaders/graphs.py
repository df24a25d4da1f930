"""Small graphs kept as two CSV files: `nodes.csv` (name, label) and `edges.csv` (source, target, weight)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from polyvec.data.catalogue.types import GraphData


def load_edge_list(folder: Path) -> GraphData:
    """An undirected weighted graph; nodes in the order of `nodes.csv`, -1 for a node without a label."""
    import scipy.sparse

    with open(folder / "nodes.csv", encoding="utf-8", newline="") as handle:
        nodes = list(csv.DictReader(handle))
    with open(folder / "edges.csv", encoding="utf-8", newline="") as handle:
        edges = list(csv.DictReader(handle))
    number = {node["name"]: position for position, node in enumerate(nodes)}
    start = np.asarray([number[edge["source"]] for edge in edges])
    end = np.asarray([number[edge["target"]] for edge in edges])
    weight = np.asarray([float(edge["weight"]) for edge in edges], np.float32)
    size = (len(nodes), len(nodes))
    # the files hold each pair once and no self-loops
    adjacency = scipy.sparse.csr_matrix(
        (np.tile(weight, 2), (np.concatenate([start, end]), np.concatenate([end, start]))), shape=size
    )
    label_names = sorted({node["label"] for node in nodes if node["label"]})
    labels = np.asarray([label_names.index(node["label"]) if node["label"] else -1 for node in nodes], np.int64)
    return GraphData(adjacency, np.asarray(list(number)), labels if label_names else None, label_names)
