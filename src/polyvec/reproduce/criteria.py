"""Criteria as data: comparisons of measured quantities, written down before the numbers are seen.

A criterion is built from `measured(method, metric)`, plain numbers, `+`, `-` and `*`:

    at_least(measured("MRL", "accuracy at 4"), measured("truncation", "accuracy at 4") + 0.10)

It can print itself, and print itself with the figures of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from polyvec.core.errors import InvalidValueError, NotFoundError

REDUCTIONS: Mapping[str, Callable[[Iterable[float]], float]] = {"mean": fmean, "min": min, "max": max}


class Measurements(Protocol):
    """What criteria are evaluated on: the values of a metric, by seed."""

    def values(self, method: str, metric: str) -> Mapping[int, float]:
        """Value of the metric for each seed."""
        ...


def _number(value: float) -> str:
    return f"{value:.4g}"


class Quantity:
    """A number that is known once the run is done."""

    def value(self, data: Measurements, seed: int | None = None) -> float:
        """The number; with `seed` that seed's alone."""
        raise TypeError(f"{type(self).__name__} is not a quantity that can be measured")

    def text(self, data: Measurements | None = None, seed: int | None = None) -> str:
        """What it stands for; with `data` also the figures."""
        raise TypeError(f"{type(self).__name__} is not a quantity that can be measured")

    def seeds(self, data: Measurements) -> set[int]:
        """The seeds that take part."""
        return set()

    def __add__(self, other: Quantity | float) -> Quantity:
        return _Combined("+", self, as_quantity(other))

    def __sub__(self, other: Quantity | float) -> Quantity:
        return _Combined("-", self, as_quantity(other))

    def __mul__(self, other: Quantity | float) -> Quantity:
        return _Combined("x", self, as_quantity(other))

    __rmul__ = __mul__
    __radd__ = __add__


@dataclass(frozen=True)
class _Constant(Quantity):
    number: float

    def value(self, data: Measurements, seed: int | None = None) -> float:
        return self.number

    def text(self, data: Measurements | None = None, seed: int | None = None) -> str:
        return _number(self.number)


@dataclass(frozen=True)
class _Measured(Quantity):
    method: str
    metric: str
    reduce: str

    def value(self, data: Measurements, seed: int | None = None) -> float:
        values = data.values(self.method, self.metric)
        if not values:
            raise NotFoundError(f"the run recorded no {self.metric!r} of {self.method!r}")
        if seed is not None:
            if seed not in values:
                raise NotFoundError(f"the run recorded no {self.metric!r} of {self.method!r} for seed {seed}")
            return values[seed]
        return REDUCTIONS[self.reduce](values.values())

    def text(self, data: Measurements | None = None, seed: int | None = None) -> str:
        label = f"{self.metric} of {self.method}"
        if data is None:
            return f"{self.reduce} {label}" if self.reduce != "mean" else label
        return f"{label} {_number(self.value(data, seed))}"

    def seeds(self, data: Measurements) -> set[int]:
        return set(data.values(self.method, self.metric))


@dataclass(frozen=True)
class _Combined(Quantity):
    operator: str
    left: Quantity
    right: Quantity

    def value(self, data: Measurements, seed: int | None = None) -> float:
        left, right = self.left.value(data, seed), self.right.value(data, seed)
        return left + right if self.operator == "+" else left - right if self.operator == "-" else left * right

    def text(self, data: Measurements | None = None, seed: int | None = None) -> str:
        left, right = self.left.text(data, seed), self.right.text(data, seed)
        if self.operator == "x":
            left, right = (
                f"({side})" if isinstance(part, _Combined) and part.operator != "x" else side
                for side, part in ((left, self.left), (right, self.right))
            )
        return f"{left} {self.operator} {right}"

    def seeds(self, data: Measurements) -> set[int]:
        return self.left.seeds(data) | self.right.seeds(data)


def measured(method: str, metric: str, reduce: str = "mean") -> Quantity:
    """The metric of a method, reduced over the seeds by `mean` (default), `min` or `max`."""
    if reduce not in REDUCTIONS:
        raise InvalidValueError(f"reduce: got {reduce!r}, needs one of {', '.join(REDUCTIONS)}")
    return _Measured(method, metric, reduce)


def as_quantity(value: Quantity | float) -> Quantity:
    """A plain number as a quantity; quantities pass through."""
    return value if isinstance(value, Quantity) else _Constant(float(value))


@dataclass(frozen=True)
class Outcome:
    """Whether a criterion held, and the sentence with the figures."""

    holds: bool
    text: str


class Criterion:
    """Something that holds or does not hold for a finished run."""

    def text(self) -> str:
        """The criterion in words."""
        raise TypeError(f"{type(self).__name__} is not a criterion that can be judged")

    def judge(self, data: Measurements) -> Outcome:
        """Evaluate on the run's figures. A quantity that is not finite never satisfies a criterion."""
        raise TypeError(f"{type(self).__name__} is not a criterion that can be judged")


@dataclass(frozen=True)
class _Comparison(Criterion):
    sign: str
    left: Quantity
    right: Quantity
    every_seed: bool

    def _holds(self, data: Measurements, seed: int | None) -> bool:
        left, right = self.left.value(data, seed), self.right.value(data, seed)
        return left >= right if self.sign == ">=" else left <= right

    def text(self) -> str:
        return f"{self.left.text()} {self.sign} {self.right.text()}{' for every seed' if self.every_seed else ''}"

    def judge(self, data: Measurements) -> Outcome:
        seeds: Sequence[int | None] = [None]
        if self.every_seed:
            seeds = sorted(self.left.seeds(data) | self.right.seeds(data))
            if not seeds:
                raise NotFoundError(f"the run recorded nothing for the criterion {self.text()!r}")
        parts = []
        for seed in seeds:
            bound = self.right.text(data, seed)
            if not isinstance(self.right, _Constant):
                bound = f"{_number(self.right.value(data, seed))} (= {bound})"
            parts.append(f"{'' if seed is None else f'seed {seed}: '}{self.left.text(data, seed)} {self.sign} {bound}")
        return Outcome(all(self._holds(data, seed) for seed in seeds), "; ".join(parts))


@dataclass(frozen=True)
class _All(Criterion):
    parts: tuple[Criterion, ...]

    def text(self) -> str:
        return "; and ".join(part.text() for part in self.parts)

    def judge(self, data: Measurements) -> Outcome:
        outcomes = [part.judge(data) for part in self.parts]
        marked = [f"{outcome.text}{'' if outcome.holds else ' (fails)'}" for outcome in outcomes]
        return Outcome(all(outcome.holds for outcome in outcomes), "; and ".join(marked))


def at_least(left: Quantity | float, right: Quantity | float, *, every_seed: bool = False) -> Criterion:
    """`left >= right`; with `every_seed` for each seed alone, not for the reduced values."""
    return _Comparison(">=", as_quantity(left), as_quantity(right), every_seed)


def at_most(left: Quantity | float, right: Quantity | float, *, every_seed: bool = False) -> Criterion:
    """`left <= right`; with `every_seed` for each seed alone, not for the reduced values."""
    return _Comparison("<=", as_quantity(left), as_quantity(right), every_seed)


def all_of(*parts: Criterion) -> Criterion:
    """Holds when every part holds."""
    if not parts:
        raise InvalidValueError("parts: got none, needs at least one criterion")
    return _All(parts)
