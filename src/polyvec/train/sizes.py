"""Nested sizes: the prefix lengths at which one embedding has to work on its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from polyvec.core.errors import InvalidTypeError, InvalidValueError


def check_size(size: object, name: str = "size", width: int | None = None) -> int:
    """`size` as an `int` from 1 to `width`.

    Raises:
        InvalidTypeError: Not an integer.
        InvalidValueError: Below 1, or larger than `width`; a size is never clipped.
    """
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
        raise InvalidTypeError(f"{name}: got {type(size).__name__} {size!r}, needs an integer")
    if size < 1:
        raise InvalidValueError(f"{name}: got {size}, needs at least 1")
    if width is not None and size > width:
        raise InvalidValueError(f"{name}: got {size}, but the vectors have {width} dimensions; choose {width} or less")
    return int(size)


def check_sizes(sizes: Sequence[int], name: str = "sizes", width: int | None = None) -> tuple[int, ...]:
    """`sizes` as strictly increasing positive integers, none larger than `width`.

    Raises:
        InvalidTypeError: Not a sequence of integers.
        InvalidValueError: Empty, not increasing, not positive, or larger than `width`.
    """
    if isinstance(sizes, (str, bytes, int, float)) or not hasattr(sizes, "__iter__"):
        raise InvalidTypeError(f"{name}: got {type(sizes).__name__}, needs a sequence of integers such as [8, 16, 32]")
    checked = tuple(check_size(size, name, width) for size in sizes)
    if not checked:
        raise InvalidValueError(f"{name}: got none, needs at least one size such as [8, 16, 32]")
    for smaller, larger in pairwise(checked):
        if larger <= smaller:
            raise InvalidValueError(f"{name}: got {list(checked)}, needs increasing sizes without repeats")
    return checked


def halving_sizes(width: int, smallest: int = 8) -> tuple[int, ...]:
    """`width` and its halves down to `smallest`, increasing: `(8, 16, 32, 64)` for 64.

    Args:
        width: Dimensions of the full embedding.
        smallest: Halving stops before it would go below this; 8 as in the paper.

    Source: Matryoshka Representation Learning (2022), section 3: sizes by halving.

    Example:
        >>> halving_sizes(384)
        (12, 24, 48, 96, 192, 384)
    """
    size, smallest = check_size(width, "width"), check_size(smallest, "smallest")
    sizes = [size]
    while size // 2 >= smallest:
        size //= 2
        sizes.append(size)
    return tuple(reversed(sizes))
