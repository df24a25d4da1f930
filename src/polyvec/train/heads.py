"""Classification heads on nested prefixes of an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from polyvec.core.errors import InvalidValueError
from polyvec.train.objectives.checks import check_embeddings
from polyvec.train.sizes import check_size, check_sizes


class MatryoshkaLinear(nn.Module):
    """One linear classifier for each prefix of an embedding.

    Args:
        sizes: Increasing prefix lengths; the last is the embedding's width.
        out_features: Number of classes.
        efficient: All sizes share the columns of one weight and one bias (MRL-E): size m uses `weight[:, :m]`. It
            about halves the memory of the heads and is slightly worse at the smallest sizes.
        bias: Whether there is one (one for each size, or a shared one when `efficient`).

    Shapes:
        embeddings `(batch, sizes[-1])`; returns a list of logits `(batch, out_features)`, one for each size.

    Raises:
        InvalidValueError: Sizes empty, not increasing or not positive; embeddings of another width.

    Source: Matryoshka Representation Learning (2022), equation 1 and section 3 (MRL-E).

    Example:
        >>> import torch
        >>> heads = MatryoshkaLinear([2, 4, 8], out_features=3, efficient=True)
        >>> [tuple(logits.shape) for logits in heads(torch.randn(5, 8))], heads.at(4)
        ([(5, 3), (5, 3), (5, 3)], Linear(in_features=4, out_features=3, bias=True))
    """

    def __init__(self, sizes: Sequence[int], out_features: int, efficient: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.sizes = check_sizes(sizes)
        self.out_features = check_size(out_features, "out_features")
        self.efficient = bool(efficient)
        widths = self.sizes[-1:] if efficient else self.sizes
        self.heads = nn.ModuleList(nn.Linear(width, self.out_features, bias=bias) for width in widths)

    def _parameters_at(self, position: int) -> tuple[Tensor, Tensor | None]:
        head = cast(nn.Linear, self.heads[0 if self.efficient else position])
        return head.weight[:, : self.sizes[position]], head.bias

    def forward(self, embeddings: Float[Tensor, "batch dim"]) -> list[Float[Tensor, "batch classes"]]:
        """Logits of every size, smallest first."""
        check_embeddings(embeddings, "embeddings", dim=self.sizes[-1])
        return [linear(embeddings[:, :size], *self._parameters_at(i)) for i, size in enumerate(self.sizes)]

    def at(self, size: int) -> nn.Linear:
        """The classifier of one size as a plain layer on `(batch, size)`, ready to be served.

        It is a copy: training this module further does not change it.

        Raises:
            InvalidValueError: There is no head for this size.
        """
        if size not in self.sizes:
            raise InvalidValueError(f"size: got {size}, needs one of {list(self.sizes)}")
        weight, bias = self._parameters_at(self.sizes.index(size))
        layer = nn.Linear(size, self.out_features, bias=bias is not None, device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            layer.weight.copy_(weight)
            if bias is not None:
                layer.bias.copy_(bias)
        return layer
