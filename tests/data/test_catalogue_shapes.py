"""The generated solids: true solids, inside the unit ball, the same in every run."""

import numpy as np
import pytest

from polyvec.data.catalogue.generators.shapes import solids
from polyvec.data.catalogue.loaders.files import load_shapes

PER_CLASS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("solids")
    assert solids(made, per_class=PER_CLASS) == "1"
    return made


def test_the_same_seed_gives_the_same_files_and_another_seed_others(folder, tmp_path):
    again, other = tmp_path / "again", tmp_path / "other"
    again.mkdir()
    other.mkdir()
    solids(again, per_class=PER_CLASS)
    solids(other, per_class=PER_CLASS, seed=1)
    for path in folder.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()
    assert (folder / "points.npy").read_bytes() != (other / "points.npy").read_bytes()


def merged(vertices, faces):
    """The mesh with vertices of one place made one, and without triangles that have no area (at the poles)."""
    _, number = np.unique(vertices.round(4), axis=0, return_inverse=True)
    faces = number.reshape(-1)[faces]
    return faces[[len(set(face)) == 3 for face in faces.tolist()]]


def test_every_mesh_is_a_closed_surface_and_only_the_ring_has_a_hole(folder):
    details = load_shapes(folder, view="meshes").details
    assert len(details["meshes"]) == 10 * PER_CLASS
    for (vertices, faces), label in zip(details["meshes"], details["labels"], strict=True):
        clean = merged(vertices, faces)
        edges = np.sort(np.concatenate([clean[:, [0, 1]], clean[:, [1, 2]], clean[:, [2, 0]]]), axis=1)
        kinds, counts = np.unique(edges, axis=0, return_counts=True)
        assert (counts == 2).all()  # each edge belongs to two triangles
        characteristic = len(np.unique(clean)) - len(kinds) + len(clean)
        assert characteristic == (0 if details["label_names"][label] == "ring" else 2)
        assert np.linalg.norm(vertices, axis=1).max() == pytest.approx(1, abs=1e-4)


def test_points_lie_on_the_surface(folder):
    points = load_shapes(folder, view="points").details
    meshes = load_shapes(folder, view="meshes").details["meshes"]
    assert points["points"].shape == (10 * PER_CLASS, 1024, 3)
    for cloud, (vertices, faces), label in zip(points["points"], meshes, points["labels"], strict=True):
        if points["label_names"][label] not in {"box", "tetrahedron", "octahedron", "prism", "pyramid"}:
            continue
        # of a convex solid a point of the surface lies in the plane of a face and inside of all others
        first, second, third = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
        normals = np.cross(second - first, third - first)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        outward = np.sign(((first - vertices.mean(0)) * normals).sum(1, keepdims=True))
        heights = (cloud @ (normals * outward).T) - (first * normals * outward).sum(1)
        assert np.abs(heights.max(1)).max() < 1e-3


def test_pictures_and_meshes_belong_together(folder):
    pictures = load_shapes(folder, view="images")
    points = load_shapes(folder, view="points").details
    assert pictures.images.shape == (10 * PER_CLASS, 64, 64)
    assert pictures.labels.tolist() == np.repeat(np.arange(10), PER_CLASS).tolist()
    assert pictures.label_names == points["label_names"] == sorted(points["label_names"])
    for picture, (vertices, _) in zip(
        pictures.images, load_shapes(folder, view="meshes").details["meshes"], strict=True
    ):
        rows, columns = np.nonzero(picture)
        # the outline spans what the mesh spans, to within two pixels
        assert columns.min() / 32 - 1 == pytest.approx(vertices[:, 0].min() * 0.95, abs=2 / 32)
        assert (columns.max() + 1) / 32 - 1 == pytest.approx(vertices[:, 0].max() * 0.95, abs=2 / 32)
        assert 1 - rows.min() / 32 == pytest.approx(vertices[:, 2].max() * 0.95, abs=2 / 32)
