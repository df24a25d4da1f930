"""WordNet: synonym sets as texts, as a graph and as triples.

The data files hold one synset a line: offset, file number, part of speech, its words, pointers to other synsets, and
after a bar the gloss.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polyvec.core.errors import InvalidValueError
from polyvec.core.progress import progress
from polyvec.data.catalogue.fetch import fingerprint
from polyvec.data.catalogue.loaders.texts import check_limit
from polyvec.data.catalogue.processed import cached_tables
from polyvec.data.catalogue.types import GraphData, TripleSet
from polyvec.data.documents import Document

if TYPE_CHECKING:
    import pyarrow as pa

_FORMAT = "1"  # part of the cache key: raise it when the tables change
_PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
_FILES = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute",
    "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group",
    "noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant",
    "noun.possession", "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state",
    "noun.substance", "noun.time", "verb.body", "verb.change", "verb.cognition", "verb.communication",
    "verb.competition", "verb.consumption", "verb.contact", "verb.creation", "verb.emotion", "verb.motion",
    "verb.perception", "verb.possession", "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)  # fmt: skip
_RELATIONS = {
    "!": "antonym", "@": "hypernym", "@i": "instance_hypernym", "~": "hyponym", "~i": "instance_hyponym",
    "#m": "member_holonym", "#s": "substance_holonym", "#p": "part_holonym",
    "%m": "member_meronym", "%s": "substance_meronym", "%p": "part_meronym",
    "=": "attribute", "+": "derivation", "*": "entailment", ">": "cause", "^": "also_see", "$": "verb_group",
    "&": "similar_to", "<": "participle", "\\": "pertainym",
    ";c": "topic_domain", "-c": "topic_member", ";r": "region_domain", "-r": "region_member",
    ";u": "usage_domain", "-u": "usage_member",
}  # fmt: skip
# of two relations that say the same in opposite directions one is kept as triples, so that no fact stands twice
_INVERSES = {
    "hyponym", "instance_hyponym", "member_meronym", "substance_meronym", "part_meronym",
    "topic_member", "region_member", "usage_member",
}  # fmt: skip
_SYMMETRIC = {"antonym", "attribute", "derivation", "verb_group", "similar_to"}


def load_wordnet(
    folder: Path, *, view: str = "texts", limit: int | None = None
) -> list[Document] | GraphData | TripleSet:
    """One of the three views of WordNet 3.0.

    Args:
        folder: The fetched folder.
        view: "texts": one `Document` a synset; the id is part of speech and offset ("n02084071"), the title its words,
            the text the gloss with its examples, the metadata part of speech and lexicographer file.
            "graph": synsets joined by any pointer, undirected; the label is the lexicographer file ("noun.animal");
            `edge_types` has one directed adjacency a relation.
            "triples": the pointers as facts. Of inverse relations (hypernym and hyponym) one is kept, symmetric ones
            stand once. There is one split, "all": choose your own.
        limit: For "texts": the first so many. Default all.
    """
    synset, pointer = _tables(folder)["synset"], _tables(folder)["pointer"]
    if view == "texts":
        return _texts(synset, limit)
    if limit is not None:
        raise InvalidValueError(f"limit: belongs to view='texts', got it with view={view!r}; leave it out")
    names = synset["id"].to_pylist()
    start, end = pointer["synset"].to_numpy(), pointer["target"].to_numpy()
    relation = np.asarray(pointer["relation"].to_pylist())
    if view == "graph":
        return _graph(names, synset["file"].to_pylist(), start, end, relation)
    return _triples(names, start, end, relation)


def _tables(folder: Path) -> dict[str, pa.Table]:
    return cached_tables("wordnet", [_FORMAT, fingerprint(folder)], lambda: _parse(folder))


def _parse(folder: Path) -> dict[str, pa.Table]:
    import pyarrow as pa

    with progress("reading WordNet"):
        rows = [row for part, letter in _PARTS.items() for row in _synsets(folder / f"data.{part}", letter)]
    number = {row[0]: position for position, row in enumerate(rows)}
    pointers = sorted(
        {(number[row[0]], _RELATIONS[symbol], number[target]) for row in rows for symbol, target in row[4]}
    )
    synset = {
        "id": [row[0] for row in rows],
        "file": [row[1] for row in rows],
        "words": [row[2] for row in rows],
        "gloss": [row[3] for row in rows],
    }
    return {
        "synset": pa.table(synset),
        "pointer": pa.table(
            {
                "synset": pa.array([each[0] for each in pointers], pa.int64()),
                "relation": pa.array([each[1] for each in pointers], pa.string()),
                "target": pa.array([each[2] for each in pointers], pa.int64()),
            }
        ),
    }


def _synsets(path: Path, letter: str) -> Iterator[tuple[str, str, str, str, list[tuple[str, str]]]]:
    """`(id, lexicographer file, words, gloss, [(pointer symbol, target id)])` of each line of a data file."""
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("  "):  # the licence stands at the top, indented
            continue
        data, _, gloss = line.partition(" | ")
        fields = data.split(" ")
        words_end = 4 + 2 * int(fields[3], 16)
        words = [word.partition("(")[0].replace("_", " ") for word in fields[4:words_end:2]]
        count = int(fields[words_end])
        links = fields[words_end + 1 : words_end + 1 + 4 * count]
        targets = [
            (symbol, ("a" if part == "s" else part) + offset)
            for symbol, offset, part in zip(links[0::4], links[1::4], links[2::4], strict=True)
        ]
        yield letter + fields[0], _FILES[int(fields[1])], ", ".join(words), gloss.strip(), targets


def _texts(synset: pa.Table, limit: int | None) -> list[Document]:
    return [
        Document(
            id=row["id"],
            title=row["words"],
            text=row["gloss"],
            source="wordnet",
            metadata={"part_of_speech": row["file"].partition(".")[0], "file": row["file"]},
        )
        for row in synset.slice(0, check_limit(limit)).to_pylist()
    ]


def _graph(names: list[str], files: list[str], start: np.ndarray, end: np.ndarray, relation: np.ndarray) -> GraphData:
    import scipy.sparse

    size = (len(names), len(names))

    def adjacency(rows: np.ndarray, columns: np.ndarray) -> scipy.sparse.csr_matrix:
        made = scipy.sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=size)
        made.data[:] = 1.0
        return made

    other = start != end
    rows, columns = start[other], end[other]
    label_names = sorted(set(files))
    code = {name: position for position, name in enumerate(label_names)}
    return GraphData(
        adjacency=adjacency(np.concatenate([rows, columns]), np.concatenate([columns, rows])),
        names=np.asarray(names),
        labels=np.asarray([code[name] for name in files], np.int64),
        label_names=label_names,
        edge_types={
            str(name): adjacency(start[relation == name], end[relation == name]) for name in np.unique(relation)
        },
    )


def _triples(names: list[str], start: np.ndarray, end: np.ndarray, relation: np.ndarray) -> TripleSet:
    kept = ~np.isin(relation, list(_INVERSES)) & ~(np.isin(relation, list(_SYMMETRIC)) & (start > end))
    relations, codes = np.unique(relation[kept], return_inverse=True)
    triples = np.column_stack([start[kept], codes, end[kept]]).astype(np.int64)
    return TripleSet(triples, names, [str(name) for name in relations], {"all": np.arange(len(triples))})
