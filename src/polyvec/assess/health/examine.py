"""`health_report`: all checks, in order."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyvec.assess.health.anisotropy import anisotropy_findings
from polyvec.assess.health.dimensions import dimension_findings
from polyvec.assess.health.duplicates import (
    NEAR_DUPLICATES,
    Copies,
    copies_finding,
    exact_copies,
    near_of_references,
    near_within,
)
from polyvec.assess.health.effective_rank import rank_curve, rank_findings
from polyvec.assess.health.finding import Finding, count, percent
from polyvec.assess.health.hubness import K, hubness_findings
from polyvec.assess.health.neighbours import Neighbours, compare_with_references, neighbours_within
from polyvec.assess.health.norms import norm_finding
from polyvec.assess.health.outliers import LONELY, length_finding, lonely_finding
from polyvec.assess.health.report import HealthReport
from polyvec.assess.health.rows import Rows
from polyvec.assess.health.scan import Scan, invalid_finding, scan, zero_finding
from polyvec.assess.health.series import chart_series
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.progress import progress
from polyvec.core.randomness import numpy_generator

SAMPLE = 20_000
FEWEST_SAMPLE = 100
REFERENCES = 1000
_LARGEST_COPY = 1 << 28  # values


def health_report(
    vectors: Any,
    *,
    texts: Any = None,
    sample: int = SAMPLE,
    seed: int | None = 0,
    name: str = "",
    show_progress: bool | None = None,
) -> HealthReport:
    """Judge vectors without labels.

    Effective rank and its growth with n, mean cosine, leading direction, dominant dimension, hubness, orphans, spread
    of the norms, dead and duplicate dimensions, exact copies, near-duplicates, outliers, rows of zeros or with NaN or
    infinity. Each finding says what it means, where its thresholds come from and what to do. A report without warnings
    is necessary for good search, not sufficient: random numbers get one too.

    All rows are read once for what can be exact at that price (rank, mean cosine, norms, dimensions, copies).
    Neighbours come from a sample of different rows, compared exactly by cosine: up to `sample` rows with each other,
    and, when there are more, all rows with 1,000 reference rows.

    Args:
        vectors: Embeddings `(n, dim)`: `Vectors`, NumPy array (a memory-mapped one is read in blocks and never copied
            whole), torch tensor, pandas or polars frame.
        texts: What the vectors were made of, to be shown with examples: `n` texts, or a function from ids to texts.
        sample: Rows that are compared with each other. The time grows with its square; 20,000 take some seconds.
        seed: For the samples; the same seed gives the same report.
        name: What to call the vectors in the report.
        show_progress: As for `polyvec.core.progress.progress`.

    Raises:
        InvalidTypeError: Not real numbers, sparse.
        InvalidValueError: Not two-dimensional, empty, magnitudes whose squares overflow, `sample` below 100.

    Example:
        >>> import numpy as np
        >>> report = health_report(np.random.default_rng(0).normal(size=(500, 16)))
        >>> report.status, report["mean_cosine"].status
        ('ok', 'ok')
    """
    if isinstance(sample, bool) or not isinstance(sample, (int, np.integer)):
        raise InvalidTypeError(f"sample: got {type(sample).__name__}, needs a whole number of at least {FEWEST_SAMPLE}")
    if sample < FEWEST_SAMPLE:
        raise InvalidValueError(f"sample: got {sample}, needs at least {FEWEST_SAMPLE} rows")
    rows = Rows(vectors, texts)
    generator = numpy_generator(seed)
    with progress("reading vectors", rows.count, show=show_progress) as handle:
        scanned = scan(rows, handle)
    copies = exact_copies(scanned, rows)
    limit = max(FEWEST_SAMPLE, min(int(sample), _LARGEST_COPY // rows.dim))
    shuffled = _sampled(generator, scanned.rows, limit)
    curve = rank_curve(rows, scanned, shuffled)
    different = scanned.rows[copies.first & (scanned.lengths > 0)]
    chosen = np.sort(_sampled(generator, different, limit))
    unit = rows.units(chosen)
    neighbours = None
    if len(chosen) > 1:
        with progress("comparing vectors", len(chosen), show=show_progress) as handle:
            neighbours = neighbours_within(unit, chosen, min(K, len(chosen) - 1), handle)
    near, lonely = _among_all(rows, different, neighbours, generator, show_progress)
    findings = (
        invalid_finding(scanned, rows),
        zero_finding(scanned, rows),
        *rank_findings(curve, scanned, rows.dim),
        *anisotropy_findings(scanned),
        *hubness_findings(neighbours, len(different), rows),
        norm_finding(scanned),
        *dimension_findings(scanned, rows.dim),
        copies_finding(copies, scanned, rows),
        near,
        length_finding(scanned, rows),
        lonely,
    )
    return HealthReport(
        name=name,
        rows=rows.count,
        dim=rows.dim,
        examined=scanned.examined,
        sample=len(chosen),
        seed=None if seed is None else int(seed),
        findings=findings,
        statements=_statements(scanned, copies, different, chosen, curve is not None),
        series=chart_series(scanned, curve, neighbours, unit, generator),
    )


def _sampled(generator: np.random.Generator, numbers: np.ndarray, limit: int) -> np.ndarray:
    """Up to `limit` of the numbers, in random order, so that any first part of them is a random sample too."""
    return generator.choice(numbers, min(limit, len(numbers)), replace=False)


def _among_all(
    rows: Rows,
    different: np.ndarray,
    neighbours: Neighbours | None,
    generator: np.random.Generator,
    show_progress: bool | None,
) -> tuple[Finding, Finding]:
    """Near-duplicates and lonely rows among all different rows."""
    if neighbours is None:
        few = f"needs at least 2 different rows that are not zeros, got {len(different)}"
        return NEAR_DUPLICATES.missing(few), LONELY.missing(few)
    k = neighbours.nearest.shape[1]
    if len(neighbours.rows) == len(different):
        closeness = neighbours.cosines.mean(axis=1)
        lonely = lonely_finding(different, closeness, rows, f"Compared: the {count(k, 'nearest row')} of all.")
        return near_within(neighbours, rows), lonely
    references = _sampled(generator, different, REFERENCES)
    with progress("comparing with references", rows.count, show=show_progress) as handle:
        compared = compare_with_references(rows, different, references, k, handle)
    against = f"Compared: the {k} nearest of {count(len(references), 'reference row')}."
    return (
        near_of_references(compared, references, rows),
        lonely_finding(different, compared.closeness, rows, against),
    )


def _statements(
    scanned: Scan, copies: Copies, different: np.ndarray, chosen: np.ndarray, ranked: bool
) -> tuple[str, ...]:
    """What was left out, and what was sampled."""
    said = []
    excluded = len(scanned.invalid)
    if excluded:
        said.append(
            f"{count(excluded, 'row')} with NaN or infinity ({percent(excluded / scanned.total)}) left out of every "
            "other check."
        )
    zeros = scanned.examined - scanned.directed
    if zeros:
        said.append(f"{count(zeros, 'vector')} of zeros left out of all checks that use cosines.")
    repeated = int(np.count_nonzero(~copies.first))
    if repeated:
        said.append(f"{count(repeated, 'exact copy', 'exact copies')} left out of the comparison of neighbours.")
    if len(chosen) < len(different):
        said.append(
            f"Hubness and orphans: {count(len(chosen), 'row')} drawn at random, compared with each other. They "
            "depend on the number of rows: compare reports at the same sample."
        )
    if ranked and scanned.examined < 100:
        said.append(f"{count(scanned.examined, 'row')}: too few for firm conclusions.")
    return tuple(said)
