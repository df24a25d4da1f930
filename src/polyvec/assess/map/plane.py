"""`EmbeddingMap`: where each vector lies in the picture, in which group, and what the groups are called."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from polyvec.core.errors import FormatError, InvalidTypeError, InvalidValueError, PolyvecError
from polyvec.core.files import atomic_path, file_problem

NO_CLUSTER = 65535
"""Number of the cluster of rows that belong to none."""

Theme = Literal["light", "dark"]

_FORMAT = 1
_KEY = b"polyvec-map"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A group of rows that lie together.

    Attributes:
        number: Its number in `EmbeddingMap.clusters`; 0 is the largest group.
        label: Its name, short, unique in the map and never empty.
        words: What distinguishes its texts, the most distinctive first; may be empty when there are no texts.
        count: Number of rows.
        x: Where its name belongs: the median of its points.
        y: The other coordinate.
    """

    number: int
    label: str
    words: tuple[str, ...]
    count: int
    x: float
    y: float

    def to_dict(self) -> dict[str, Any]:
        """As a plain dictionary, ready for JSON."""
        return {**asdict(self), "words": list(self.words)}


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingMap:
    """A map of vectors in two dimensions, made by `embedding_map`.

    Attributes:
        ids: Ids of the rows, all int or all str.
        points: Coordinates `(n, 2)`, float32; the longer side goes from -1 to 1.
        clusters: Number of each row's cluster `(n,)`, uint16; 65535 for rows that belong to none.
        names: The clusters, by their numbers.
        method: What made the layout: `umap`, `pacmap`, `tsne` or `pca`.
        titles: What each row is called in a picture, or `None`.
        labels: A value of each row by which it may be coloured (texts, numbers or `None`), or `None`.
        label_name: What the labels are.
        name: What the vectors are called.
        encoder: What made the vectors.
        seed: Seed of the layout.
        notes: What a reader should know: another method than asked for, a sample that was laid out.
        made_from: What the map was made from (version of a store, for example), to tell a stale one.
    """

    ids: tuple[int | str, ...]
    points: np.ndarray
    clusters: np.ndarray
    names: tuple[Cluster, ...]
    method: str
    titles: tuple[str, ...] | None = None
    labels: tuple[Any, ...] | None = None
    label_name: str = ""
    name: str = ""
    encoder: str = ""
    seed: int | None = 0
    notes: tuple[str, ...] = ()
    made_from: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        return f"EmbeddingMap(n={len(self)}, clusters={len(self.names)}, method={self.method!r})"

    def title(self, row: int) -> str:
        """What a row is called: its title, else its id."""
        return (self.titles[row] if self.titles is not None else "") or str(self.ids[row])

    @property
    def headline(self) -> str:
        """Name, number of vectors, encoder and method in one line."""
        count = f"{len(self):,} vector{'' if len(self) == 1 else 's'}"
        made = f"{count} by {self.encoder}" if self.encoder else count
        shown = {"umap": "UMAP", "pacmap": "PaCMAP", "tsne": "t-SNE", "pca": "PCA"}.get(self.method, self.method)
        return ", ".join(part for part in (self.name, made, shown) if part)

    def with_labels(self, labels: Any, name: str = "") -> EmbeddingMap:
        """The same map coloured by a value of each row (texts, numbers, `None` where it is missing).

        Raises:
            InvalidTypeError: Not one value a row; values that are neither texts nor numbers.
            InvalidValueError: Another number of values than rows.
        """
        if labels is None:
            return replace(self, labels=None, label_name="")
        return replace(self, labels=checked_labels(labels, len(self)), label_name=name)

    def to_dict(self) -> dict[str, Any]:
        """What the map is, without its points: count, method, clusters and ranges; ready for JSON."""
        low, high = (self.points.min(axis=0), self.points.max(axis=0)) if len(self) else (np.zeros(2), np.zeros(2))
        return {
            "name": self.name,
            "encoder": self.encoder,
            "count": len(self),
            "method": self.method,
            "seed": self.seed,
            "unclustered": int(np.count_nonzero(self.clusters == NO_CLUSTER)),
            "clusters": [cluster.to_dict() for cluster in self.names],
            "x": [float(low[0]), float(high[0])],
            "y": [float(low[1]), float(high[1])],
            "notes": list(self.notes),
        }

    def to_table(self) -> pa.Table:
        """Columns `id`, `x`, `y`, `cluster`, and `title` and `label` where there are such."""
        columns: dict[str, Any] = {
            "id": pa.array(self.ids),
            "x": pa.array(self.points[:, 0]),
            "y": pa.array(self.points[:, 1]),
            "cluster": pa.array(self.clusters),
        }
        if self.titles is not None:
            columns["title"] = pa.array(self.titles, pa.string())
        if self.labels is not None:
            columns["label"] = pa.array(self.labels)
        told = {
            "format": _FORMAT,
            "method": self.method,
            "names": [cluster.to_dict() for cluster in self.names],
            "label_name": self.label_name,
            "name": self.name,
            "encoder": self.encoder,
            "seed": self.seed,
            "notes": list(self.notes),
            "made_from": dict(self.made_from),
        }
        return pa.table(columns).replace_schema_metadata({_KEY: json.dumps(told, ensure_ascii=False).encode()})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map as an Arrow file, atomically.

        Raises:
            FileProblemError: The file cannot be written.
        """
        table = self.to_table()
        with (
            atomic_path(path) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EmbeddingMap:
        """Read what `save` wrote.

        Raises:
            FileProblemError: The file cannot be read.
            FormatError: It is damaged, or no map.
        """
        try:
            with open(path, "rb") as handle:
                table = pa.ipc.open_file(pa.BufferReader(handle.read())).read_all()
            return cls._of(table)
        except PolyvecError as error:
            raise type(error)(f"{os.fspath(path)}: {error}") from error
        except OSError as error:
            if error.errno is None:  # Arrow's, for damaged content
                raise FormatError(f"{os.fspath(path)}: damaged or not a map ({_line(error)})") from error
            raise file_problem(error, path, "read") from error
        except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{os.fspath(path)}: damaged or not a map ({_line(error)})") from error

    @classmethod
    def _of(cls, table: pa.Table) -> EmbeddingMap:
        content = (table.schema.metadata or {}).get(_KEY)
        if content is None:
            raise FormatError("is an Arrow file, but no map; make one with: polyvec map")
        told = json.loads(content)
        if told["format"] > _FORMAT:
            raise FormatError(f"is a map of format {told['format']}, needs {_FORMAT} or older; upgrade polyvec")
        points = np.stack([table[axis].to_numpy().astype(np.float32) for axis in ("x", "y")], axis=1)
        names = table.column_names
        return cls(
            ids=tuple(table["id"].to_pylist()),
            points=points,
            clusters=table["cluster"].to_numpy().astype(np.uint16),
            names=tuple(Cluster(**{**row, "words": tuple(row["words"])}) for row in told["names"]),
            method=told["method"],
            titles=tuple(table["title"].to_pylist()) if "title" in names else None,
            labels=tuple(table["label"].to_pylist()) if "label" in names else None,
            label_name=told["label_name"],
            name=told["name"],
            encoder=told["encoder"],
            seed=told["seed"],
            notes=tuple(told["notes"]),
            made_from=told["made_from"],
        )

    def save_png(
        self, path: str | os.PathLike[str], *, theme: Theme = "light", size: tuple[int, int] = (1600, 1200)
    ) -> None:
        """Draw the map as a PNG of `size` pixels.

        Raises:
            InvalidValueError: An unknown theme, a size below 200 or above 20,000 pixels.
            FileProblemError: The file cannot be written.
        """
        from polyvec.assess.map.picture import save_picture

        save_picture(self, path, "png", theme=theme, size=size)

    def save_svg(
        self, path: str | os.PathLike[str], *, theme: Theme = "light", size: tuple[int, int] = (1600, 1200)
    ) -> None:
        """Draw the map as an SVG; names stay text, and beyond 5,000 points the points are one embedded image.

        Raises: as `save_png`.
        """
        from polyvec.assess.map.picture import save_picture

        save_picture(self, path, "svg", theme=theme, size=size)

    def to_html(self) -> str:
        """A page to explore the map, that needs nothing from outside itself."""
        from polyvec.assess.map.page import map_html

        return map_html(self)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write `to_html` to `path`, atomically.

        Raises:
            FileProblemError: The file cannot be written.
        """
        from polyvec.core.files import write_text

        write_text(path, self.to_html())


def checked_labels(labels: Any, count: int) -> tuple[Any, ...]:
    """One text or number a row; NumPy's and Arrow's are made Python's, NaN becomes `None`."""
    if isinstance(labels, (str, bytes)) or not hasattr(labels, "__len__"):
        raise InvalidTypeError(f"labels: got {type(labels).__name__}, needs one value a row")
    for method in ("to_pylist", "tolist", "to_list"):
        if hasattr(labels, method):
            labels = getattr(labels, method)()
            break
    if len(labels) != count:
        raise InvalidValueError(f"labels: got {len(labels)} for {count} vectors, needs one each")
    checked = tuple(None if isinstance(value, float) and value != value else value for value in labels)
    kinds = {type(value) for value in checked if value is not None}
    if odd := kinds - {str, int, float, bool}:
        raise InvalidTypeError(f"labels: got a value of type {odd.pop().__name__}, needs texts or numbers")
    if str in kinds and len(kinds) > 1:
        checked = tuple(None if value is None else str(value) for value in checked)
    return checked


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
