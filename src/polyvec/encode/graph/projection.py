"""Very sparse random projections whose rows can be generated one by one.

Source: Li, Hastie and Church 2006 (density 1/sqrt(n)), Achlioptas 2003 (density 1/3); used by FastRP, section 3.3.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.encode.graph.checks import positive_int
from polyvec.encode.graph.streams import draw, purpose_key, resolve_seed, row_keys, unit_interval

Floats = npt.NDArray[np.floating]
BLOCK_NON_ZEROS = 1 << 18  # bounds the temporaries
DENSE_FROM = 0.25  # share of non-zeros from which a dense matrix is smaller and faster


def projection_density(density: str | float, rows: int) -> float:
    """The probability that an entry is not zero: `"sqrt"` is `1 / sqrt(rows)`; a number is itself.

    Raises:
        InvalidTypeError: Neither a number nor a string.
        InvalidValueError: Another string, or a number outside (0, 1]; above 1 the paper's s would be below 1.
    """
    if isinstance(density, str):
        if density != "sqrt":
            raise InvalidValueError(f"density: got {density!r}, needs 'sqrt' or a number in (0, 1]")
        return 1.0 / np.sqrt(max(rows, 1))
    if isinstance(density, bool) or not isinstance(density, (int, float, np.integer, np.floating)):
        raise InvalidTypeError(f"density: got {type(density).__name__}, needs 'sqrt' or a number in (0, 1]")
    if not 0.0 < density <= 1.0:
        raise InvalidValueError(f"density: got {density}, needs 'sqrt' or a number in (0, 1] (1 / s with s >= 1)")
    return float(density)


def sparse_projection(
    rows: int,
    dim: int,
    *,
    density: str | float = "sqrt",
    seed: int | None = None,
    first_row: int = 0,
    purpose: str = "node projection",
) -> sp.csr_array:
    """Random matrix `(rows, dim)` of very few signs, float32, as CSR with sorted columns.

    An entry is `+1/sqrt(p dim)` or `-1/sqrt(p dim)` with probability `p / 2` each, else 0, where p is the density. The
    paper's entries are `+-1/sqrt(p)`; the factor `1/sqrt(dim)` makes the expectation of `R R^T` the identity.

    Args:
        rows: Number of rows.
        dim: Number of columns.
        density: `"sqrt"` (default, the paper's) is `1 / sqrt(rows)`; 1/3 is Achlioptas; 1 is dense signs.
        seed: Row j depends on `(seed, j)` alone, and its pattern for a smaller `dim` is a prefix; `None` draws a seed.
        first_row: Number of the first row, to continue a matrix for rows that arrive later. Give the density as a
            number then.
        purpose: Which of the independent families of streams to use.
    """
    count, columns = positive_int(rows, "rows"), positive_int(dim, "dim")
    probability = projection_density(density, count)
    key = purpose_key(resolve_seed(seed), purpose)
    step = _block_rows(columns, probability)
    blocks = [
        _block(key, start, min(start + step, first_row + count), columns, probability)
        for start in range(first_row, first_row + count, step)
    ]
    return blocks[0] if len(blocks) == 1 else sp.csr_array(sp.vstack(blocks, format="csr"))


def dense_projection(rows: int, dim: int, *, density: float, seed: int, purpose: str = "node projection") -> Floats:
    """`sparse_projection` as a dense matrix `(rows, dim)`, float32, filled in blocks of rows."""
    out = np.empty((rows, dim), dtype=np.float32)
    step = _block_rows(dim, density)
    for first in range(0, rows, step):
        count = min(step, rows - first)
        block = sparse_projection(count, dim, density=density, seed=seed, first_row=first, purpose=purpose)
        block.toarray(out=out[first : first + count])
    return out


def _block_rows(dim: int, density: float) -> int:
    return int(min(max(BLOCK_NON_ZEROS / (dim * density), 256), 1 << 16))


def _block(key: np.uint64, start: int, stop: int, dim: int, probability: float) -> sp.csr_array:
    """Rows `start` to `stop`: jump from one non-zero of a row to the next, for all rows at once.

    The gap between non-zeros of a row is geometric, so the work is proportional to the non-zeros.
    """
    keys = row_keys(key, np.arange(start, stop))
    active = np.arange(stop - start)
    position = np.full(stop - start, -1, dtype=np.int64)
    rows, columns, signs = [], [], []
    log_miss = np.log1p(-probability) if probability < 1.0 else -np.inf
    for number in range(dim):
        bits = draw(keys[active], number)
        gap = np.minimum(np.log1p(-unit_interval(bits)) / log_miss, float(dim))
        position = position + 1 + gap.astype(np.int64)
        inside = position < dim
        active, position, bits = active[inside], position[inside], bits[inside]
        if not len(active):
            break
        rows.append(active)
        columns.append(position)
        signs.append((bits & np.uint64(1)).astype(np.int8))  # a bit that the gap does not use
    shape = (stop - start, dim)
    if not rows:
        return sp.csr_array(shape, dtype=np.float32)
    value = np.float32(1.0 / np.sqrt(probability * dim))
    values = np.where(np.concatenate(signs) == 1, value, -value)
    indices = (np.concatenate(rows).astype(np.int32), np.concatenate(columns).astype(np.int32))
    return sp.coo_array((values, indices), shape=shape).tocsr()
