"""Maps: layout, groups, copies, odd input, files, and the map that an index keeps."""

import json

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import adjusted_rand_score

from polyvec.assess.map import NO_CLUSTER, EmbeddingMap, embedding_map, layout, mapping, stored
from polyvec.assess.map.groups import group
from polyvec.core.errors import (
    FileProblemError,
    FormatError,
    InvalidTypeError,
    InvalidValueError,
    MissingDependencyError,
    PolyvecError,
)
from polyvec.core.vectors import Vectors
from polyvec.data.documents import Document
from polyvec.search import Store

SUBJECTS = ("violin orchestra concert", "engine gearbox piston", "flour oven bread")
SIZE = 60


def blobs(dim=16, size=SIZE, seed=0):
    """Three groups of directions, their texts, and which row is of which."""
    generator = np.random.default_rng(seed)
    centres = np.eye(3, dim) * 4
    truth = np.repeat(np.arange(3), size)
    data = (centres[truth] + generator.normal(size=(3 * size, dim)) * 0.3).astype(np.float32)
    texts = [f"the {SUBJECTS[kind]} of number{row}" for row, kind in enumerate(truth)]
    return data, texts, truth


@pytest.fixture(scope="module")
def made():
    data, texts, _ = blobs()
    return embedding_map(data, texts, method="pca", name="three subjects", encoder="a model")


def distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=2)


# -- layout -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_groups_names_and_frame(method):
    data, texts, truth = blobs()
    found = embedding_map(data, texts, method=method)
    assert (len(found), found.method, found.ids) == (180, method, tuple(range(180)))
    assert (found.points.dtype, found.points.shape) == (np.float32, (180, 2))
    assert (found.clusters.dtype, found.clusters.shape) == (np.uint16, (180,))
    members = found.clusters != NO_CLUSTER
    assert members.mean() > 0.8
    assert adjusted_rand_score(truth[members], found.clusters[members]) == 1.0
    assert [cluster.number for cluster in found.names] == [0, 1, 2]
    for cluster in found.names:
        rows = found.clusters == cluster.number
        assert cluster.count == rows.sum()
        assert np.allclose([cluster.x, cluster.y], np.median(found.points[rows], axis=0))
        subject = SUBJECTS[truth[rows][0]]
        assert set(" ".join(cluster.words).split()) <= set(subject.split())
        assert set(cluster.label.replace(",", "").split()) <= set(subject.split())
    span = found.points.max(axis=0) - found.points.min(axis=0)
    assert span.max() == pytest.approx(2, abs=0.01)
    assert found.points[:, 0].var() >= found.points[:, 1].var()
    assert found.titles[5] == texts[5]


@pytest.mark.parametrize("method", ["pca", pytest.param("tsne", marks=pytest.mark.slow)])
def test_the_same_seed_gives_the_same_map(method):
    data, texts, _ = blobs()
    first, second = (embedding_map(data, texts, method=method, seed=3) for _ in range(2))
    assert np.array_equal(first.points, second.points)
    assert np.array_equal(first.clusters, second.clusters)
    assert first.names == second.names


def test_pca_keeps_the_distances_of_flat_data():
    generator = np.random.default_rng(1)
    flat = generator.normal(size=(40, 2)) @ np.linalg.qr(generator.normal(size=(9, 2)))[0].T
    points = layout.lay_out(flat.astype(np.float32), "pca", seed=0, show_progress=False)
    assert np.allclose(distances(points), distances(flat), atol=1e-5)


@pytest.mark.parametrize(("exact", "least"), [(30_000, 1.0), (10, 0.95)])
def test_neighbours_against_brute_force(exact, least, monkeypatch):
    monkeypatch.setattr(layout, "LARGEST_EXACT", exact)
    data = np.random.default_rng(2).normal(size=(300, 90)).astype(np.float32)
    data *= np.linspace(2, 0.05, 90, dtype=np.float32)  # as real vectors: some directions matter more
    found, apart = layout.nearest_neighbours(data, 8)
    everything = distances(data.astype(np.float64))
    expected = np.argsort(everything, axis=1, kind="stable")[:, :8]
    assert np.array_equal(found[:, 0], np.arange(300))
    same = np.mean([len(np.intersect1d(*pair)) / 8 for pair in zip(found, expected, strict=True)])
    assert same >= least
    assert np.allclose(apart, np.take_along_axis(everything, found.astype(int), axis=1), atol=1e-4)


