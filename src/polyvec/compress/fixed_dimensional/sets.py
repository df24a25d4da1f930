"""`VectorSets`: many sets of vectors in one matrix, as late-interaction models describe texts by token vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from polyvec.core.arrays import as_matrix, first_bad_row, is_tensor
from polyvec.core.errors import InvalidTypeError, InvalidValueError


class VectorSets:
    """Sets of vectors of one width, stored one after the other: set `i` is `values[offsets[i]:offsets[i + 1]]`.

    The layout is that of an Arrow list column. Indexing with a number gives a matrix, with a slice or an array of
    numbers again `VectorSets`.

    Args:
        values: `(total, d)` all vectors.
        offsets: `(n + 1,)` where each set begins and where the last ends.
        what: What a set is called in messages, `"document"` or `"query"`.

    Raises:
        InvalidValueError: A set without vectors, offsets that do not fit, NaN or infinity.

    Example:
        >>> import numpy as np
        >>> sets = VectorSets(np.eye(3), [0, 1, 3])
        >>> len(sets), sets[1].shape
        (2, (2, 3))
    """

    def __init__(self, values: Any, offsets: Any, *, what: str = "document") -> None:
        matrix = as_matrix(values, f"{what}s", min_rows=0, finite=False)
        bounds = np.asarray(offsets)
        if bounds.ndim != 1 or len(bounds) == 0 or bounds.dtype.kind not in "iu":
            raise InvalidValueError(
                f"offsets: got shape {bounds.shape} of {bounds.dtype}, needs (sets + 1,) whole numbers from 0"
            )
        bounds = bounds.astype(np.int64)
        if bounds[0] != 0 or bounds[-1] != len(matrix) or (np.diff(bounds) < 0).any():
            raise InvalidValueError(
                f"offsets: got {bounds[0]} to {bounds[-1]} for {len(matrix)} vectors, needs growing numbers from 0 to "
                f"{len(matrix)}"
            )
        if len(empty := np.flatnonzero(np.diff(bounds) == 0)):
            raise InvalidValueError(f"{what} {empty[0]} has no vectors, needs at least one; leave it out")
        if (bad := first_bad_row(matrix)) is not None:
            owner = int(np.searchsorted(bounds, bad, side="right")) - 1
            raise InvalidValueError(
                f"{what} {owner}: vector {bad - bounds[owner]} holds NaN or infinity; drop or repair it first"
            )
        self.values: npt.NDArray[np.float32] = matrix
        self.offsets: npt.NDArray[np.int64] = bounds

    @classmethod
    def from_list(cls, sets: Sequence[Any], *, what: str = "document") -> VectorSets:
        """Sets from a sequence of matrices `(m_i, d)`.

        Raises:
            InvalidValueError: None at all, one without vectors, different widths, NaN or infinity.
            InvalidTypeError: Something that is not numbers.
        """
        matrices: list[np.ndarray] = []
        for number, item in enumerate(sets):
            width = matrices[0].shape[1] if matrices else None
            if getattr(item, "shape", None) is not None and len(item) == 0:
                raise InvalidValueError(f"{what} {number} has no vectors, needs at least one; leave it out")
            matrices.append(as_matrix(item, f"{what} {number}", dim=width, min_rows=0, finite=False))
        if not matrices:
            raise InvalidValueError(f"{what}s: got none, needs at least one")
        offsets = np.concatenate([[0], np.cumsum([len(matrix) for matrix in matrices])])
        return cls(np.concatenate(matrices), offsets.astype(np.int64), what=what)

    @classmethod
    def from_padded(cls, values: Any, mask: Any, *, what: str = "document") -> VectorSets:
        """Sets from a padded batch, as models give it.

        Args:
            values: `(n, longest, d)`.
            mask: `(n, longest)`; true (or 1) where `values` holds a vector that counts.
            what: As for the class.

        Raises:
            InvalidValueError: Shapes that do not fit together, a set whose mask is all false, NaN or infinity.
        """
        batch, kept = (part.detach().cpu().numpy() if is_tensor(part) else np.asarray(part) for part in (values, mask))
        if batch.ndim != 3 or kept.shape != batch.shape[:2]:
            raise InvalidValueError(
                f"values and mask: got shapes {batch.shape} and {kept.shape}, needs (n, longest, d) and (n, longest)"
            )
        kept = kept.astype(bool)
        offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
        return cls(batch[kept], offsets.astype(np.int64), what=what)

    @property
    def dim(self) -> int:
        """Width `d` of the vectors."""
        return int(self.values.shape[1])

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Vectors in each set `(n,)`."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors and offsets."""
        return int(self.values.nbytes + self.offsets.nbytes)

    @property
    def owners(self) -> npt.NDArray[np.int64]:
        """The set that each vector belongs to `(total,)`."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.values[start:end] for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True))

    def __repr__(self) -> str:
        return f"VectorSets(n={len(self)}, dim={self.dim}, vectors={len(self.values)})"

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, np.integer)):
            number = range(len(self))[key]
            return self.values[self.offsets[number] : self.offsets[number + 1]]
        if isinstance(key, slice) and key.step in (None, 1):
            start, stop, _ = key.indices(len(self))
            bounds = self.offsets[start : max(stop, start) + 1]
            return self.unchecked(self.values[bounds[0] : bounds[-1]], bounds - bounds[0])
        chosen = np.arange(len(self))[key]
        rows, offsets = rows_of(self.offsets, chosen)
        return self.unchecked(self.values[rows], offsets)

    @classmethod
    def unchecked(cls, values: np.ndarray, offsets: np.ndarray) -> VectorSets:
        """Sets made of parts of checked ones, without looking at every number again."""
        made = cls.__new__(cls)
        made.values, made.offsets = values, offsets
        return made


def rows_of(offsets: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of all vectors of the chosen sets, one set after the other, and the offsets of the result."""
    lengths = offsets[chosen + 1] - offsets[chosen]
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = np.arange(bounds[-1]) + np.repeat(offsets[chosen] - bounds[:-1], lengths)
    return rows, bounds


