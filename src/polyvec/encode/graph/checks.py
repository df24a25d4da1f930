"""Checks of plain arguments that the graph encoders share."""

from __future__ import annotations

import math
import numbers

from polyvec.core.errors import InvalidTypeError, InvalidValueError


def positive_int(value: object, name: str, *, least: int = 1) -> int:
    """`value` as an `int` of at least `least`; booleans and fractions are refused."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InvalidTypeError(f"{name}: got {type(value).__name__}, needs an int >= {least}")
    if value < least:
        raise InvalidValueError(f"{name}: got {value}, needs an int >= {least}")
    return int(value)


def number_between(value: object, name: str, low: float, high: float) -> float:
    """`value` as a finite `float` with `low <= value <= high`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InvalidTypeError(f"{name}: got {type(value).__name__}, needs a number")
    number = float(value)
    if not (math.isfinite(number) and low <= number <= high):
        bounds = f"from {low:g} to {high:g}" if math.isfinite(high) else f">= {low:g}"
        raise InvalidValueError(f"{name}: got {value}, needs a finite number {bounds}")
    return number


def one_of(value: object, name: str, choices: tuple[str, ...]) -> str:
    """`value` if it is one of `choices`."""
    if value not in choices:
        raise InvalidValueError(f"{name}: got {value!r}, needs one of {', '.join(map(repr, choices))}")
    return str(value)


def hop_weights(weights: object, name: str = "weights", *, hops: int | None = None) -> tuple[float, ...]:
    """Weights of the hops 1, 2, ... as floats: at least one, finite, none negative, not all zero.

    `hops` is the largest number of them that makes sense.
    """
    if isinstance(weights, (str, bytes)) or not hasattr(weights, "__iter__"):
        raise InvalidTypeError(f"{name}: got {type(weights).__name__}, needs a sequence of numbers, one a hop")
    checked = tuple(
        number_between(weight.item() if hasattr(weight, "item") else weight, f"{name}[{position}]", 0.0, math.inf)
        for position, weight in enumerate(weights)
    )
    if not checked:
        raise InvalidValueError(f"{name}: got none, needs at least one number, for example (0, 0, 1, 4)")
    if not any(checked):
        raise InvalidValueError(f"{name}: got only zeros, needs at least one positive number")
    if hops is not None and len(checked) > hops:
        raise InvalidValueError(f"{name}: got {len(checked)} weights, needs at most {hops} (the hops that were fitted)")
    return checked
