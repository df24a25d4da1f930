"""Entries whose readers live elsewhere: the files, with what is cheap to say about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from polyvec.core.errors import FormatError
from polyvec.data.catalogue.types import FileSet, ImageSet
from polyvec.data.catalogue.verify import RECORD


def load_files(folder: Path) -> FileSet:
    """The plain files of a folder (or the one file) by their path relative to it."""
    if folder.is_file():
        return FileSet(folder.parent, {folder.name: folder})
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return FileSet(folder, {path.relative_to(folder).as_posix(): path for path in paths})


def load_pybullet(folder: Path, *, view: str = "poses") -> FileSet:
    """Motion capture clips, or meshes.

    Args:
        folder: The fetched folder.
        view: "poses": `files` are the clips by name ("humanoid3d_walk"); `details["clips"]` maps each name to a float32
            array (frames, 44): duration of the frame in seconds, position of the root (3, metres), its rotation (4),
            then the joints' rotations as quaternions (4, w first) or angles (1, radians) in the order of
            `details["joints"]`. `details["loops"]` says which clips may be repeated. The one clip of a robot dog,
            "laikago_walk", has 20 columns of its own.
            "shapes": `files` are Wavefront meshes (.obj) by name: a thousand random solids ("random_urdfs/000") and a
            few well-known objects ("duck").
    """
    if view == "shapes":
        meshes = sorted(folder.rglob("*.obj"))
        names = [path.relative_to(folder).with_suffix("").as_posix() for path in meshes]
        # random_urdfs/000/000.obj is simply the mesh random_urdfs/000
        short = [name.rpartition("/")[0] if name.startswith("random_urdfs/") else name for name in names]
        return FileSet(folder, dict(zip(short, meshes, strict=True)))
    motions = folder / "data" / "motions"
    paths = {path.relative_to(motions).with_suffix("").as_posix(): path for path in sorted(motions.rglob("*.txt"))}
    clips, loops = {}, []
    for name, path in paths.items():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            clips[name] = np.asarray(content["Frames"], np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{path}: not a motion clip ({error})") from error
        if content.get("Loop") == "wrap":
            loops.append(name)
    return FileSet(folder, paths, {"clips": clips, "loops": loops, "joints": _JOINTS})


_JOINTS = [  # name, number of columns
    ("chest", 4), ("neck", 4), ("right_hip", 4), ("right_knee", 1), ("right_ankle", 4), ("right_shoulder", 4),
    ("right_elbow", 1), ("left_hip", 4), ("left_knee", 1), ("left_ankle", 4), ("left_shoulder", 4), ("left_elbow", 1),
]  # fmt: skip


def load_spoken_words(folder: Path) -> FileSet:
    """Spoken words: `files` are WAV files (16 bit, mono) by "word/voice/speed".

    `details` has `words` and `voices` (names), and `word_labels` and `voice_labels`, int64, one a file in the order of
    `files`: what was said, and who said it.
    """
    clips = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    words = sorted({clip["word"] for clip in clips})
    voices = sorted({clip["voice"] for clip in clips})
    return FileSet(
        folder,
        {f"{clip['word']}/{clip['voice']}/{clip['speed']}": folder / clip["file"] for clip in clips},
        {
            "words": words,
            "voices": voices,
            "word_labels": np.asarray([words.index(clip["word"]) for clip in clips], np.int64),
            "voice_labels": np.asarray([voices.index(clip["voice"]) for clip in clips], np.int64),
        },
    )


def load_shapes(folder: Path, *, view: str = "points") -> FileSet | ImageSet:
    """Generated solids of ten classes.

    Args:
        folder: The fetched folder.
        view: "points": `details["points"]`, float32 (shapes, 1024, 3), sampled evenly on the surface.
            "meshes": `details["meshes"]`, a list of (vertices float32 (v, 3), faces int32 (f, 3)).
            "images": an `ImageSet` of grey pictures of 64 x 64 pixels.
            The first two also have `details["labels"]` and `details["label_names"]`. Every shape is centred and fits
            the unit ball.
    """
    if view == "images":
        from polyvec.data.catalogue.loaders.images import load_shape_pictures

        return load_shape_pictures(folder)
    arrays = {path.stem: np.load(path, allow_pickle=False) for path in sorted(folder.glob("*.npy"))}
    label_names = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    details = {"labels": arrays["labels"], "label_names": label_names}
    if view == "points":
        details["points"] = arrays["points"]
    else:
        vertices = np.split(arrays["vertices"], arrays["vertex_ends"][:-1])
        faces = np.split(arrays["faces"], arrays["face_ends"][:-1])
        details["meshes"] = list(zip(vertices, faces, strict=True))
    return FileSet(folder, {path.name: path for path in sorted(folder.glob("*.npy"))}, details)
