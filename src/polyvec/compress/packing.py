"""A fitted compressor as bytes and back, by its name in the registry: what a store or an index keeps."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from polyvec.core.errors import FormatError, InvalidTypeError, NotFoundError
from polyvec.core.registry import Component, component, components


def registered(compressor: Any) -> Component:
    """The registry's entry for a compressor's class.

    Raises:
        InvalidTypeError: It is not registered.
    """
    target = f"{type(compressor).__module__}:{type(compressor).__qualname__}"
    for entry in components("transform"):
        if entry.target == target:
            return entry
    raise InvalidTypeError(
        f"compressor: {type(compressor).__name__} is not registered; add it to core/components.toml with kind "
        "'transform', so that it can be loaded again by its name"
    )


def pack(compressor: Any) -> bytes:
    """The content of the file that the compressor's `save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "compressor"
        compressor.save(path)
        return path.read_bytes()


def unpack(name: str, content: bytes) -> Any:
    """The compressor of this registered name from what `pack` gave.

    Raises:
        FormatError: No such component, or the content is damaged.
    """
    try:
        kind = component("transform", name).load()
    except NotFoundError as error:
        raise FormatError(f"compressor {name!r}: this polyvec does not have it; upgrade polyvec ({error})") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "compressor"
        path.write_bytes(content)
        return kind.load(path)
