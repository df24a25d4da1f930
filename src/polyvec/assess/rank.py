"""RankMe and its relatives by name: how many dimensions an encoder really uses."""

from __future__ import annotations

from typing import Any, Literal

from polyvec.assess.blocks import MatrixBlocks
from polyvec.assess.spectrum import (
    OnCollapse,
    Spectrum,
    check_eps,
    check_on_collapse,
    collapsed,
    effective_rank,
    spectrum_of,
    warn_if_capped,
)
from polyvec.core.errors import InvalidValueError


def rankme(Z: Any, eps: float = 1e-7, center: bool = False, *, on_collapse: OnCollapse = "raise") -> float:
    """The RankMe score of embeddings: `exp(-sum p log p)`, `p = s / sum(s) + eps`, `s` the singular values of `Z`.

    It is about 1 when all embeddings lie on one line and about `dim` when all directions are used alike. Among runs of
    *one* method that differ in their hyper-parameters, or checkpoints of one run, the one with the highest score tends
    to serve linear probes best; no labels are needed. The rank is necessary, not sufficient: outputs of pure noise
    score higher than any trained encoder. Do not use it to compare different methods or architectures.

    Compare scores at the same number of rows and dimensions only, of the same layer (the source uses the output of the
    projector, where the loss lives), on the same unlabelled data, with the model in evaluation mode. L2-normalising
    the rows changes the value. 25,600 rows are enough for 2,048 dimensions.

    Args:
        Z: Embeddings `(n, dim)`: NumPy array (also memory-mapped, read in blocks), torch tensor (stays on its device),
            scipy sparse matrix, `Vectors`, pandas or polars frame. Anything is summed in float64.
        eps: Added to each normalised singular value, after the division, as in the source.
        center: Subtract the mean row first. The definition does not; a mean that dominates (features after a ReLU) then
            lowers the score. Never compare centred with uncentred scores.
        on_collapse: What to do when there is no variance at all: "raise", or score it "zero".

    Raises:
        InvalidTypeError: Not real numbers.
        InvalidValueError: Not two-dimensional, empty, NaN or infinity (with the row), collapsed.

    Warns:
        RankCappedWarning: Fewer rows than dimensions.

    Source: Garrido et al., "RankMe" (ICML 2023), section 3. Deviation: singular values are taken from the Gram
    matrix in float64, so that data of any length are read once; values below 1.5e-8 of the largest count as 0.

    Example:
        >>> import numpy as np
        >>> rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(100, 8)))[0]
        >>> round(rankme(rotation), 3)
        8.0
    """
    eps = check_eps(eps)
    spectrum = _spectrum(Z, center, on_collapse)
    return 0.0 if spectrum is None else effective_rank(spectrum, eps)


def roy_vetterli_rank(
    Z: Any,
    of: Literal["matrix", "covariance"] = "covariance",
    center: bool = False,
    *,
    on_collapse: OnCollapse = "raise",
) -> float:
    """Roy and Vetterli's effective rank, without any `eps`.

    `of="matrix"` uses the singular values `s` of `Z` and equals `rankme(Z, eps=0)`; `of="covariance"` uses `s^2`, the
    spectrum of `Z^T Z`, and is lower. Some tools report the second under the name RankMe; the two must not be compared.

    Args:
        Z: Embeddings `(n, dim)` of any kind that `rankme` takes.
        of: Whose spectrum.
        center: Subtract the mean row first (with `of="covariance"`: the covariance proper).
        on_collapse: What to do when there is no variance at all: "raise", or score it "zero".

    Raises:
        InvalidTypeError: Not real numbers.
        InvalidValueError: As for `rankme`; unknown `of`.

    Source: Roy and Vetterli, "The effective rank" (2007).

    Example:
        >>> import numpy as np
        >>> Z = np.diag([3.0, 1.0])
        >>> round(roy_vetterli_rank(Z, "matrix"), 3), round(roy_vetterli_rank(Z, "covariance"), 3)
        (1.755, 1.384)
    """
    if of not in ("matrix", "covariance"):
        raise InvalidValueError(f"of: got {of!r}, needs 'matrix' or 'covariance'")
    spectrum = _spectrum(Z, center, on_collapse)
    if spectrum is None:
        return 0.0
    return effective_rank(spectrum if of == "matrix" else spectrum**2)


def _spectrum(Z: Any, center: bool, on_collapse: OnCollapse) -> Spectrum | None:
    """The singular values, or `None` for a collapsed matrix that is to be scored 0."""
    check_on_collapse(on_collapse)
    blocks = MatrixBlocks(Z)
    warn_if_capped(blocks.rows, blocks.columns, center, stacklevel=4)
    spectrum = spectrum_of(blocks, center)
    if spectrum[0] > 0:
        return spectrum
    if on_collapse == "raise":
        raise collapsed("Z", center)
    return None
