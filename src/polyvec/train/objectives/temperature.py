"""The temperature of a contrastive objective: fixed, or learned within bounds."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from polyvec.core.errors import InvalidValueError
from polyvec.train.objectives.checks import check_positive


class Temperature(nn.Module):
    """A number that scores are divided by.

    Learned, it is one parameter, the logarithm of the scale `1 / temperature`, so that steps are relative and the value
    stays positive. The parameter is moved back into its bounds whenever it is used: without the lower bound a model
    that fits its training pairs sharpens the softmax until the gradients of all other pairs vanish.

    Args:
        initial: The value, or the value to start from.
        learned: Whether it is a parameter; give it to the optimiser then.
        smallest: Lower bound of a learned one; 0.01 (a scale of 100) as in CLIP.
        largest: Upper bound of a learned one.

    Raises:
        InvalidTypeError: Not numbers.
        InvalidValueError: Not above 0; a learned one that does not start within its bounds.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021), section 2.5.

    Example:
        >>> Temperature(0.05)(), [name for name, _ in Temperature(0.05, learned=True).named_parameters()]
        (0.05, ['log_scale'])
    """

    log_scale: nn.Parameter | None

    def __init__(
        self, initial: float = 0.05, *, learned: bool = False, smallest: float = 0.01, largest: float = 1.0
    ) -> None:
        super().__init__()
        self.initial = check_positive(initial, "temperature")
        self.smallest, self.largest = check_positive(smallest, "smallest"), check_positive(largest, "largest")
        if learned and not self.smallest <= self.initial <= self.largest:
            raise InvalidValueError(
                f"temperature: got {initial}, needs {self.smallest} to {self.largest} when it is learned"
            )
        value = nn.Parameter(torch.tensor(-math.log(self.initial))) if learned else None
        self.register_parameter("log_scale", value)

    def forward(self) -> float | Tensor:
        """The temperature: a plain number, or a scalar with a gradient where it is learned."""
        if self.log_scale is None:
            return self.initial
        self.log_scale.data.clamp_(-math.log(self.largest), -math.log(self.smallest))
        return torch.exp(-self.log_scale)

    @property
    def value(self) -> float:
        """The temperature as a plain number."""
        temperature = self()
        return float(temperature.detach()) if isinstance(temperature, Tensor) else temperature

    def extra_repr(self) -> str:
        """The arguments."""
        bounds = f", learned within {self.smallest} to {self.largest}" if self.log_scale is not None else ""
        return f"{self.initial}{bounds}"
