"""Well-known small networks that networkx has as code, written down as CSV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from polyvec.core.lazy import require


def karate_club(folder: Path) -> str:
    """Zachary's karate club: 34 members, 78 weighted ties, the label is the side taken when the club split."""
    networkx = require("networkx", "graph", "the data set 'karate-club'")
    graph = networkx.karate_club_graph()
    return _write(folder, graph, {node: data["club"] for node, data in graph.nodes(data=True)}, networkx.__version__)


def les_miserables(folder: Path) -> str:
    """Who appears with whom in a chapter of Les Misérables: 77 persons, 254 weighted ties, no labels."""
    networkx = require("networkx", "graph", "the data set 'les-miserables'")
    return _write(folder, networkx.les_miserables_graph(), {}, networkx.__version__)


def _write(folder: Path, graph: Any, labels: dict[Any, str], version: str) -> str:
    nodes = sorted(graph.nodes)
    with open(folder / "nodes.csv", "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["name", "label"])
        writer.writerows([node, labels.get(node, "")] for node in nodes)
    order = {node: position for position, node in enumerate(nodes)}
    edges = sorted(
        (*sorted((start, end), key=order.__getitem__), data.get("weight", 1))
        for start, end, data in graph.edges(data=True)
    )
    with open(folder / "edges.csv", "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["source", "target", "weight"])
        writer.writerows(edges)
    return f"networkx {version}"