@pytest.mark.parametrize("dim", [16, 100])
def test_of_many_rows_a_sample_is_laid_out_and_the_others_join_it(dim, monkeypatch):
    monkeypatch.setattr(layout, "LARGEST_LAYOUT", 100)
    monkeypatch.setattr(layout, "SAMPLE", 90)
    monkeypatch.setitem(layout._METHODS, "stub", layout._pca)  # PCA itself takes any number of rows
    data, _, truth = blobs(dim)
    points = layout.lay_out(data, "stub", seed=0, show_progress=False)
    nearest = np.argsort(distances(points), axis=1)[:, 1:6]
    assert np.mean(truth[nearest] == truth[:, None]) > 0.99
    sampled = np.sort(np.random.default_rng(0).choice(180, 90, replace=False))
    assert np.array_equal(points[sampled], layout._pca(data[sampled], 0))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["umap", "pacmap"])
def test_umap_and_pacmap(method):
    pytest.importorskip(method)
    data, texts, truth = blobs()
    first, second = (embedding_map(data, texts, method=method) for _ in range(2))
    assert np.array_equal(first.points, second.points)
    assert first.method == method
    members = first.clusters != NO_CLUSTER
    assert adjusted_rand_score(truth[members], first.clusters[members]) == 1.0
    tiny = embedding_map(data[:13], method=method)
    assert np.isfinite(tiny.points).all()
    assert len(np.unique(tiny.points, axis=0)) == 13


@pytest.mark.parametrize(
    ("installed", "rows", "method", "note"),
    [
        ({"umap", "pacmap"}, 20_000, "umap", ""),
        ({"pacmap"}, 20_000, "pacmap", ""),
        (set(), 3000, "tsne", "polyvec[maps]"),
        (set(), 20_000, "pca", "polyvec[maps]"),
        ({"umap"}, 5, "pca", ""),
        ({"umap"}, 2, "pca", ""),
    ],
)
def test_what_auto_stands_for(installed, rows, method, note, monkeypatch):
    monkeypatch.setattr(layout, "available", lambda package: package in installed)
    chosen, notes = layout.choose("auto", rows)
    assert chosen == method
    assert note in " ".join(notes)
    assert bool(notes) == bool(note)


def test_a_method_that_is_not_installed(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match=r"polyvec\[maps\]"):
        embedding_map(blobs()[0], method="umap")


