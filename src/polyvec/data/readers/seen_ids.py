"""Finding the second use of an id among many millions, at 16 bytes an id."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

RECENT = 1 << 18


class SeenIds:
    """A set of ids with the row of each, kept as 64-bit digests: recent ones in a dict, older ones in sorted arrays.

    Two different ids have the same digest with a chance of about n²/2⁶⁵ for n ids: 1 in 370,000 for ten million.
    """

    def __init__(self, recent: int = RECENT) -> None:
        self._limit = recent
        self._recent: dict[int, int] = {}
        self._runs: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]] = []

    def add(self, name: str, row: int) -> int | None:
        """Remember `name`; the row that had it before, or `None` when it is new."""
        digest = int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        if digest in self._recent:
            return self._recent[digest]
        if self._runs and (before := self._settled(digest)) is not None:
            return before
        self._recent[digest] = row
        if len(self._recent) >= self._limit:
            self._settle()
        return None

    def _settled(self, digest: int) -> int | None:
        import numpy as np

        key = np.uint64(digest)
        for digests, rows in self._runs:
            place = int(np.searchsorted(digests, key))
            if place < len(digests) and digests[place] == key:
                return int(rows[place])
        return None

    def _settle(self) -> None:
        """Move recent ids to a sorted run; runs of like length are merged, so there are few of them."""
        import numpy as np  # only long tables come here: short ones are read without loading it

        digests = np.fromiter(self._recent.keys(), np.uint64, len(self._recent))
        rows = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        self._recent = {}
        while self._runs and len(self._runs[-1][0]) <= len(digests):
            older_digests, older_rows = self._runs.pop()
            digests, rows = np.concatenate([older_digests, digests]), np.concatenate([older_rows, rows])
        order = np.argsort(digests, kind="stable")
        self._runs.append((digests[order], rows[order]))
