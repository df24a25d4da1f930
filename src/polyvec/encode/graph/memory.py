"""How much memory an encoder will need, before it runs."""

from __future__ import annotations

import os

from polyvec.core.errors import InvalidValueError
from polyvec.encode.graph.projection import BLOCK_NON_ZEROS


def fastrp_memory(
    nodes: int,
    entries: int,
    dim: int,
    hops: int,
    density: float,
    *,
    kept: bool,
    columns: int,
    dense_start: bool,
    with_features: bool,
) -> int:
    """Bytes that FastRP adds at its peak to a graph that is a float32 CSR matrix already, the result included.

    Args:
        nodes: Number of nodes.
        entries: Stored entries of the adjacency (twice the edges when undirected).
        dim: Columns of the projection.
        hops: Powers that are computed.
        density: Share of non-zeros of the projection.
        kept: Whether all powers stay in memory.
        columns: Columns of the result.
        dense_start: Whether the start matrix is dense.
        with_features: Whether node features are projected into it.
    """
    wide = 4 * nodes * dim
    non_zeros = nodes * dim * density
    start = wide if dense_start else 8 * non_zeros + 4 * nodes
    vectors = (8 + 8 + 4 + 1) * nodes  # degrees, scales
    checking = 14 * entries + 8 * nodes  # the transpose that is compared with the adjacency
    projecting = start + vectors + (48 if dense_start else 40) * min(non_zeros, BLOCK_NON_ZEROS)
    projecting += wide if with_features else 0
    running = start + vectors + (hops if kept else min(hops, 2)) * wide + 4 * nodes * hops + 4 * nodes * columns
    return int(max(checking, projecting, running))


def check_memory(needed: int, advice: str) -> None:
    """Refuse work that needs more memory than the machine has.

    Raises:
        InvalidValueError: It does; the message says how much and `advice`.
    """
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        gib = 2.0**30
        raise InvalidValueError(
            f"graph: needs about {needed / gib:.1f} GiB of memory, this machine has {available / gib:.1f} GiB; {advice}"
        )
