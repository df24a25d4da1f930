"""Adaptive classification: use the smallest prefix that is confident enough, item by item.

It stands in this room because of what it does: it decides how many coordinates of each vector have to be read. It looks
at logits only, so it works with any classifier that can answer at several sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from polyvec.core.arrays import as_matrix, is_tensor
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train.sizes import check_sizes

NEVER = 2.0  # no probability reaches it


@dataclass(frozen=True, slots=True)
class CascadeResult:
    """What a cascade decided.

    Attributes:
        labels: `(n,)` predicted class numbers.
        sizes: `(n,)` how many coordinates each item needed.
    """

    labels: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    @property
    def expected_size(self) -> float:
        """Mean number of coordinates an item."""
        return float(self.sizes.mean())


@dataclass(frozen=True, slots=True)
class Cascade:
    """Answer at the first size whose largest softmax probability reaches its threshold; at the last size in any case.

    Going from one size to the next reads only the coordinates between them, since prefixes are nested. So the size at
    which an item stops is all that was read for it.

    Attributes:
        sizes: Increasing prefix lengths.
        thresholds: One for each size but the last; from 0 (always stop) to above 1 (never stop).
    """

    sizes: tuple[int, ...]
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        check_sizes(self.sizes)
        if len(self.thresholds) != len(self.sizes) - 1:
            raise InvalidValueError(
                f"thresholds: got {len(self.thresholds)} for {len(self.sizes)} sizes, needs one for each but the last"
            )
        if any(not value >= 0 for value in self.thresholds):
            raise InvalidValueError(f"thresholds: got {list(self.thresholds)}, needs numbers that are not negative")

    def predict(self, logits_by_size: Sequence[Any]) -> CascadeResult:
        """Classes and sizes of items.

        Args:
            logits_by_size: One `(n, classes)` array or tensor for each size, smallest first.

        Raises:
            InvalidValueError: Another number of arrays than sizes, different shapes, NaN or infinity.
        """
        logits = _checked(logits_by_size, len(self.sizes))
        labels = logits[-1].argmax(axis=1)
        stops = np.full(len(labels), self.sizes[-1], dtype=np.int64)
        for position in reversed(range(len(self.thresholds))):  # a smaller size, when confident, has the last word
            confident = _confidence(logits[position]) >= self.thresholds[position]
            labels = np.where(confident, logits[position].argmax(axis=1), labels)
            stops[confident] = self.sizes[position]
        return CascadeResult(labels.astype(np.int64), stops)


def _checked(logits_by_size: Sequence[Any], count: int) -> list[np.ndarray]:
    if len(logits_by_size) != count:
        raise InvalidValueError(f"logits_by_size: got {len(logits_by_size)} arrays for {count} sizes, needs one each")
    logits = [as_matrix(part, f"logits_by_size[{i}]", dtype=np.float64) for i, part in enumerate(logits_by_size)]
    if len(shapes := {part.shape for part in logits}) > 1:
        raise InvalidValueError(
            f"logits_by_size: got shapes {sorted(shapes)}, needs the same (n, classes) for every size"
        )
    return logits


def _confidence(logits: np.ndarray) -> np.ndarray:
    """The largest softmax probability of each row."""
    return 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)


def fit_cascade(logits_by_size: Sequence[Any], labels: Any, sizes: Sequence[int], *, tolerance: float = 0.0) -> Cascade:
    """Thresholds that let items stop early without losing accuracy on a held-out part.

    Greedy, from the smallest size up. Among the items that get to a size, those that stop there may cost no more
    correct answers than are left to lose; the threshold is the lowest for which this holds together with all higher
    ones. An item counts by what the full size says about it: stopping where the full size is right and this one is
    wrong loses one, the other way round wins one.

    Fit it on items that neither trained the classifier nor measure the result. The thresholds are chosen by looking at
    these labels: on new items expect to lose about one item in `n` more for every size that lets items stop. Where
    labels are few, give the cross-validated logits of the whole training part instead of a small part of it.

    Args:
        logits_by_size: One `(n, classes)` array or tensor for each size, smallest first.
        labels: `(n,)` true class numbers of the held-out items.
        sizes: The increasing prefix lengths.
        tolerance: Accuracy (a fraction, 0.005 is half a point) that may be lost against the full size.

    Raises:
        InvalidValueError: Shapes that do not fit together; labels that are no class numbers; tolerance outside 0 to 1.

    Source: Matryoshka Representation Learning (2022), section 4.2.1 (adaptive classification). The paper tunes its
    thresholds on a grid; here every confidence that occurs is a candidate, and the search stops at the first that is
    not allowed instead of taking the lowest allowed one, which on few items is lucky more often than right.

    Example:
        >>> import numpy as np
        >>> small, full = np.array([[4.0, 0], [0, 0.1], [0, 5.0]]), np.array([[9.0, 0], [9.0, 0], [0, 9.0]])
        >>> cascade = fit_cascade([small, full], [0, 0, 1], sizes=[2, 16])
        >>> cascade.predict([small, full]).sizes.tolist()
        [2, 16, 2]
    """
    checked = check_sizes(sizes)
    logits = _checked(logits_by_size, len(checked))
    truth = np.asarray(labels.detach().cpu().numpy() if is_tensor(labels) else labels)
    if truth.dtype.kind not in "iu":
        raise InvalidTypeError(f"labels: got elements of type {truth.dtype}, needs class numbers (integers)")
    count, classes = logits[0].shape
    if truth.shape != (count,):
        raise InvalidValueError(f"labels: got shape {truth.shape}, needs ({count},), one for each row of the logits")
    if truth.min() < 0 or truth.max() >= classes:
        raise InvalidValueError(
            f"labels: got {truth.min()} to {truth.max()}, needs class numbers from 0 to {classes - 1}"
        )
    if not 0 <= tolerance <= 1:
        raise InvalidValueError(f"tolerance: got {tolerance}, needs a fraction from 0 to 1")
    full_right = logits[-1].argmax(axis=1) == truth
    budget = int(np.floor(tolerance * count + 1e-9))
    waiting = np.ones(count, dtype=bool)
    thresholds = []
    for part in logits[:-1]:
        lost = full_right.astype(np.int64) - (part.argmax(axis=1) == truth)
        threshold, cost = _lowest_threshold(_confidence(part)[waiting], lost[waiting], budget)
        thresholds.append(threshold)
        budget -= cost
        waiting &= _confidence(part) < threshold
    return Cascade(checked, tuple(thresholds))


def _lowest_threshold(confidence: np.ndarray, lost: np.ndarray, budget: int) -> tuple[float, int]:
    """The lowest threshold such that it and every higher one lose at most `budget`, and what it loses."""
    if len(confidence) == 0:
        return NEVER, 0
    order = np.argsort(-confidence, kind="stable")
    values, running = confidence[order], np.cumsum(lost[order])
    ends = np.flatnonzero(np.append(values[:-1] > values[1:], True))  # items of equal confidence stop together
    allowed = running[ends] <= budget
    count = len(ends) if allowed.all() else int(np.argmin(allowed))
    if count == 0:
        return NEVER, 0
    last = ends[count - 1]
    return float(values[last]), int(running[last])