def as_sets(given: Any, what: str = "document", *, dim: int | None = None) -> VectorSets:
    """Checked `VectorSets` of anything that holds sets of vectors.

    Args:
        given: `VectorSets`, a list of matrices `(m_i, d)`, a three-dimensional array `(n, m, d)`, or a pair `(values,
            offsets)` as `VectorSets` takes it.
        what: What a set is called in messages, `"document"` or `"query"`.
        dim: Required width.

    Raises:
        InvalidValueError: None at all, a set without vectors, different widths, NaN or infinity.
        InvalidTypeError: Not sets of vectors.
    """
    if isinstance(given, VectorSets):
        sets = given
    elif isinstance(given, tuple) and len(given) == 2 and np.ndim(given[1]) == 1:
        sets = VectorSets(given[0], given[1], what=what)
    elif getattr(given, "ndim", 3) != 3:
        hint = f"; one {what}? give [x]" if given.ndim == 2 else ""
        raise InvalidValueError(
            f"{what}s: got one array of {given.ndim} dimensions, needs a list of matrices (vectors, dimensions){hint}"
        )
    elif isinstance(given, (str, bytes, dict)) or not hasattr(given, "__iter__"):
        raise InvalidTypeError(f"{what}s: got {type(given).__name__}, needs a list of matrices (vectors, dimensions)")
    else:
        sets = VectorSets.from_list(list(given), what=what)
    if len(sets) == 0:
        raise InvalidValueError(f"{what}s: got none, needs at least one")
    if dim is not None and sets.dim != dim:
        raise InvalidValueError(f"{what}s: got vectors of {sets.dim} dimensions, needs {dim}")
    return sets
