"""Ball carving: fewer query vectors for re-ranking."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyvec.core.arrays import as_matrix, match_kind
from polyvec.core.errors import InvalidValueError


def ball_carve(query: Any, tau: float = 0.7) -> Any:
    """Replace groups of similar query vectors by their sums, which shortens exact scoring.

    Takes the first vector that is left, joins all that are left with an inner product of at least `tau` with it,
    replaces them by their sum, and goes on. A sum of vectors that share their best match scores exactly what they score
    apart; of others it scores less.

    Args:
        query: `(m, d)`, usually unit vectors.
        tau: Smallest inner product within a group; 0.7 as in the paper, where 32 query vectors become 5.9 on average.

    Returns:
        `(groups, d)`, the kind that was given.

    Raises:
        InvalidValueError: No vectors, NaN or infinity, `tau` not a finite number.

    Source: MUVERA (2024), section 3.2.

    Example:
        >>> import numpy as np
        >>> ball_carve(np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]))
        array([[1.8, 0.6],
               [0. , 1. ]])
    """
    if not np.isfinite(tau):
        raise InvalidValueError(f"tau: got {tau}, needs a finite number such as 0.7")
    matrix = as_matrix(query, "query", dtype=None)
    near = matrix @ matrix.T >= tau
    np.fill_diagonal(near, True)  # a short vector still belongs to its own group
    left = np.ones(len(matrix), dtype=bool)
    sums = []
    for number in range(len(matrix)):
        if left[number]:
            group = near[number] & left
            left &= ~group
            sums.append(matrix[group].sum(axis=0))
    return match_kind(np.stack(sums), query)
