"""Singular spectra of embedding matrices, and the numbers that sum them up."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np
from jaxtyping import Float64

from polyvec.assess.blocks import MatrixBlocks, check_magnitude, to_numpy
from polyvec.assess.moments import ROUNDING_SHARE, Moments
from polyvec.core.arrays import is_tensor
from polyvec.core.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    Spectrum: TypeAlias = np.ndarray
else:
    Spectrum = Float64[np.ndarray, "values"]

OnCollapse = Literal["raise", "zero"]

_POWER_LAW_FLOOR = 1e-12  # eigenvalues below this share of the largest are rounding of float32 embeddings, not a tail


class RankCappedWarning(UserWarning):
    """There are fewer rows than dimensions, so that the number of rows caps the rank."""


class SpectrumReport(TypedDict):
    """What `spectrum_report` returns."""

    rankme: float
    roy_vetterli_covariance: float
    alpha_req: float
    stable_rank: float
    participation_ratio: float
    nesum: float
    n: int
    dim: int
    centered: bool
    capped: bool


def check_eps(eps: float) -> float:
    """`eps` as a float that is at least 0."""
    if isinstance(eps, bool) or not isinstance(eps, (int, float, np.integer, np.floating)):
        raise InvalidTypeError(f"eps: got {type(eps).__name__}, needs a small number >= 0")
    if not math.isfinite(eps) or eps < 0:
        raise InvalidValueError(f"eps: got {eps}, needs a small number >= 0; the published value is 1e-7")
    return float(eps)


def check_on_collapse(on_collapse: str) -> None:
    """Refuse anything but "raise" and "zero"."""
    if on_collapse not in ("raise", "zero"):
        raise InvalidValueError(f"on_collapse: got {on_collapse!r}, needs 'raise' or 'zero'")


def warn_if_capped(rows: int, columns: int, center: bool, name: str = "Z", *, stacklevel: int = 3) -> None:
    """Warn when the number of rows caps the rank of a `(rows, columns)` matrix."""
    available = rows - int(center)
    if available >= columns:
        return
    warnings.warn(
        f"{name}: {rows} rows for {columns} dimensions, so the rank is capped at {max(available, 0)}; pass at least "
        "as many rows as dimensions, and compare scores at the same number of rows only",
        RankCappedWarning,
        stacklevel=stacklevel,
    )


def roots_of_gram(gram: Any) -> Spectrum:
    """Singular values, largest first, from a Gram matrix: the roots of its eigenvalues, in float64.

    Eigenvalues below the rounding of the largest (also small negative ones) count as 0. In float32 that rounding alone
    would appear as singular values of 3e-4 times the largest.
    """
    if is_tensor(gram):
        import torch

        eigenvalues = to_numpy(torch.linalg.eigvalsh(gram))
    else:
        eigenvalues = np.linalg.eigvalsh(gram)
    eigenvalues = eigenvalues[::-1]
    noise = np.finfo(np.float64).eps * max(eigenvalues[0], 0.0)
    return np.sqrt(np.where(eigenvalues > noise, eigenvalues, 0.0))


def spectrum_of_moments(moments: Moments, center: bool, name: str = "Z") -> Spectrum:
    """Singular values of the rows that `moments` has seen, largest first; all 0 for a collapsed matrix."""
    if 0.0 < moments.largest < 1e-150:
        raise _too_small(name, moments.largest)
    gram = moments.second_moment(center)
    if center and _trace(gram) <= ROUNDING_SHARE * _trace(moments.second_moment(False)):
        gram = gram * 0.0
    count = min(moments.count, len(gram))
    return roots_of_gram(gram)[:count]


def _too_small(name: str, largest: float) -> InvalidValueError:
    return InvalidValueError(
        f"{name}: the largest magnitude is {largest:.3g}, whose square underflows; multiply all rows by one number, "
        "the scores do not depend on the scale"
    )


def _trace(matrix: Any) -> float:
    return float(matrix.diagonal().sum())


def moments_of(blocks: MatrixBlocks) -> Moments:
    """Moments of a whole matrix, read block by block."""
    total: Moments | None = None
    for start, block in blocks.row_blocks():
        part = Moments.of_block(block, check_magnitude(block, blocks.name, start))
        if total is None:
            total = part
        else:
            total.merge(part)
    if total is None:
        raise InvalidValueError(f"{blocks.name}: got 0 rows, needs at least 1")
    return total


def _spectrum_of_wide(blocks: MatrixBlocks, center: bool) -> Spectrum:
    """Fewer rows than columns: the Gram matrix of the rows is the smaller one and has the same eigenvalues."""
    gram: Any = None
    largest = total = 0.0
    for block in blocks.column_blocks():
        largest = max(largest, check_magnitude(block, blocks.name, 0))
        total += float((block * block).sum())
        if center:
            block = block - block.mean(0)
        part = block @ block.T
        gram = part if gram is None else gram + part
    if 0.0 < largest < 1e-150:
        raise _too_small(blocks.name, largest)
    if center and _trace(gram) <= ROUNDING_SHARE * total:
        gram = gram * 0.0
    return roots_of_gram(gram)


def singular_values(Z: Any, *, center: bool = False, name: str = "Z") -> Spectrum:
    """Singular values of `Z` `(n, dim)`, largest first: `min(n, dim)` numbers in float64.

    They are the roots of the eigenvalues of the smaller Gram matrix, which is summed block by block: a memory-mapped
    matrix is read once and never copied, and the cost is a matrix product instead of a decomposition of `Z`. Values
    below about 1.5e-8 of the largest cannot be told from 0 this way.

    Args:
        Z: NumPy array (also memory-mapped), torch tensor (any device; summed there), scipy sparse matrix, `Vectors`,
            pandas or polars frame, nested sequence.
        center: Subtract the mean row first.
        name: The argument's name, for messages.

    Raises:
        InvalidTypeError: Not real numbers.
        InvalidValueError: Not two-dimensional, empty, NaN or infinity.
    """
    return spectrum_of(MatrixBlocks(Z, name), center)


def spectrum_of(blocks: MatrixBlocks, center: bool) -> Spectrum:
    """Singular values, largest first, of a matrix that is read block by block; all 0 for a collapsed one."""
    if blocks.rows < blocks.columns:
        return _spectrum_of_wide(blocks, center)
    return spectrum_of_moments(moments_of(blocks), center, blocks.name)


# -- numbers of a spectrum -------------------------------------------------------------------------------------------


def effective_rank(spectrum: Spectrum, eps: float = 0.0) -> float:
    """`exp(-sum p log p)` with `p = spectrum / sum(spectrum) + eps`, for non-negative numbers that are not all 0.

    With `eps=0` this is Roy and Vetterli's effective rank (2007) of a matrix with these singular values. `eps` is added
    after the division, as RankMe does.
    """
    shares = spectrum / spectrum.sum() + eps
    shares = shares[shares > 0]
    return float(np.exp(-np.sum(shares * np.log(shares))))


def stable_rank(spectrum: Spectrum) -> float:
    """Squared Frobenius norm over squared spectral norm, `sum s^2 / s_1^2`; between 1 and the rank."""
    return float(np.sum((spectrum / spectrum[0]) ** 2))


def participation_ratio(eigenvalues: Spectrum) -> float:
    """`(sum l)^2 / sum l^2`: how many equal eigenvalues would be as spread out as these."""
    shares = eigenvalues / eigenvalues[0]
    return float(shares.sum() ** 2 / np.sum(shares**2))


def alpha_req(eigenvalues: Spectrum) -> float:
    """The exponent `a` of the power law `l_i ~ i^-a` that fits the eigenvalues (largest first) best on log-log axes.

    Least squares over all eigenvalues above 1e-12 of the largest. Near 1 is best; larger means that a few directions
    dominate, smaller that the spectrum is flat. Infinite when fewer than two eigenvalues are left to fit.

    Source: alpha-ReQ, Agrawal et al. (2022), on the spectrum of the covariance.
    """
    kept = eigenvalues[eigenvalues > _POWER_LAW_FLOOR * eigenvalues[0]]
    if len(kept) < 2:
        return math.inf
    position = np.log(np.arange(1, len(kept) + 1))
    position -= position.mean()
    return float(-(position @ np.log(kept)) / (position @ position))


def collapsed(name: str, center: bool) -> InvalidValueError:
    """The error for a matrix without any variance."""
    what = "all rows are equal" if center else "all values are 0"
    return InvalidValueError(
        f"{name}: {what}: no variance, the embeddings collapsed; check the encoder, "
        "or pass on_collapse='zero' to score it 0"
    )


def report_of_spectra(
    raw: Spectrum, centered: Spectrum, *, n: int, dim: int, center: bool, eps: float
) -> SpectrumReport:
    """The report for the singular values of the matrix as asked for (`raw`) and of the centred matrix."""
    covariance = centered**2
    varies = bool(len(covariance)) and covariance[0] > 0
    return SpectrumReport(
        rankme=effective_rank(raw, eps),
        roy_vetterli_covariance=effective_rank(raw**2),
        alpha_req=alpha_req(covariance) if varies else math.inf,
        stable_rank=stable_rank(raw),
        participation_ratio=participation_ratio(covariance) if varies else 0.0,
        nesum=stable_rank(centered) if varies else 0.0,
        n=n,
        dim=dim,
        centered=center,
        capped=n - int(center) < dim,
    )


def spectrum_report(Z: Any, eps: float = 1e-7, center: bool = False) -> SpectrumReport:
    """Label-free numbers about how many dimensions an embedding matrix uses, from one pass over it.

    A high rank is necessary for good downstream accuracy, not sufficient: pure noise has the highest rank of all.
    Compare runs of one method on the same data, with the same number of rows and dimensions; never compare different
    methods, and never centred with uncentred numbers.

    Args:
        Z: Embeddings `(n, dim)` of unlabelled data, of any kind that `singular_values` takes.
        eps: Added to the normalised singular values in `rankme`; the published constant.
        center: Subtract the mean row for the first two and the stable rank. The published definition does not.

    Returns:
        A dictionary:

        - `rankme`: effective rank of the singular values (see `rankme`).
        - `roy_vetterli_covariance`: effective rank of the squared singular values, which is that of `Z^T Z`. Lower.
        - `stable_rank`: `sum s^2 / s_1^2`.
        - `alpha_req`, `participation_ratio`, `nesum`: of the eigenvalues of the covariance, so always centred, as their
          authors define them: slope of the spectrum (best near 1), `(sum l)^2 / sum l^2`, and `sum l / l_1`.
          Where the centred rows do not vary they are infinity, 0 and 0.
        - `n`, `dim`, `centered`, and `capped`: whether `n` is too small to reach rank `dim`.

    Raises:
        InvalidTypeError: Not real numbers.
        InvalidValueError: Not two-dimensional, empty, NaN or infinity, or collapsed.

    Source: RankMe (2023); alpha-ReQ (2022); NESum, He and Ozay (2022).

    Example:
        >>> import numpy as np
        >>> report = spectrum_report(np.diag([2.0, 1.0, 1.0, 0.0]).repeat(5, axis=0))
        >>> round(report["rankme"], 2), round(report["stable_rank"], 2)
        (2.83, 1.5)
    """
    eps = check_eps(eps)
    blocks = MatrixBlocks(Z)
    if blocks.rows < blocks.columns:
        centered = _spectrum_of_wide(blocks, True)
        raw = centered if center else _spectrum_of_wide(blocks, False)
    else:
        moments = moments_of(blocks)
        centered = spectrum_of_moments(moments, True)
        raw = centered if center else spectrum_of_moments(moments, False)
    if raw[0] == 0:
        raise collapsed("Z", center)
    return report_of_spectra(raw, centered, n=blocks.rows, dim=blocks.columns, center=center, eps=eps)
