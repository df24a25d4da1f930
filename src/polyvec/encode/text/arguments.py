"""Checks of what a user passes to `TextEncoder`, and the form in which results are handed back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.encode.text.batches import WINDOW, WINDOW_CHARACTERS
from polyvec.encode.text.chunking import Chunking


def check_count(name: str, value: Any) -> None:
    """Raise unless `value` is `None` or a whole number of at least 1."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"{name}: got {type(value).__name__}, needs a whole number of at least 1, or None")
    if value < 1:
        raise InvalidValueError(f"{name}: got {value}, needs a whole number of at least 1, or None")


def check_chunking(chunking: Any) -> None:
    """Raise unless `chunking` is `None` or a `Chunking`."""
    if chunking is not None and not isinstance(chunking, Chunking):
        raise InvalidTypeError(f"chunking: got {type(chunking).__name__}, needs a Chunking(...) or None")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise unless `value` is one of `choices`."""
    if value not in choices:
        raise InvalidValueError(f"{name}: got {value!r}, needs one of {', '.join(choices)}")


def windows_of(texts: Iterable[str]) -> Iterator[list[str]]:
    """Runs of consecutive texts that are tokenized and sorted together.

    Where a run ends depends on the texts alone, so every way of encoding a corpus makes the same batches.
    """
    window: list[str] = []
    characters = 0
    for text in texts:
        window.append(text)
        characters += len(text)
        if len(window) == WINDOW or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


def converter(convert_to_numpy: bool, convert_to_tensor: bool) -> Callable[[np.ndarray], Any]:
    """How one array of vectors is handed back: as it is, as a torch tensor, or (neither) as a list of torch tensors."""
    if convert_to_tensor:
        import torch

        return torch.from_numpy
    if not convert_to_numpy:
        import torch

        return lambda vectors: list(torch.from_numpy(vectors))
    return lambda vectors: vectors