# -- odd input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "pca", "tsne"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_few_rows(count, method):
    data = np.eye(count, 4, dtype=np.float32) if count < 5 else np.random.default_rng(0).normal(size=(5, 4))
    found = embedding_map(data, [f"text {row}" for row in range(count)], method=method)
    assert found.method == "pca"
    assert np.isfinite(found.points).all()
    assert len(np.unique(found.points, axis=0)) == count
    assert [cluster.count for cluster in found.names] == [count]
    assert found.names[0].label
    assert bool(found.notes) == (method == "tsne" and count > 3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_vectors(value):
    found = embedding_map(np.full((50, 6), value), method="auto")
    assert np.isfinite(found.points).all()
    assert len(np.unique(found.points, axis=0)) == 50  # copies lie beside each other
    assert np.abs(found.points).max() < 0.1
    assert [cluster.count for cluster in found.names] == [50]


def test_one_dimension():
    found = embedding_map(np.linspace(-1, 1, 20)[:, None], method="pca", metric="l2")
    assert np.all(np.diff(found.points[:, 0]) * np.sign(found.points[-1, 0] - found.points[0, 0]) > 0)
    assert not found.points[:, 1].any()


def test_copies_lie_around_their_place(made):
    data, texts, _ = blobs()
    data[100:110] = data[20]
    found = embedding_map(data, texts, method="pca")
    alike = found.points[[20, *range(100, 110)]]
    assert 0 < distances(alike).max() < 0.04
    assert len(np.unique(alike, axis=0)) == 11
    single = np.setdiff1d(np.arange(180), [*range(100, 110)])
    alone = embedding_map(data[single], method="pca")
    assert np.allclose(found.points[single], alone.points, atol=1e-5)


def test_equal_hashes_do_not_make_rows_equal(monkeypatch):
    monkeypatch.setattr(mapping, "row_hashes", lambda block, _: np.zeros(len(block), dtype=np.uint64))
    data, _, _ = blobs()
    different, copy_of = mapping._different(np.concatenate([data, data[:2]]))
    assert different.tolist() == [*range(180), 181]  # a copy is found by comparison with the first of its hash
    assert copy_of.tolist() == [*range(180), 0, 180]


def test_rows_of_zeros_and_scale():
    data, texts, _ = blobs()
    data[7] = 0
    found = embedding_map(data, texts, method="pca")
    assert np.isfinite(found.points).all()
    scaled = embedding_map(data * np.linspace(1, 9, 180)[:, None].astype(np.float32), texts, method="pca")
    assert np.allclose(found.points, scaled.points, atol=1e-3)  # by cosine, lengths do not count
    longer = embedding_map(data * np.linspace(1, 9, 180)[:, None].astype(np.float32), method="pca", metric="l2")
    assert not np.allclose(found.points, longer.points, atol=1e-1)


def test_names_without_texts():
    data, _, truth = blobs()
    numbered = embedding_map(data, method="pca")
    assert [cluster.label for cluster in numbered.names] == ["group 1", "group 2", "group 3"]
    assert numbered.titles is None
    assert numbered.title(4) == "4"
    words = embedding_map(Vectors(data, ids=[f"word{row}" for row in range(180)]), method="pca")
    for cluster in words.names:
        assert truth[int(cluster.label.removeprefix("word"))] == truth[words.clusters == cluster.number][0]


def test_documents_and_functions_as_texts():
    data, texts, _ = blobs()
    documents = [Document(f"d{row}", text, f"Title {row}") for row, text in enumerate(texts)]
    ids = [document.id for document in documents]
    found = embedding_map(Vectors(data, ids=ids), lambda keys: [documents[int(key[1:])] for key in keys], method="pca")
    assert found.titles[3] == "Title 3"
    assert found.ids[3] == "d3"


def test_so_many_groups_as_asked_for(made):
    data, texts, _ = blobs()
    found = embedding_map(data, texts, method="pca", n_clusters=7)
    assert [cluster.number for cluster in found.names] == list(range(7))
    assert sum(cluster.count for cluster in found.names) == 180
    assert [cluster.count for cluster in found.names] == sorted((c.count for c in found.names), reverse=True)
    assert len({cluster.label for cluster in found.names}) == 7


def test_groups_of_many_points_follow_a_sample(monkeypatch):
    from polyvec.assess.map import groups

    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2, 3], [400, 300, 200, 100])
    points = generator.normal(size=(1000, 2)) * 0.05 + np.array([[0, 0], [1, 0], [0, 1], [1, 1]])[truth]
    whole = group(points, None, 0)
    monkeypatch.setattr(groups, "LARGEST_HDBSCAN", 400)
    sampled = group(points, None, 0)
    for found in (whole, sampled):
        members = found != NO_CLUSTER
        assert members.mean() > 0.8
        assert np.array_equal(truth[members], found[members])  # the largest first


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "isomap"}, InvalidValueError, "method: got 'isomap', needs one of auto, umap"),
        ({"metric": "dot"}, InvalidValueError, "metric: got 'dot'"),
        ({"n_clusters": 0}, InvalidValueError, "n_clusters: got 0, needs 1 to 1000"),
        ({"n_clusters": 2.5}, InvalidTypeError, "n_clusters: got float"),
        ({"seed": -1}, InvalidValueError, "seed: got -1"),
        ({"texts": ["one"]}, InvalidValueError, "texts: got 1 for 180 vectors"),
        ({"texts": "one"}, InvalidTypeError, "texts: got str"),
        ({"texts": [1] * 180}, InvalidTypeError, "texts: got an element of type int"),
        ({"labels": ["a"]}, InvalidValueError, "labels: got 1 for 180 vectors"),
        ({"labels": [object()] * 180}, InvalidTypeError, "labels: got a value of type object"),
        ({"vectors": np.zeros((0, 3))}, InvalidValueError, "vectors: got 0 rows, needs at least 1"),
        ({"vectors": np.zeros(3)}, InvalidValueError, "needs two dimensions"),
        ({"vectors": np.array([[1.0], [np.nan]])}, InvalidValueError, "vectors: row 1 holds NaN or infinity"),
        ({"vectors": [["a"]]}, InvalidTypeError, "needs real numbers"),
    ],
)
@pytest.mark.usefixtures("own_messages")
def test_bad_input(change, error, message):
    arguments = {"vectors": blobs()[0], "method": "pca", **change}
    with pytest.raises(error, match=message.replace("[", r"\[")) as told:
        embedding_map(arguments.pop("vectors"), **arguments)
    assert "\n" not in str(told.value)


