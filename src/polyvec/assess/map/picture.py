"""A map as a PNG or SVG: points, names of the groups that do not cover each other, a title, a legend."""

from __future__ import annotations

import os
import threading
from typing import Any, Literal

import numpy as np

from polyvec.assess.map.palette import THEMES, Coloring, Theme, coloring
from polyvec.assess.map.plane import EmbeddingMap
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.files import atomic_path

_DPI = 100
_SMALLEST, _LARGEST = 200, 20_000  # pixels of a side
_MOST_DRAWN = 5000  # points of an SVG that are drawn one by one
_MARGIN = 0.04
_TITLE_HEIGHT = 0.075
_MOST_NAMES = 60
_DRAWING = threading.Lock()  # matplotlib reads the settings of SVG from global state


def save_picture(
    made: EmbeddingMap,
    path: str | os.PathLike[str],
    kind: Literal["png", "svg"],
    *,
    theme: str = "light",
    size: tuple[int, int] = (1600, 1200),
) -> None:
    """Draw the map and write it to `path`, atomically; see `EmbeddingMap.save_png`."""
    import matplotlib

    width, height = _checked_size(size)
    if theme not in THEMES:
        raise InvalidValueError(f"theme: got {theme!r}, needs one of {', '.join(THEMES)}")
    figure = draw(made, THEMES[theme], width, height, rasterized=len(made) > _MOST_DRAWN)
    metadata = {"Software": None} if kind == "png" else dict.fromkeys(("Creator", "Date", "Format", "Type"))
    settings = {"svg.fonttype": "none", "svg.hashsalt": "polyvec-map"}
    with atomic_path(path) as temporary, _DRAWING, matplotlib.rc_context(settings):
        figure.savefig(temporary, format=kind, metadata=metadata, facecolor=figure.get_facecolor())


def _checked_size(size: Any) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in size)
    except (TypeError, ValueError):
        raise InvalidTypeError(f"size: got {size!r}, needs (width, height) in pixels") from None
    if not (_SMALLEST <= width <= _LARGEST and _SMALLEST <= height <= _LARGEST):
        raise InvalidValueError(f"size: got {width} x {height}, needs sides of {_SMALLEST} to {_LARGEST} pixels")
    return width, height


