"""Count, mean and scatter of rows that arrive in parts: all that a singular spectrum needs."""

from __future__ import annotations

from typing import Any

from polyvec.core.arrays import is_tensor

# float64 sums of one constant differ from it by rounding only: scatter below this share of the total is not variance
ROUNDING_SHARE = 1e-28


class Moments:
    """Running count, mean `(dim,)` and centred scatter `(dim, dim)` of float64 rows.

    The mean is kept apart from the scatter, so that the centred and the uncentred spectrum both come from one pass
    without the cancellation of "sum of squares minus square of sums". NumPy blocks are summed by NumPy, tensors by
    torch on their device.

    Source: the pairwise update of Chan, Golub and LeVeque (1979), applied to blocks.
    """

    def __init__(self, mean: Any, scatter: Any, count: int = 0, largest: float = 0.0) -> None:
        self.count, self.mean, self.scatter, self.largest = count, mean, scatter, largest

    @classmethod
    def of_block(cls, block: Any, largest: float) -> Moments:
        """The moments of a float64 block `(rows, dim)` whose largest magnitude is known."""
        mean = block.mean(0)
        centred = block - mean
        return cls(mean, centred.T @ centred, len(block), largest)

    def merge(self, other: Moments) -> None:
        """Take in the rows that `other` has seen; `other` is unchanged."""
        mean, scatter = other.mean, other.scatter
        if is_tensor(self.mean) and mean.device != self.mean.device:
            mean, scatter = mean.to(self.mean.device), scatter.to(self.mean.device)
        total = self.count + other.count
        if total == 0:
            return
        shift = mean - self.mean
        self.scatter += scatter
        if self.count and other.count:
            shift_weighted = shift * (self.count * other.count / total)
            self.scatter += shift_weighted[:, None] * shift[None, :]
        self.mean = self.mean + shift * (other.count / total)
        self.count = total
        self.largest = max(self.largest, other.largest)

    def second_moment(self, center: bool) -> Any:
        """Sum over rows of `z z^T` `(dim, dim)`, with the mean row subtracted when `center`."""
        return self.scatter if center else self.scatter + (self.mean * self.count)[:, None] * self.mean[None, :]