# -- files --------------------------------------------------------------------------------------------------------


def test_save_and_load(made, tmp_path):
    path = tmp_path / "new" / "map.arrow"
    full = made.with_labels([None if row == 3 else row / 2 for row in range(180)], "half")
    for one in (made, full):
        one.save(path)
        again = EmbeddingMap.load(path)
        assert np.array_equal(again.points, one.points)
        assert again.points.dtype == np.float32
        assert np.array_equal(again.clusters, one.clusters)
        assert again.clusters.dtype == np.uint16
        for name in ("ids", "names", "method", "titles", "labels", "label_name", "name", "encoder", "seed", "notes"):
            assert getattr(again, name) == getattr(one, name), name
        assert again.to_dict() == one.to_dict()


def test_what_is_no_map(made, tmp_path):
    path = tmp_path / "map.arrow"
    made.save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-50])
    with pytest.raises(FormatError, match="damaged or not a map"):
        EmbeddingMap.load(path)
    Vectors(np.eye(3)).save(path)
    with pytest.raises(FormatError, match="but no map; make one with: polyvec map"):
        EmbeddingMap.load(path)
    table = made.to_table()
    newer = {b"polyvec-map": json.dumps({"format": 99}).encode()}
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.replace_schema_metadata(newer).schema) as out:
        out.write_table(table.replace_schema_metadata(newer))
    with pytest.raises(FormatError, match="format 99"):
        EmbeddingMap.load(path)
    with pytest.raises(FileProblemError, match="no such file"):
        EmbeddingMap.load(tmp_path / "none.arrow")


def test_to_dict_is_json(made):
    told = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert (told["count"], told["method"], len(told["clusters"])) == (180, "pca", 3)
    assert told["x"] == [float(made.points[:, 0].min()), float(made.points[:, 0].max())]
    assert set(told["clusters"][0]) == {"number", "label", "words", "count", "x", "y"}


# -- the map of an index ------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    data, texts, truth = blobs()
    store = Store.create(tmp_path / "index", dim=16)
    documents = [
        Document(f"d{row}", text, metadata={"kind": int(truth[row]), "subject": SUBJECTS[truth[row]]})
        for row, text in enumerate(texts)
    ]
    store.add(documents, data)
    return store


def test_the_map_of_an_index_is_kept_until_the_index_changes(store, monkeypatch):
    first = stored.store_map(store, method="pca")
    place = stored.kept_map_path(store)
    assert place.is_file()
    assert first.ids == tuple(store.ids())
    assert first.name == "index"
    drawn = []
    monkeypatch.setattr(stored, "embedding_map", lambda *a, **o: drawn.append(o) or embedding_map(*a, **o))
    again = stored.store_map(store, method="pca")
    assert (drawn, again.names) == ([], first.names)
    assert np.array_equal(again.points, first.points)
    stored.store_map(store, method="pca", seed=5)
    stored.store_map(store, method="pca", seed=5, n_clusters=4)
    assert len(drawn) == 2
    store.add([Document("new", "the flour oven bread of late")], blobs()[0][-1:])
    found = stored.store_map(store, method="pca", seed=5, n_clusters=4)
    assert (len(drawn), len(found), found.ids[-1]) == (3, 181, "new")
    place.write_bytes(b"damaged")
    assert len(stored.store_map(store, method="pca", seed=5, n_clusters=4)) == 181
    assert EmbeddingMap.load(place).made_from["version"] == store.reader().snapshot.version


def test_a_map_is_drawn_where_it_cannot_be_kept(store, monkeypatch):
    stored.kept_map_path(store).parent.write_text("a file where the folder should be")
    assert len(stored.store_map(store, method="pca")) == 180


def test_colours_of_an_index(store):
    found = stored.store_map(store, method="pca", color="subject")
    assert (found.label_name, found.labels[0], found.labels[-1]) == ("subject", SUBJECTS[0], SUBJECTS[2])
    assert EmbeddingMap.load(stored.kept_map_path(store)).labels is None
    with pytest.raises(PolyvecError, match=r"has no column 'colour'; it has .*kind"):
        stored.store_map(store, method="pca", color="colour")


def test_an_empty_index(tmp_path):
    with pytest.raises(InvalidValueError, match="holds no documents"):
        stored.store_map(Store.create(tmp_path / "empty", dim=3))
