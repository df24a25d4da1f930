"""Pictures as `ImageSet`: digits, garments, emoji."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from polyvec.core.errors import FormatError, InvalidValueError
from polyvec.data.catalogue.types import ImageSet

_GARMENTS = ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
_DIGITS = [str(digit) for digit in range(10)]
_CELL, _MARGIN = 66, 1  # pixels: a 64-pixel emoji with a border of one pixel on each side


def load_digits(folder: Path) -> ImageSet:
    """1,797 handwritten digits of 8 x 8 pixels with 17 grey levels (0 to 16, white on black), labelled 0 to 9."""
    pixels, labels = _labelled_rows(folder / "digits.csv.gz")
    return ImageSet(pixels.reshape(-1, 8, 8), labels, _DIGITS)


def load_mnist(folder: Path) -> ImageSet:
    """5,000 handwritten digits of 28 x 28 pixels, 500 of each of 0 to 9, in the order of the labels."""
    pixels, labels = _labelled_rows(folder / "mnist_5k.csv.gz")
    return ImageSet(pixels.reshape(-1, 28, 28), labels, _DIGITS)


def load_fashion_mnist(folder: Path, *, split: str = "train") -> ImageSet:
    """Garments of 28 x 28 pixels in ten classes.

    Args:
        folder: The fetched folder.
        split: "train" (60,000, the default), "test" (10,000) or "all" (train, then test).
    """
    parts = {"train": ["train"], "test": ["t10k"], "all": ["train", "t10k"]}.get(split)
    if parts is None:
        raise InvalidValueError(f"split: got {split!r}, needs 'train', 'test' or 'all'")
    images = np.concatenate([read_idx(folder / f"{part}-images-idx3-ubyte.gz") for part in parts])
    labels = np.concatenate([read_idx(folder / f"{part}-labels-idx1-ubyte.gz") for part in parts])
    return ImageSet(images, labels.astype(np.int64), _GARMENTS)


def load_emoji(folder: Path, *, skin_tones: bool = False, alpha: bool = False) -> ImageSet:
    """Emoji of 64 x 64 pixels with their names ("grinning face") and categories.

    Args:
        folder: The fetched folder.
        skin_tones: Also the variants in other skin tones, which double the number of people. Default no.
        alpha: `True` gives four channels (RGBA). Default three (RGB), on white.
    """
    from PIL import Image

    entries = json.loads((folder / "emoji.json").read_text(encoding="utf-8"))
    shown = sorted((each for each in entries if each["has_img_google"]), key=lambda each: each["sort_order"])
    cells, names, categories = [], [], []
    for each in shown:
        variants = each.get("skin_variations", {}) if skin_tones else {}
        for tone, picture in [("", each), *variants.items()]:
            if picture["has_img_google"]:
                cells.append((picture["sheet_x"], picture["sheet_y"]))
                names.append(each["name"].lower() + (f" ({tone})" if tone else ""))
                categories.append(each["category"])
    with Image.open(folder / "img/google/sheets/64.png") as opened:
        sheet = np.asarray(opened.convert("RGBA"))
    side = _CELL - 2 * _MARGIN
    images = np.stack(
        [sheet[y * _CELL + _MARGIN :, x * _CELL + _MARGIN :][:side, :side] for x, y in cells],
    )
    if not alpha:
        cover = images[..., 3:].astype(np.uint16)
        # integer blending with white, rounded: the same on every machine
        images = ((images[..., :3] * cover + 255 * (255 - cover) + 127) // 255).astype(np.uint8)
    label_names = sorted(set(categories))
    labels = np.asarray([label_names.index(category) for category in categories], np.int64)
    return ImageSet(images, labels, label_names, names)


def load_shape_pictures(folder: Path) -> ImageSet:
    """The rendered solids as grey pictures of 64 x 64 pixels, labelled with their class."""
    label_names = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    images = np.load(folder / "images.npy", allow_pickle=False)
    return ImageSet(images, np.load(folder / "labels.npy", allow_pickle=False), label_names)


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """An array in the IDX format (big-endian header, unsigned bytes), gzip-compressed; `FormatError` when damaged."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: the file is damaged ({error}); fetch it again") from error
    dimensions = content[3] if len(content) > 3 and content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">u4", dimensions, 4) if len(content) >= 4 + 4 * dimensions else np.empty(0)
    values = np.frombuffer(content, np.uint8, offset=min(4 + 4 * dimensions, len(content)))
    if not dimensions or len(shape) != dimensions or int(np.prod(shape, dtype=np.int64)) != len(values):
        raise FormatError(f"{path}: not an IDX file of unsigned bytes, or cut short; fetch it again")
    return values.reshape([int(size) for size in shape])


def _labelled_rows(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pixels and labels of a CSV without header whose last column is the label."""
    import pyarrow.csv

    table = pyarrow.csv.read_csv(path, read_options=pyarrow.csv.ReadOptions(autogenerate_column_names=True))
    rows = np.column_stack([column.to_numpy() for column in table.columns])
    return rows[:, :-1].astype(np.uint8), rows[:, -1].astype(np.int64)
