"""LiDAR: the effective rank of what tells objects apart, over several views of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eigh

from polyvec.assess.blocks import check_magnitude, to_numpy
from polyvec.assess.spectrum import check_eps, effective_rank, warn_if_capped
from polyvec.core.arrays import is_tensor
from polyvec.core.errors import InvalidTypeError, InvalidValueError

_BLOCK_VALUES = 1 << 22


def lidar(views: Any, delta: float = 1e-4, eps: float = 1e-7) -> float:
    """Effective rank of the linear discriminant matrix of objects seen in several views.

    With `S_b` the covariance of the objects' mean embeddings and `S_w` the covariance of the views around them plus
    `delta` times the identity, it is the effective rank of the eigenvalues of `S_w^-1/2 S_b S_w^-1/2`. Directions that
    change with the view (noise) do not raise it, which is its advantage over `rankme`; it needs augmented views.

    Args:
        views: Embeddings `(n, v, k)`: `n` objects, `v` views of each, `k` dimensions; NumPy array (also memory-mapped)
            or torch tensor. The source uses 1,000 objects and 50 views.
        delta: Keeps `S_w` invertible; the source's value. The score depends on it where views hardly differ, and with
            it on the scale of the embeddings.
        eps: Added to each normalised eigenvalue, as in `rankme`.

    Raises:
        InvalidTypeError: Not real numbers.
        InvalidValueError: Not `(n, v, k)` with at least 2 objects and 2 views; NaN or infinity (with the object's
            number); all objects have the same mean embedding; `delta` not above 0.

    Warns:
        RankCappedWarning: No more objects than dimensions.

    Source: Thilak et al., "LiDAR" (2023), section 3.

    Example:
        >>> import numpy as np
        >>> draw = np.random.default_rng(0)
        >>> objects = draw.normal(size=(500, 1, 4)) * [1, 1, 0, 0]
        >>> round(lidar(objects + 0.01 * draw.normal(size=(500, 10, 4))), 1)
        2.0
    """
    eps = check_eps(eps)
    if isinstance(delta, bool) or not isinstance(delta, (int, float)) or not 0 < delta < np.inf:
        raise InvalidValueError(f"delta: got {delta!r}, needs a small number above 0; the published value is 1e-4")
    if is_tensor(views):
        views = views.detach()
        views = to_numpy(views if str(views.dtype) != "torch.bfloat16" else views.float())
    else:
        views = np.asanyarray(views)
    if views.dtype.kind not in "fiub":
        raise InvalidTypeError(f"views: got elements of type {views.dtype}, needs real numbers")
    if views.ndim != 3 or views.shape[0] < 2 or views.shape[1] < 2 or views.shape[2] < 1:
        raise InvalidValueError(
            f"views: got shape {views.shape}, needs (objects, views, dimensions) with at least 2 objects and 2 views"
        )
    objects, count, dim = views.shape
    warn_if_capped(objects, dim, center=True, name="views")
    means = np.empty((objects, dim))
    within = np.zeros((dim, dim))
    step = max(1, _BLOCK_VALUES // (count * dim))
    for start in range(0, objects, step):
        block = np.asarray(views[start : start + step], dtype=np.float64)
        check_magnitude(block.reshape(len(block), -1), "views", start)
        part = block.mean(axis=1)
        means[start : start + step] = part
        around = (block - part[:, None]).reshape(-1, dim)
        within += around.T @ around
    centred = means - means.mean(axis=0)
    between = centred.T @ centred / (objects - 1)
    if np.trace(between) <= 1e-28 * np.sum(means**2):
        raise InvalidValueError(
            "views: all objects have the same mean embedding: no variance, the embeddings collapsed"
        )
    within /= objects * (count - 1)
    within[np.diag_indices(dim)] += delta
    eigenvalues = eigh(between, within, eigvals_only=True)[::-1]
    return effective_rank(np.maximum(eigenvalues, 0.0), eps)
