"""Which prefixes a funnel looks at, and how many candidates pass from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train.sizes import check_size


def funnel_schedule(
    dim: int, *, smallest: int | None = None, shortlist: int = 200
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes and shortlists of a funnel: sizes double while shortlists halve, the last size is the full one.

    Args:
        dim: Dimensions of the vectors.
        smallest: Size of the first scan. What it misses is lost, so the default is careful: an eighth of `dim`, at
            least 8. The paper's funnel on 2048 dimensions starts with 8.
        shortlist: How many candidates the first scan keeps, 200 as in the paper. Halving ends at 10 or where the size
            reaches `dim`.

    Source: Matryoshka Representation Learning (2022), section 4.3.1 (funnel retrieval).

    Example:
        >>> funnel_schedule(384)
        ((48, 96, 192, 384), (200, 100, 50))
        >>> funnel_schedule(2048, smallest=8)
        ((8, 16, 32, 64, 128, 2048), (200, 100, 50, 25, 12))
    """
    check_size(dim, "dim")
    size = min(dim, max(8, dim // 8)) if smallest is None else check_size(smallest, "smallest", dim)
    keep = check_size(shortlist, "shortlist")
    sizes, shortlists = [size], [keep]
    while keep // 2 >= 10 and size * 2 < dim:
        size, keep = size * 2, keep // 2
        sizes.append(size)
        shortlists.append(keep)
    if sizes[-1] == dim:
        return tuple(sizes), tuple(shortlists[:-1])
    return (*sizes, dim), tuple(shortlists)


def check_shortlists(shortlists: Sequence[int], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """`shortlists` as positive integers that do not increase, one for each size but the last.

    Raises:
        InvalidTypeError: Not a sequence of integers.
        InvalidValueError: Another number of them, below 1, or increasing.
    """
    if isinstance(shortlists, (str, bytes, int, float)) or not hasattr(shortlists, "__iter__"):
        raise InvalidTypeError(
            f"shortlists: got {type(shortlists).__name__}, needs a sequence of integers such as [200]"
        )
    checked = tuple(check_size(keep, "shortlists") for keep in shortlists)
    if len(checked) != len(sizes) - 1:
        raise InvalidValueError(
            f"shortlists: got {len(checked)} for {len(sizes)} sizes, needs one for each size but the last"
        )
    if any(later > earlier for earlier, later in pairwise(checked)):
        raise InvalidValueError(f"shortlists: got {list(checked)}, needs numbers that do not increase")
    return checked
