"""The Debian package index as tables, as texts and as a graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyvec.core.errors import InvalidValueError
from polyvec.core.progress import progress
from polyvec.data.catalogue.fetch import fingerprint
from polyvec.data.catalogue.loaders.control import paragraphs, relations, stanzas
from polyvec.data.catalogue.loaders.texts import check_limit
from polyvec.data.catalogue.processed import cached_tables
from polyvec.data.catalogue.types import GraphData
from polyvec.data.documents import Document

if TYPE_CHECKING:
    import pyarrow as pa

_FORMAT = "1"  # part of the cache key: raise it when the tables change
_RELATIONS = ("Depends", "Pre-Depends", "Recommends", "Suggests")


def load_packages(
    folder: Path, *, view: str = "texts", limit: int | None = None, min_label_count: int = 300
) -> list[Document] | GraphData | dict[str, pa.Table]:
    """One of the three views of the package index.

    Args:
        folder: The fetched folder.
        view: "texts": one `Document` a package, sorted by name; the id and the title are the package's name, the text
            is the synopsis and the long description, the metadata have section, priority, maintainer, homepage,
            version, installed size and tags.
            "graph": packages joined by Depends and Pre-Depends, first alternatives only, undirected, without
            self-loops, giant component; the label is the archive section.
            "tables": Arrow tables `package`, `maintainer`, `section`, `tag`, `package_tag` and `dependency`, joined by
            the integer keys `package_id`, `maintainer_id`, `section_id`, `tag_id`.
        limit: For "texts": the first so many, by name. Default all.
        min_label_count: For "graph": sections with fewer packages in the component are no label (-1). Default 300.
    """
    if view == "texts":
        return _texts(_tables(folder), limit)
    if limit is not None:
        raise InvalidValueError(f"limit: belongs to view='texts', got it with view={view!r}; leave it out")
    if view == "graph":
        return _graph(_tables(folder), min_label_count)
    return _tables(folder)


def _tables(folder: Path) -> dict[str, pa.Table]:
    key = [_FORMAT, fingerprint(folder)]
    return cached_tables("debian-packages", key, lambda: _parse(folder))


def _parse(folder: Path) -> dict[str, pa.Table]:
    """Read the two control files into tables; a package that stands twice counts once, as it stands first."""
    import pyarrow as pa

    with progress("reading the package index"):
        texts = _descriptions(folder / "Translation-en")
        packages: dict[str, dict[str, str]] = {}
        for stanza in stanzas((folder / "Packages").read_text(encoding="utf-8", errors="replace")):
            packages.setdefault(stanza["Package"], stanza)
    names = sorted(packages)
    number = {name: position for position, name in enumerate(names)}
    rows = [packages[name] for name in names]

    maintainers, maintainer_of = _coded([row.get("Maintainer", "") for row in rows])
    sections, section_of = _coded([row.get("Section", "") for row in rows])
    tags_of = [_tags(row.get("Tag", "")) for row in rows]
    tags, tag_codes = _coded([tag for tags in tags_of for tag in tags])
    long = [texts.get(row.get("Description-md5", ""), "") for row in rows]
    package = {
        "package_id": pa.array(range(len(names)), pa.int64()),
        "name": pa.array(names),
        "version": pa.array([row.get("Version", "") for row in rows]),
        "source": pa.array([row.get("Source", name).split(" ")[0] for name, row in zip(names, rows, strict=True)]),
        "architecture": pa.array([row.get("Architecture", "") for row in rows]),
        "priority": pa.array([row.get("Priority", "") for row in rows]),
        "homepage": pa.array([row.get("Homepage") for row in rows], pa.string()),
        "size": pa.array([_integer(row.get("Size")) for row in rows], pa.int64()),
        "installed_size": pa.array([_integer(row.get("Installed-Size")) for row in rows], pa.int64()),
        "maintainer_id": pa.array(maintainer_of, pa.int64()),
        "section_id": pa.array(section_of, pa.int64()),
        "synopsis": pa.array([row.get("Description", "").partition("\n")[0] for row in rows]),
        "description": pa.array(long),
    }
    emails = [_name_and_address(text) for text in maintainers]
    return {
        "package": pa.table(package),
        "maintainer": pa.table(
            {
                "maintainer_id": pa.array(range(len(maintainers)), pa.int64()),
                "name": pa.array([name for name, _ in emails], pa.string()),
                "email": pa.array([address for _, address in emails], pa.string()),
            }
        ),
        "section": pa.table(
            {"section_id": pa.array(range(len(sections)), pa.int64()), "name": pa.array(sections, pa.string())}
        ),
        "tag": pa.table(
            {
                "tag_id": pa.array(range(len(tags)), pa.int64()),
                "name": pa.array(tags, pa.string()),
                "facet": pa.array([tag.partition("::")[0] for tag in tags], pa.string()),
            }
        ),
        "package_tag": pa.table(
            {
                "package_id": pa.array(np.repeat(np.arange(len(rows)), [len(tags) for tags in tags_of]), pa.int64()),
                "tag_id": pa.array(tag_codes, pa.int64()),
            }
        ),
        "dependency": _dependencies(rows, number),
    }


def _descriptions(path: Path) -> dict[str, str]:
    """The long descriptions by the MD5 that a package's stanza refers to them by."""
    return {
        stanza["Description-md5"]: paragraphs(stanza.get("Description-en", "").partition("\n")[2])
        for stanza in stanzas(path.read_text(encoding="utf-8", errors="replace"))
        if "Description-md5" in stanza
    }