def draw(made: EmbeddingMap, theme: Theme, width: int, height: int, *, rasterized: bool) -> Any:
    """The map as a matplotlib figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((_MARGIN, _MARGIN, 1 - 2 * _MARGIN, 1 - _MARGIN - _TITLE_HEIGHT - 0.01))
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="box")
    unit = min(width, height) / 1200  # sizes below are for a picture 1200 pixels high
    colors = coloring(made)
    _points(axes, made, colors, theme, unit, rasterized)
    if len(made):
        low, high = made.points.min(axis=0), made.points.max(axis=0)
        pad = 0.04 * max(float((high - low).max()), 0.5)
        axes.set_xlim(low[0] - pad, high[0] + pad)
        axes.set_ylim(low[1] - pad, high[1] + pad)
    axes.apply_aspect()
    taken = [_title(figure, made, theme, unit)]
    if colors.kind == "categories":
        taken.append(_legend(axes, colors, theme, unit))
    elif colors.kind == "numbers":
        _scale(figure, colors, theme, unit)
    _names(figure, axes, made, theme, unit, taken)
    return figure


def _points(axes: Any, made: EmbeddingMap, colors: Coloring, theme: Theme, unit: float, rasterized: bool) -> None:
    """Points without a group below, the others in one random order, so that no group covers another."""
    from matplotlib.colors import to_rgba_array

    count = max(len(made), 1)
    area = float(np.clip(60_000 / count, 2.2, 60)) * unit**2
    opacity = float(np.clip(1.25 - 0.17 * np.log10(count), 0.45, 0.9))
    if colors.kind == "numbers":
        shades = theme.shades(np.nan_to_num(colors.of))
        none = np.isnan(colors.of)
    else:
        shades = to_rgba_array(theme.hues)[np.maximum(colors.of, 0)]
        none = colors.of < 0
    shades = shades.copy()
    shades[none] = to_rgba_array(theme.none)
    shades[:, 3] = opacity
    order = np.random.default_rng(0).permutation(len(made))
    for chosen, layer in ((order[none[order]], 1), (order[~none[order]], 2)):
        axes.scatter(
            made.points[chosen, 0], made.points[chosen, 1], s=area, c=shades[chosen],
            linewidths=0, zorder=layer, rasterized=rasterized,
        )  # fmt: skip


def _title(figure: Any, made: EmbeddingMap, theme: Theme, unit: float) -> Any:
    name, _, rest = made.headline.partition(", ") if made.name else ("", "", made.headline)
    bottom = 1 - _MARGIN - 0.022
    text = figure.text(
        _MARGIN, bottom, drawable(name or "Map of vectors"), fontsize=19 * unit, color=theme.ink, weight="bold",
        parse_math=False,
    )  # fmt: skip
    figure.text(
        _MARGIN, bottom - 0.03, drawable(rest), fontsize=11.5 * unit, color=theme.muted, parse_math=False,
    )  # fmt: skip
    return text.get_window_extent(figure.canvas.get_renderer())


def _legend(axes: Any, colors: Coloring, theme: Theme, unit: float) -> Any:
    from matplotlib.lines import Line2D

    marks = [
        Line2D(
            [], [], linestyle="", marker="o", markersize=7 * unit,
            color=theme.none if hue < 0 else theme.hues[hue], label=drawable(f"{_cut(label, 28)}  {count:,}"),
        )
        for label, hue, count in colors.legend
    ]  # fmt: skip
    legend = axes.legend(
        handles=marks, title=drawable(colors.name) or None, loc="lower left", fontsize=10.5 * unit, frameon=True,
        facecolor=theme.paper, edgecolor="none", framealpha=0.85, labelcolor=theme.ink, alignment="left",
        borderaxespad=0, handletextpad=0.2,
    )  # fmt: skip
    legend.get_title().set(color=theme.ink, fontsize=11 * unit, fontweight="bold", parse_math=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    legend.set_zorder(6)
    return legend.get_window_extent(axes.figure.canvas.get_renderer())


def _scale(figure: Any, colors: Coloring, theme: Theme, unit: float) -> None:
    axes = figure.add_axes((1 - _MARGIN - 0.22, 1 - _MARGIN - 0.02, 0.22, 0.014))
    axes.imshow(theme.shades(np.linspace(0, 1, 256))[None], aspect="auto")
    axes.set_axis_off()
    for place, value, side in ((0, colors.low, "left"), (1, colors.high, "right")):
        axes.text(
            place, -0.35, f"{value:,.6g}", transform=axes.transAxes, ha=side, va="top", fontsize=10 * unit,
            color=theme.muted,
        )  # fmt: skip
    axes.text(
        0.5, -0.35, drawable(_cut(colors.name, 36)), transform=axes.transAxes, ha="center", va="top",
        fontsize=10 * unit, color=theme.ink, parse_math=False,
    )  # fmt: skip


def _names(figure: Any, axes: Any, made: EmbeddingMap, theme: Theme, unit: float, taken: list[Any]) -> None:
    """Names with a halo, the largest groups first; one that finds no free place near its group is left out."""
    from matplotlib.patheffects import Stroke

    renderer = figure.canvas.get_renderer()
    whole = figure.bbox
    boxes = [box.expanded(1.02, 1.1) for box in taken]
    largest = max((cluster.count for cluster in made.names), default=1)
    halo = [Stroke(linewidth=3.2 * unit, foreground=theme.paper, alpha=0.9)]
    for cluster in made.names[:_MOST_NAMES]:
        size = (9.5 + 4.5 * np.sqrt(cluster.count / largest)) * unit
        options: dict[str, Any] = {"fontsize": size, "weight": "bold", "linespacing": 1.05, "parse_math": False}
        options |= {"ha": "center", "va": "center"}
        label = drawable(_lines(cluster.label))
        text = axes.text(cluster.x, cluster.y, label, color=theme.ink, zorder=5, **options)
        place = axes.transData.transform((cluster.x, cluster.y))
        box = text.get_window_extent(renderer)
        members = made.points[made.clusters == cluster.number]
        top = axes.transData.transform((cluster.x, float(np.quantile(members[:, 1], 0.95))))[1] - place[1]
        for shift in _shifts(box.height, top):
            moved = box.translated(*shift)
            inside = whole.x0 <= moved.x0 and moved.x1 <= whole.x1 and whole.y0 <= moved.y0 and moved.y1 <= whole.y1
            if inside and not any(moved.overlaps(other) for other in boxes):
                x, y = axes.transData.inverted().transform(place + shift)
                text.set_position((x, y))
                # beneath, as an artist of its own: an effect on the name would make outlines of it in an SVG
                axes.text(x, y, label, zorder=4, path_effects=halo, **options)
                boxes.append(moved.padded(3 * unit))
                break
        else:
            text.remove()


def _shifts(height: float, top: float) -> list[np.ndarray]:
    """Places to try, best first: the middle (or, of a group that its name would cover, above it), then rings around.

    Args:
        height: Of the name.
        top: How far the group reaches above its middle, in the same unit.
    """
    above = np.array([0.0, top + 0.65 * height])
    angles = np.arange(12) * (2 * np.pi / 12) + np.pi / 2
    ring = np.stack([1.8 * np.cos(angles), np.sin(angles)], axis=1) * height
    first = [above, -above, np.zeros(2)] if top < 1.2 * height else [np.zeros(2)]
    return [*first, *(0.6 * ring), *(1.1 * ring), *(1.7 * ring)]


def _lines(label: str) -> str:
    """A long label on two lines, broken at the comma nearest to its middle."""
    if len(label) <= 18 or ", " not in label:
        return label
    commas = [place + 1 for place, letter in enumerate(label) if letter == ","]
    middle = min(commas, key=lambda place: abs(place - len(label) / 2))
    return f"{label[:middle]}\n{label[middle + 1 :]}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def drawable(text: str) -> str:
    """The text with `?` for characters that the built-in font lacks."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(letter if letter == "\n" or ord(letter) in known else "?" for letter in text)
