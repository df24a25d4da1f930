"""The price list as a picture."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from polyvec.core.files import atomic_path

if TYPE_CHECKING:
    from polyvec.search.prices.listing import PriceList

_ALONE, _RESCORED, _FRONT, _CHOSEN = "#4c6ef5", "#adb5bd", "#212529", "#e8590c"


def draw(prices: PriceList, path: str | os.PathLike[str]) -> None:
    """Write a PNG: recall@10 against kept bytes, 95% intervals, the front as a line, the choice marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 6), layout="constrained")
    axes = figure.add_subplot()
    for rescored, colour, label in (
        (True, _RESCORED, "with a finer code for the shortlist"),
        (False, _ALONE, "one code"),
    ):
        rows = [row for row in prices.rows if bool(row.rescoring) == rescored and row.name != "full"]
        if not rows:
            continue
        means = [row.recall_10[0] for row in rows]
        errors = [
            [row.recall_10[0] - row.recall_10[1] for row in rows],
            [row.recall_10[2] - row.recall_10[0] for row in rows],
        ]
        axes.errorbar(
            [row.kept_bytes for row in rows], means, yerr=errors, fmt="o", markersize=4, color=colour, elinewidth=1,
            label=label, zorder=2,
        )  # fmt: skip
    front = prices.front()
    axes.step(
        [row.kept_bytes for row in front], [row.recall_10[0] for row in front], where="post", color=_FRONT,
        linewidth=1.2, label="best for its bytes", zorder=3,
    )  # fmt: skip
    if prices.chosen is not None:
        row = prices.chosen
        axes.plot(
            row["kept_bytes"], row["recall_10"][0], marker="*", markersize=16, color=_CHOSEN, linestyle="none",
            zorder=4, label=f"chosen: {row['full_label']}, {row['kept_bytes']} B",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    sizes = sorted({row.kept_bytes for row in front})
    shown = [size for place, size in enumerate(sizes) if place == 0 or size >= 1.3 * sizes[place - 1]]
    axes.set_xticks(shown, [str(size) for size in shown])
    axes.minorticks_off()
    lowest = min((row.recall_10[1] for row in front), default=0.0)
    axes.set_ylim(max(0.0, lowest - 0.08), 1.01)
    axes.set_xlabel("bytes kept a document (logarithmic)")
    axes.set_ylabel("recall@10 against the full vectors, 95% interval")
    axes.set_title(
        f"What every byte buys: {prices.documents:,} documents, {prices.dim} dimensions, {prices.queries} queries",
        loc="left",
    )
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", frameon=False)
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