def _dependencies(rows: list[dict[str, str]], number: dict[str, int]) -> pa.Table:
    """One row a named package: who needs it, how, in which group, as which alternative.

    `target_id` is null for a name that is no package of the index (virtual, or of another architecture).
    """
    import pyarrow as pa

    columns: dict[str, list[Any]] = {
        name: []
        for name in ("package_id", "kind", "group", "alternative", "target_name", "target_id", "version_constraint")
    }
    for position, row in enumerate(rows):
        for kind in _RELATIONS:
            for group, alternative, target, bound in relations(row.get(kind, "")):
                columns["package_id"].append(position)
                columns["kind"].append(kind)
                columns["group"].append(group)
                columns["alternative"].append(alternative)
                columns["target_name"].append(target)
                columns["target_id"].append(number.get(target))
                columns["version_constraint"].append(bound)
    types = {"kind": pa.string(), "target_name": pa.string(), "version_constraint": pa.string()}
    return pa.table({name: pa.array(values, types.get(name, pa.int64())) for name, values in columns.items()})


def _texts(tables: dict[str, pa.Table], limit: int | None) -> list[Document]:
    package = tables["package"].slice(0, check_limit(limit))
    section = tables["section"]["name"].to_pylist()
    maintainer = tables["maintainer"]["name"].to_pylist()
    tag_names = tables["tag"]["name"].to_pylist()
    tags: dict[int, list[str]] = {}
    links = tables["package_tag"]
    for package_id, tag_id in zip(links["package_id"].to_pylist(), links["tag_id"].to_pylist(), strict=True):
        tags.setdefault(package_id, []).append(tag_names[tag_id])
    return [
        Document(
            id=row["name"],
            title=row["name"],
            text="\n\n".join(part for part in (row["synopsis"], row["description"]) if part) or row["name"],
            source="debian-packages",
            metadata={
                "section": section[row["section_id"]],
                "priority": row["priority"],
                "maintainer": maintainer[row["maintainer_id"]],
                "homepage": row["homepage"],
                "version": row["version"],
                "installed_size": row["installed_size"],
                "tags": ", ".join(tags.get(row["package_id"], [])),
            },
        )
        for row in package.to_pylist()
    ]


def _graph(tables: dict[str, pa.Table], min_label_count: int) -> GraphData:
    import scipy.sparse
    from scipy.sparse.csgraph import connected_components

    count = tables["package"].num_rows
    table = tables["dependency"]
    kind = np.asarray(table["kind"].to_pylist())
    target = table["target_id"].to_numpy()  # float64 with NaN where there is no such package
    used = np.isin(kind, ("Depends", "Pre-Depends")) & (table["alternative"].to_numpy() == 0) & ~np.isnan(target)
    start, end = table["package_id"].to_numpy()[used], target[used].astype(np.int64)
    start, end = start[start != end], end[start != end]
    rows, columns = np.concatenate([start, end]), np.concatenate([end, start])
    adjacency = scipy.sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(count, count))
    adjacency.data[:] = 1.0  # two packages may need each other, or one in two ways: still one edge
    _, component = connected_components(adjacency, directed=False)
    kept = np.flatnonzero(component == np.bincount(component).argmax())
    section_id = tables["package"]["section_id"].to_numpy()[kept]
    sizes = np.bincount(section_id, minlength=tables["section"].num_rows)
    large = np.flatnonzero(sizes >= min_label_count)
    code = np.full(len(sizes), -1, np.int64)
    code[large] = np.arange(len(large))
    section = tables["section"]["name"].to_pylist()
    names = np.asarray(tables["package"]["name"].to_pylist())
    return GraphData(
        adjacency=adjacency[kept][:, kept],
        names=names[kept],
        labels=code[section_id],
        label_names=[section[position] for position in large],
    )


def _coded(values: list[str]) -> tuple[list[str], list[int]]:
    """The distinct values, sorted, and the position of each value among them."""
    distinct = sorted(set(values))
    number = {value: position for position, value in enumerate(distinct)}
    return distinct, [number[value] for value in values]


def _tags(value: str) -> list[str]:
    """The tags of a `Tag` field; "works-with::{text,image}" stands for two."""
    tags = []
    for part in value.replace("\n", " ").replace(", ", "\0").split("\0"):
        head, brace, rest = part.strip().rstrip(",").partition("{")
        tags += [head + item for item in rest.rstrip("}").split(",")] if brace else [head]
    return sorted({tag for tag in tags if tag})


def _name_and_address(text: str) -> tuple[str, str]:
    name, _, address = text.partition("<")
    return name.strip(), address.rstrip("> ")


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
