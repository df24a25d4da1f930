"""Which texts are computed together: sorted by length, cut where a batch has used up its budget of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64

from polyvec.encode.text.tokens import Tokenized

WINDOW = 2048
"""Texts that are tokenized and sorted together. Fixed, so that the batches, and with them the last bit of every vector,
do not depend on whether a corpus is encoded at once, as a stream, or by several machines."""

WINDOW_CHARACTERS = 1 << 24
"""Characters after which a window ends before it has `WINDOW` texts, so that long documents do not fill the memory."""

TOKEN_BUDGET = 1024
"""Tokens a batch, padding included. Small batches stay in a core's own cache: where the benchmark was run, 512 to 2048
were equally fast and 8192 was 15 % slower."""


@dataclass(frozen=True)
class WindowCall:
    """What one call of `encode` wants of a runtime.

    Attributes:
        prompt: Put before every text.
        task: `"query"` or `"document"` for models that treat them differently.
        batch_size: Most texts a batch; `None` leaves it to the runtime.
        advance: Told the number of texts that are done, as they are done.
    """

    prompt: str = ""
    task: str | None = None
    batch_size: int | None = None
    advance: Callable[[int], None] = lambda count: None


def plan_batches(
    lengths: Int64[np.ndarray, " texts"], token_budget: int = TOKEN_BUDGET, batch_size: int | None = None
) -> list[Int64[np.ndarray, " batch"]]:
    """Groups of text numbers, longest texts first; a group times its longest text is at most `token_budget` tokens.

    A single text longer than the budget is a group of its own. `batch_size` bounds the number of texts in a group.
    """
    order = np.argsort(-lengths, kind="stable")
    groups, begin = [], 0
    while begin < len(order):
        longest = max(int(lengths[order[begin]]), 1)
        size = max(1, token_budget // longest)
        if batch_size is not None:
            size = min(size, batch_size)
        groups.append(order[begin : begin + size])
        begin += size
    return groups


def padded_batch(
    tokens: Tokenized, members: Int64[np.ndarray, " batch"], pad_id: int = 0
) -> tuple[Int32[np.ndarray, "batch length"], Int32[np.ndarray, "batch length"]]:
    """`(input_ids, attention_mask)` of the texts `members`, padded on the right to the longest of them."""
    lengths = tokens.lengths[members]
    longest = max(int(lengths.max(initial=0)), 1)
    places = np.arange(longest)
    present = places < lengths[:, None]
    ids = np.full((len(members), longest), pad_id, np.int32)
    ids[present] = tokens.ids[(tokens.starts[members][:, None] + places)[present]]
    return ids, present.astype(np.int32)
