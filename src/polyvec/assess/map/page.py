"""A map as a page: one file, nothing from outside, a plain canvas, and a list for those who do not see or point."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from polyvec.assess.map.palette import THEMES, Coloring, Theme, cluster_hues, coloring
from polyvec.assess.map.plane import EmbeddingMap

_SHADES = 64  # steps of the colour ramp for numbers


def map_html(made: EmbeddingMap) -> str:
    """The page as text."""
    from polyvec import __version__

    style = files("polyvec.assess.map").joinpath("page.css").read_text(encoding="utf-8")
    script = files("polyvec.assess.map").joinpath("page.js").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {_source(script)}"
    name, _, rest = made.headline.partition(", ") if made.name else ("Map of vectors", "", made.headline)
    remarks = "".join(f'<p class="muted">{escape(line)}</p>' for line in made.notes)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="generator" content="polyvec {escape(__version__)}">
<title>{escape(name)}: map</title>
<style>{style}</style>
</head>
<body>
<header><div><h1>{escape(name)}</h1><p class="muted">{escape(rest)}</p>{remarks}</div>
<button type="button" id="theme">Light / dark</button></header>
<main>
<canvas id="map" tabindex="0" role="img" aria-label="Map of {len(made):,} documents. Arrow keys move, plus and minus
zoom, 0 shows all. The same documents are in the list that follows."></canvas>
<div id="tip" role="presentation"></div>
<ul id="legend" aria-label="Colours"></ul>
<div id="tools"><button type="button" id="in" aria-label="Zoom in">+</button>
<button type="button" id="out" aria-label="Zoom out">−</button>
<button type="button" id="all">Show all</button></div>
</main>
<aside aria-label="Documents">
<div class="find"><label for="find">Find in titles</label><input id="find" type="search" autocomplete="off">
<p id="said" class="muted" role="status"></p></div>
<div id="list" class="scroll"></div>
</aside>
<script type="application/json" id="data">{_json(_content(made))}</script>
<script>{script}</script>
</body>
</html>
"""


def _source(script: str) -> str:
    """What a content security policy calls this very script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _json(content: Any) -> str:
    """JSON that can stand in a page: no text in it can end the element."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return text.encode("utf-8", "replace").decode("utf-8")


def _content(made: EmbeddingMap) -> dict[str, Any]:
    low = made.points.min(axis=0) if len(made) else np.zeros(2)
    size = (made.points.max(axis=0) - low) if len(made) else np.zeros(2)
    span = np.where(size > 0, size, 1.0)
    places = np.where(size > 0, (made.points - low) / span * 65535, 32767)
    width, height = float(max(size[0], 0.02)), float(max(size[1], 0.02))

    def across(x: float) -> float:
        return float((x - low[0]) / span[0]) * width if size[0] > 0 else width / 2

    def down(y: float) -> float:
        return (1 - float((y - low[1]) / span[1])) * height if size[1] > 0 else height / 2

    colors = coloring(made)
    shades, number = _shades(colors)
    hues = cluster_hues(made.names)
    content: dict[str, Any] = {
        "points": _encoded(np.rint(places).astype("<u2")),
        "clusters": _encoded(made.clusters.astype("<u2")),
        "shades": _encoded(shades),
        "none": number,
        "width": width,
        "height": height,
        "ids": list(made.ids)
        if made.titles is None
        else [None if made.titles[row] else key for row, key in enumerate(made.ids)],
        "titles": None if made.titles is None else list(made.titles),
        "clusterNames": [
            {
                "number": cluster.number,
                "label": cluster.label,
                "words": list(cluster.words),
                "count": cluster.count,
                "px": across(cluster.x),
                "py": down(cluster.y),
                "top": down(_top(made, cluster.number)),
                "shade": int(hues[place]),
            }
            for place, cluster in enumerate(made.names)
        ],
        "themes": {name: _theme(theme, colors) for name, theme in THEMES.items()},
        "labelName": (colors.name or "colour") if colors.kind != "clusters" else "",
        "legend": [[label, number if hue < 0 else hue, size] for label, hue, size in colors.legend],
    }
    if made.labels is not None:
        content["values"] = [_shown(value) for value in made.labels]
    if colors.kind == "numbers":
        content["range"] = [f"{colors.low:,.6g}", f"{colors.high:,.6g}"]
    return content


def _top(made: EmbeddingMap, number: int) -> float:
    """How far up a group reaches, without its outermost points."""
    return float(np.quantile(made.points[made.clusters == number, 1], 0.95))


def _shown(value: Any) -> Any:
    """A value for the page; infinity is no JSON."""
    return value if isinstance(value, (str, bool, int)) or value is None else f"{value:,.6g}"


def _encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _shades(colors: Coloring) -> tuple[np.ndarray, int]:
    """`(number of each row's colour, number of the colour for none)`."""
    if colors.kind == "numbers":
        steps = np.rint(np.nan_to_num(colors.of) * (_SHADES - 1)).astype(np.uint8)
        steps[np.isnan(colors.of)] = _SHADES
        return steps, _SHADES
    number = len(THEMES["light"].hues)
    return np.where(colors.of < 0, number, colors.of).astype(np.uint8), number


def _theme(theme: Theme, colors: Coloring) -> dict[str, Any]:
    shades: list[str] = list(theme.hues)
    if colors.kind == "numbers":
        from matplotlib.colors import to_hex

        shades = [to_hex(shade) for shade in theme.shades(np.linspace(0, 1, _SHADES))]
    return {"paper": theme.paper, "ink": theme.ink, "none": theme.none, "colors": [*shades, theme.none]}
