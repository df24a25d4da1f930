"""Solids of ten classes as meshes, as points on their surface, and as pictures: drawn by rule from one seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from polyvec.core.files import write_json
from polyvec.core.progress import track
from polyvec.core.randomness import numpy_generator

Floats = npt.NDArray[np.float64]
Faces = npt.NDArray[np.int32]
Mesh = tuple[Floats, Faces]

_VERSION = "1"
_POINTS = 1024
_SPLATS = 40_000  # samples that a picture is made of: about ten a pixel, so that no holes are left
_SIDE = 64  # pixels
_AROUND = 24  # vertices on a circle


def solids(folder: Path, per_class: int = 40, seed: int = 20240) -> str:
    """Write `per_class` solids of each class; proportions and orientation are random, sizes fit the unit ball."""
    generator = numpy_generator(seed)
    names = sorted(_MAKERS)
    meshes: list[Mesh] = []
    points, images = [], []
    for name in track([name for name in names for _ in range(per_class)], "making shapes"):
        vertices, faces = _MAKERS[name](generator)
        vertices = _placed(vertices * generator.uniform(0.7, 1.3, 3), generator)
        meshes.append((vertices, faces))
        points.append(_sampled(vertices, faces, _POINTS, generator)[0])
        images.append(_picture(*_sampled(vertices, faces, _SPLATS, generator)))
    arrays = {
        "vertices": np.concatenate([vertices for vertices, _ in meshes]).round(5).astype(np.float32),
        "faces": np.concatenate([faces for _, faces in meshes]).astype(np.int32),
        "vertex_ends": np.cumsum([len(vertices) for vertices, _ in meshes]),
        "face_ends": np.cumsum([len(faces) for _, faces in meshes]),
        "points": np.stack(points).round(5).astype(np.float32),
        "images": np.stack(images),
        "labels": np.repeat(np.arange(len(names)), per_class),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    write_json(folder / "classes.json", names)
    return _VERSION


def _placed(vertices: Floats, generator: np.random.Generator) -> Floats:
    """Turned at random (upright within 35 degrees), centred, scaled to the unit ball."""
    turn, tilt, lean = generator.uniform(0, 2 * np.pi), *generator.uniform(-0.6, 0.6, 2)
    for axis, angle in ((2, turn), (0, tilt), (1, lean)):
        first, second = [other for other in range(3) if other != axis]
        rotation = np.eye(3)
        rotation[[first, first, second, second], [first, second, first, second]] = (
            np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle),
        )  # fmt: skip
        vertices = vertices @ rotation.T
    vertices = vertices - (vertices.max(0) + vertices.min(0)) / 2
    return vertices / np.linalg.norm(vertices, axis=1).max()


def _sampled(vertices: Floats, faces: Faces, count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """`count` points, even over the surface, and the unit normals there."""
    first, second, third = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    normals = np.cross(second - first, third - first)
    areas = np.linalg.norm(normals, axis=1)
    chosen = generator.choice(len(faces), count, p=areas / areas.sum())
    # the square root makes the spread inside a triangle even
    depth, across = np.sqrt(generator.random((count, 1))), generator.random((count, 1))
    points = (1 - depth) * first[chosen] + depth * ((1 - across) * second[chosen] + across * third[chosen])
    return points, normals[chosen] / areas[chosen, None]


def _picture(points: Floats, normals: Floats) -> npt.NDArray[np.uint8]:
    """A grey picture seen along -y, lit from above left; of the points behind one pixel the nearest shows."""
    column = np.clip(((points[:, 0] * 0.95 + 1) / 2 * _SIDE).astype(int), 0, _SIDE - 1)
    row = np.clip(((1 - points[:, 2] * 0.95) / 2 * _SIDE).astype(int), 0, _SIDE - 1)
    facing = normals * np.where(normals[:, 1:2] > 0, -1.0, 1.0)  # winding may be either way; the seen side looks at us
    light = np.array([-0.4, -0.7, 0.59])
    shade = 60 + 190 * np.clip(facing @ light, 0, 1)
    picture = np.zeros((_SIDE, _SIDE), np.uint8)
    order = np.argsort(-points[:, 1], kind="stable")  # far to near, so that the nearest is written last
    picture[row[order], column[order]] = shade[order].astype(np.uint8)
    return picture


def _turned(profile: Floats, closed: bool = False) -> Mesh:
    """The solid that a profile (radius, height) sweeps around the z axis; `closed` joins its ends."""
    angles = np.arange(_AROUND) * (2 * np.pi / _AROUND)
    rings = [np.column_stack([radius * np.cos(angles), radius * np.sin(angles), np.full(_AROUND, height)])
             for radius, height in profile]  # fmt: skip
    count = len(profile)
    around = np.arange(_AROUND)
    beside = (around + 1) % _AROUND
    faces = []
    for ring in range(count if closed else count - 1):
        low, high = ring * _AROUND, (ring + 1) % count * _AROUND
        faces += [np.column_stack([low + around, low + beside, high + around])]
        faces += [np.column_stack([high + around, low + beside, high + beside])]
    return np.concatenate(rings), np.concatenate(faces).astype(np.int32)


def _hull(corners: list[tuple[float, float, float]], faces: list[tuple[int, ...]]) -> Mesh:
    """A solid of flat faces; each face is a convex ring of corners."""
    triangles = [(face[0], face[i], face[i + 1]) for face in faces for i in range(1, len(face) - 1)]
    return np.asarray(corners, np.float64), np.asarray(triangles, np.int32)


def _box(generator: np.random.Generator) -> Mesh:
    corners = [(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]
    return _hull(corners, [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])


def _pyramid(generator: np.random.Generator) -> Mesh:
    top = (0.0, 0.0, float(generator.uniform(1.2, 2.2)))
    base = [(-1.0, -1.0, 0.0), (1.0, -1.0, 0.0), (1.0, 1.0, 0.0), (-1.0, 1.0, 0.0)]
    return _hull([*base, top], [(0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)])


def _prism(generator: np.random.Generator) -> Mesh:
    length = float(generator.uniform(0.8, 1.6))
    ends = [(x, y, z) for y in (-length, length) for x, z in ((-1.0, -0.6), (1.0, -0.6), (0.0, 1.0))]
    return _hull(ends, [(0, 1, 2), (3, 5, 4), (0, 3, 4, 1), (1, 4, 5, 2), (2, 5, 3, 0)])


def _tetrahedron(generator: np.random.Generator) -> Mesh:
    corners = [(1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0)]
    return _hull(corners, [(0, 1, 2), (0, 3, 1), (0, 2, 3), (1, 3, 2)])


def _octahedron(generator: np.random.Generator) -> Mesh:
    corners = [(1.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, -1.0)]
    return _hull(corners, [(x, y, z) for x in (0, 1) for y in (2, 3) for z in (4, 5)])


def _sphere(generator: np.random.Generator) -> Mesh:
    angles = np.linspace(-np.pi / 2, np.pi / 2, 13)
    return _turned(np.column_stack([np.cos(angles), np.sin(angles)]))


def _cylinder(generator: np.random.Generator) -> Mesh:
    height = generator.uniform(0.6, 1.8)
    return _turned(np.array([(0, -height), (1, -height), (1, height), (0, height)]))


def _cone(generator: np.random.Generator) -> Mesh:
    return _turned(np.array([(0, 0), (1, 0), (0, generator.uniform(1.2, 2.6))]))


def _capsule(generator: np.random.Generator) -> Mesh:
    angles = np.linspace(0, np.pi / 2, 7)
    half = generator.uniform(0.8, 1.6)
    upper = np.column_stack([np.cos(angles), np.sin(angles) + half])
    return _turned(np.concatenate([upper[::-1] * (1, -1), upper]))


def _ring(generator: np.random.Generator) -> Mesh:
    angles = np.arange(16) * (2 * np.pi / 16)
    thickness = generator.uniform(0.2, 0.45)
    return _turned(np.column_stack([1 + thickness * np.cos(angles), thickness * np.sin(angles)]), closed=True)


_MAKERS: dict[str, Callable[[np.random.Generator], Mesh]] = {
    "box": _box,
    "capsule": _capsule,
    "cone": _cone,
    "cylinder": _cylinder,
    "octahedron": _octahedron,
    "prism": _prism,
    "pyramid": _pyramid,
    "ring": _ring,
    "sphere": _sphere,
    "tetrahedron": _tetrahedron,
}
