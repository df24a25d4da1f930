"""The random parts of a fixed dimensional encoding, and the encoding of a block of sets with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from polyvec.compress.fixed_dimensional.cells import cell_numbers, nearest_vectors, sum_over_cells
from polyvec.compress.fixed_dimensional.sets import VectorSets
from polyvec.core.randomness import spawn_seeds

_SKETCH_STREAM = 1  # the final projection has its own stream, so that it does not depend on what else is drawn


@dataclass(frozen=True, eq=False)
class Sketch:
    """What documents and queries share: hyperplanes, inner projections, and the final projection.

    Attributes:
        repetitions: How many independent partitions of space, R.
        bits: Hyperplanes of each partition, k.
        planes: `(d, R * k)` float32.
        signs: `(d, R * p)` of +1 and -1, int8; `None` for the identity.
        targets: `(R * 2^k * p,)` int32, the output that each number goes to in the final projection; `None` for none.
        flips: `(R * 2^k * p,)` of +1 and -1, int8, or `None`.
        final: Width after the final projection, or `None`.
    """

    repetitions: int
    bits: int
    planes: np.ndarray
    signs: np.ndarray | None
    targets: np.ndarray | None = None
    flips: np.ndarray | None = None
    final: int | None = None

    @classmethod
    def draw(cls, dim: int, repetitions: int, bits: int, projection: int, final: int | None, seed: int) -> Sketch:
        """Draw all parts. The first repetitions are the same however many follow."""
        planes = np.empty((dim, repetitions, bits), dtype=np.float32)
        signs = None if projection == dim else np.empty((dim, repetitions, projection), dtype=np.int8)
        for repetition, child in enumerate(spawn_seeds(seed, repetitions)):
            draws = np.random.default_rng(child)
            planes[:, repetition] = draws.standard_normal((dim, bits), dtype=np.float32)
            if signs is not None:
                signs[:, repetition] = 2 * draws.integers(0, 2, size=(dim, projection), dtype=np.int8) - 1
        targets = flips = None
        if final is not None:
            draws = np.random.default_rng([seed, _SKETCH_STREAM])
            width = repetitions * (1 << bits) * projection
            targets = draws.integers(0, final, size=width, dtype=np.int32)
            flips = 2 * draws.integers(0, 2, size=width, dtype=np.int8) - 1
        flat = None if signs is None else signs.reshape(dim, -1)
        return cls(repetitions, bits, planes.reshape(dim, -1), flat, targets, flips, final)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that was drawn, for a file or a fingerprint."""
        parts = {"planes": self.planes, "signs": self.signs, "targets": self.targets, "flips": self.flips}
        return {name: part for name, part in parts.items() if part is not None}

    @classmethod
    def from_arrays(cls, repetitions: int, bits: int, final: int | None, arrays: Mapping[str, np.ndarray]) -> Sketch:
        """What `arrays` gave.

        Raises:
            ValueError: Arrays that do not fit together.
        """
        signs, targets, flips = (arrays.get(name) for name in ("signs", "targets", "flips"))
        made = cls(repetitions, bits, arrays["planes"], signs, targets, flips, final)
        fits = made.planes.ndim == 2 and made.planes.shape[1] == repetitions * bits and made.planes.dtype == np.float32
        if made.signs is not None:
            fits = fits and made.signs.ndim == 2 and made.signs.shape[1] % repetitions == 0
            fits = fits and len(made.signs) == made.dim and made.signs.dtype == np.int8
        if final is not None:
            for part in (made.targets, made.flips):
                fits = fits and part is not None and part.shape == (made.full_width,)
            fits = fits and bool(((made.targets >= 0) & (made.targets < final)).all())  # type: ignore[operator, union-attr]
        if not fits:
            raise ValueError("arrays of the wrong shape")
        return made

    @property
    def dim(self) -> int:
        """Width d of the vectors."""
        return int(self.planes.shape[0])

    @property
    def projection(self) -> int:
        """Width p of one cell."""
        return self.dim if self.signs is None else int(self.signs.shape[1]) // self.repetitions

    @property
    def full_width(self) -> int:
        """Width before the final projection, R * 2^k * p."""
        return self.repetitions * (1 << self.bits) * self.projection

    @property
    def width(self) -> int:
        """Width of an encoding."""
        return self.full_width if self.final is None else self.final

    @cached_property
    def _scale(self) -> np.float32:
        """1 / sqrt(R) on each side makes the inner product a mean over the repetitions."""
        return np.float32(1 / np.sqrt(self.repetitions))

    @cached_property
    def _matrix(self) -> np.ndarray:
        """Hyperplanes and scaled inner projections side by side: one matrix product serves all repetitions."""
        if self.signs is None:
            return self.planes
        return np.concatenate([self.planes, self.signs * (self._scale / np.float32(np.sqrt(self.projection)))], axis=1)

    @cached_property
    def _final(self) -> Any:
        """The count sketch as a sparse matrix `(final, full width)` with one entry a column."""
        from scipy.sparse import csc_matrix

        if self.targets is None or self.flips is None:
            return None
        columns = np.arange(self.full_width + 1)
        made = csc_matrix((self.flips.astype(np.float32), self.targets, columns), shape=(self.final, self.full_width))
        return made.tocsr()

    def encode(
        self, sets: VectorSets, shift: np.ndarray | None, *, documents: bool, fill: bool
    ) -> Float[np.ndarray, "sets width"]:
        """Encodings of a block of sets.

        Args:
            sets: As many as fit in memory at once.
            shift: Mean that is subtracted before hashing and, for documents, before adding up; or `None`.
            documents: Means over cells instead of sums.
            fill: Give empty cells the vector whose cell is nearest.
        """
        split = self.planes.shape[1]
        product = sets.values @ self._matrix
        offset = None if shift is None else shift @ self._matrix
        bits = product[:, :split] > (0 if offset is None else offset[:split])
        cells, groups = 1 << self.bits, len(sets) * self.repetitions
        place = sets.owners[:, None] * self.repetitions + np.arange(self.repetitions)
        place = place * cells + cell_numbers(bits, self.repetitions)
        if self.signs is None:
            table = sets.values * self._scale
            if documents and shift is not None:
                table -= shift * self._scale
        else:
            table = product[:, split:]
            if documents and offset is not None:
                table -= offset[split:]
            table = table.reshape(-1, self.projection)  # one row for each vector and repetition
        blocks = sum_over_cells(table, place, groups * cells)
        if documents:
            counts = np.bincount(place.reshape(-1), minlength=groups * cells)
            several = np.flatnonzero(counts > 1)
            blocks[several] /= counts[several, None].astype(np.float32)
            empty = np.flatnonzero(counts == 0)
            if fill and len(empty):
                source = nearest_vectors(place, groups, self.bits).reshape(-1)[empty]
                if self.signs is not None:
                    source = source.astype(np.int64) * self.repetitions + empty // cells % self.repetitions
                blocks[empty] = table[source]
        encoded = blocks.reshape(len(sets), self.full_width)
        return encoded if self._final is None else np.ascontiguousarray((self._final @ encoded.T).T)
