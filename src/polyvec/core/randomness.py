"""Seeded randomness without global state: every stochastic function takes `seed: int | None`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polyvec.core.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    import torch


def check_seed(seed: int | None) -> int | None:
    """Return `seed` as an `int` or `None`; raise for anything else and for negative numbers."""
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise InvalidTypeError(f"seed: got {type(seed).__name__}, needs an int >= 0 or None")
    if seed < 0:
        raise InvalidValueError(f"seed: got {seed}, needs an int >= 0 or None")
    return int(seed)


def numpy_generator(seed: int | None) -> np.random.Generator:
    """A NumPy generator for `seed`; `None` draws fresh entropy from the operating system."""
    return np.random.default_rng(check_seed(seed))


def torch_generator(seed: int | None, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator on `device` for `seed`; `None` draws fresh entropy from the operating system."""
    import torch

    generator = torch.Generator(device=device)
    checked = check_seed(seed)
    if checked is None:
        generator.seed()
    else:
        generator.manual_seed(checked)
    return generator


def spawn_seeds(seed: int | None, count: int) -> list[int]:
    """`count` independent seeds derived from one, for parallel workers or repeated parts.

    The first `k` seeds are the same for every `count >= k`, so that adding workers does not change
    what the earlier ones draw.
    """
    children = np.random.SeedSequence(check_seed(seed)).spawn(count)
    return [int(child.generate_state(1, np.uint64)[0] >> np.uint64(1)) for child in children]
