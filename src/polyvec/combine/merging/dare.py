"""DARE: drop most of each task vector at random and rescale the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from polyvec.combine.merging.linear import Average
from polyvec.combine.merging.methods import Block, weighted_sum
from polyvec.core.errors import InvalidValueError
from polyvec.core.randomness import check_seed, torch_generator


class Dare(Average):
    """Drop each number of each task vector with probability `drop`, divide the rest by `1 - drop`, average.

    The expected result is the average; the drop makes the task vectors interfere less.

    Args:
        drop: Probability, from 0 to below 1. 0.5 by default: large language models bear 0.9, small encoders do not.
        seed: What is dropped: the same seed drops the same numbers. `None` draws a fresh seed.
        weights: One number for each model; only the ratios matter.
        scale: Multiplies the result.

    Source: Yu et al., "Language Models are Super Mario" (ICML 2024), section 3.
    """

    name: ClassVar[str] = "dare"

    def __init__(
        self, drop: float = 0.5, seed: int | None = 0, weights: Sequence[float] | None = None, scale: float = 1.0
    ) -> None:
        super().__init__(weights, scale)
        if not 0 <= drop < 1:
            raise InvalidValueError(f"drop: got {drop}, needs a probability from 0 to below 1")
        self.drop = float(drop)
        seed = check_seed(seed)
        self.seed = torch_generator(None).initial_seed() if seed is None else seed

    def merge(self, block: Block) -> Tensor:
        """The mean of the thinned differences."""
        weights = self.weights_for(len(block.deltas))
        total = sum(weights)
        thinned = [self._thinned(position, block) for position in range(len(block.deltas))]
        return weighted_sum(thinned, [weight / total for weight in weights])

    def _thinned(self, position: int, block: Block) -> Tensor:
        delta = block.deltas[position]
        key = f"{self.seed} {position} {block.name} {block.rows.start}".encode()
        number = int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "little")
        chance = torch.rand(delta.shape, generator=torch_generator(number)).to(delta.device)
        return delta * (chance >= self.drop) / (1 - self.drop)
