"""Funnel search: scan all vectors by a short prefix, then re-rank shrinking shortlists by longer ones."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyvec.core.arrays import as_matrix, is_tensor
from polyvec.core.errors import FileProblemError, FormatError, InvalidValueError, StoreError
from polyvec.core.files import atomic_directory, file_problem, write_json
from polyvec.core.vectors import Vectors
from polyvec.search.schedule import check_shortlists, funnel_schedule
from polyvec.search.scoring import SearchCost, best_columns, blocks, inverse_lengths
from polyvec.train.sizes import check_size, check_sizes

FORMAT = "polyvec-funnel-1"
METRICS = ("cosine", "dot")


class FunnelSearch:
    """Index that spends few multiply-adds a vector: short prefixes for all, long ones for the best.

    Every vector is scored by its first `sizes[0]` coordinates; the best `shortlists[0]` are scored again by their
    first `sizes[1]`, and so on; the last shortlist is ordered by `sizes[-1]`. One shortlist (`sizes=[16, 2048]`,
    `shortlists=[200]`) is adaptive retrieval, several are a funnel. With shortlists as long as the index the result is
    that of exact search on the last size. It finds what short prefixes find: use it on vectors trained for prefixes
    (`MatryoshkaLoss`) or sorted by importance (PCA), and measure recall on your own data.

    The full vectors are read only for shortlisted candidates, so they may stay on disk: give a memory-mapped matrix
    (`Vectors.load(path, memory_map=True)`) or load with `memory_map=True`. In memory are then the first prefixes and,
    for the cosine, one number for each later size and vector. A later `add` copies all into memory.

    Args:
        vectors: Vectors `(n, dim)` to start with, or `None` for an empty index. `Vectors` bring their ids along.
        sizes: Increasing prefix lengths, none larger than `dim`. Default: `funnel_schedule(dim)`.
        shortlists: How many candidates each size but the last passes on; not increasing. A search for more than that
            many results keeps as many as are asked for. Default: `funnel_schedule(dim)`.
        metric: `"cosine"` (default: every prefix is scaled to unit length, on both sides) or `"dot"`.
        ids: One for each vector, all int or all str; numbered from 0 when left out.

    Equal scores are ordered by position, earlier first. A vector or query that is all zeros in a prefix scores 0 there,
    with a warning.

    Raises:
        InvalidValueError: Sizes empty, not increasing, not positive or larger than `dim`; another number of shortlists
            than sizes minus one; wrong width; NaN or infinity; ids that are repeated or not one for each vector.

    Source: Matryoshka Representation Learning (2022), sections 4.2.2 and 4.3.1.

    Example:
        >>> import numpy as np
        >>> vectors = np.random.default_rng(0).normal(size=(1000, 64))
        >>> index = FunnelSearch(vectors, sizes=[16, 64], shortlists=[100])
        >>> scores, ids, cost = index.search_with_cost(vectors[:3], k=1)
        >>> ids[:, 0].tolist(), round(cost.saving, 2)
        ([0, 1, 2], 2.86)
    """

    def __init__(
        self,
        vectors: Any | None = None,
        sizes: Sequence[int] | None = None,
        shortlists: Sequence[int] | None = None,
        *,
        metric: str = "cosine",
        ids: Sequence[Any] | None = None,
    ) -> None:
        if metric not in METRICS:
            raise InvalidValueError(f"metric: got {metric!r}, needs one of {', '.join(METRICS)}")
        if (sizes is None) != (shortlists is None):
            raise InvalidValueError("sizes and shortlists: got only one of them, needs both or none")
        self.metric = metric
        self.sizes: tuple[int, ...] | None = None
        self.shortlists: tuple[int, ...] | None = None
        if sizes is not None and shortlists is not None:
            self.sizes = check_sizes(sizes)
            self.shortlists = check_shortlists(shortlists, self.sizes)
        self._vectors: Vectors | None = None
        self._first = np.empty((0, 0), dtype=np.float32)
        self._scales = np.empty((0, 0), dtype=np.float32)
        if vectors is not None:
            self.add(vectors, ids)
        elif ids is not None:
            raise InvalidValueError("ids: given without vectors, needs vectors too")

    # -- what it holds ------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return 0 if self._vectors is None else len(self._vectors)

    def __repr__(self) -> str:
        return f"FunnelSearch(n={len(self)}, sizes={self.sizes}, shortlists={self.shortlists}, metric={self.metric!r})"

    @property
    def dim(self) -> int | None:
        """Dimensions of the stored vectors, `None` while empty."""
        return None if self._vectors is None else self._vectors.dim

    @property
    def nbytes(self) -> int:
        """Bytes of the full vectors (also where they are memory-mapped), the first prefixes and the scales."""
        return 0 if self._vectors is None else self._vectors.nbytes + self._first.nbytes + self._scales.nbytes

    def add(self, vectors: Any, ids: Sequence[Any] | None = None) -> None:
        """Add vectors `(n, dim)`; without `ids` (and unless they are `Vectors`) they are numbered on.

        Raises:
            InvalidValueError: See the class. The index is then as it was before.
        """
        given = vectors if isinstance(vectors, Vectors) else None
        matrix = as_matrix(vectors, "vectors", dim=self.dim)
        if given is None and ids is None:
            names: Any = self._next_ids(len(matrix))
        else:
            names = given.arrow_ids if given is not None and ids is None else ids
        added = Vectors(matrix, ids=names)
        sizes, shortlists = self.sizes, self.shortlists
        if sizes is None or shortlists is None:
            sizes, shortlists = funnel_schedule(added.dim)
        check_sizes(sizes, "sizes", added.dim)
        joined = added if self._vectors is None else Vectors.concatenate([self._vectors, added])
        first, scales = self._prepared(added.matrix, sizes)
        if self._vectors is not None:
            first, scales = np.concatenate([self._first, first]), np.concatenate([self._scales, scales])
        self.sizes, self.shortlists = sizes, shortlists
        self._vectors, self._first, self._scales = joined, first, scales

    def _next_ids(self, count: int) -> np.ndarray:
        if self._vectors is None:
            return np.arange(count)
        known = self._vectors.ids
        if known.dtype == object:
            raise InvalidValueError("ids: got none, but the stored vectors have ids of text; give each new one an id")
        return np.arange(count) + int(known.max()) + 1

    def _prepared(self, matrix: np.ndarray, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """First prefixes as they are scanned `(n, sizes[0])`, and one over the lengths of the later ones."""
        first = np.empty((len(matrix), sizes[0]), dtype=np.float32)
        scales = np.empty((len(matrix), len(sizes) - 1 if self.metric == "cosine" else 0), dtype=np.float32)
        zeros = 0
        for rows in blocks(len(matrix), matrix.shape[1]):
            part = np.asarray(matrix[rows])
            if self.metric == "dot":
                first[rows] = part[:, : sizes[0]]
                continue
            inverse = inverse_lengths(part, sizes)
            zeros += int(np.count_nonzero(inverse[:, 0] == 0))
            first[rows] = part[:, : sizes[0]] * inverse[:, :1]
            scales[rows] = inverse[:, 1:]
        if zeros:
            warnings.warn(
                f"{zeros} vectors are all zeros in their first {sizes[0]} coordinates; they score 0 in the first scan",
                stacklevel=4,
            )
        return first, scales

    # -- search -------------------------------------------------------------------------------------------------

    def search(self, queries: Any, k: int = 10) -> tuple[Any, Any]:
        """The `k` nearest of each query.

        Args:
            queries: `(q, dim)`.
            k: How many; where fewer are stored, all of them are returned.

        Returns:
            Scores (by the last size) and ids, each `(q, min(k, n))`, best first: NumPy arrays, or tensors for a tensor
            of queries (ids of text stay an array).

        Raises:
            StoreError: The index is empty.
            InvalidValueError: `k` below 1, wrong width, NaN or infinity.
        """
        scores, ids, _ = self.search_with_cost(queries, k)
        return scores, ids

    def search_with_cost(self, queries: Any, k: int = 10) -> tuple[Any, Any, SearchCost]:
        """`search`, and what it cost."""
        if self._vectors is None or self.sizes is None:
            raise _EmptyIndexError("index: holds no vectors yet; add some first")
        k = min(check_size(k, "k"), len(self))
        matrix = as_matrix(queries, "queries", dim=self.dim, min_rows=0)
        scores = np.empty((len(matrix), k), dtype=np.float32)
        rows = np.empty((len(matrix), k), dtype=np.int64)
        multiply_adds = 0
        for part in blocks(len(matrix), max(len(self), self._widest_gather(k))):
            scores[part], rows[part], spent = self._search_block(matrix[part], k)
            multiply_adds += spent
        cost = SearchCost(len(matrix), multiply_adds, len(matrix) * len(self) * self._vectors.dim)
        ids = self._vectors.ids[rows]
        if is_tensor(queries):
            import torch

            tensor_ids = ids if ids.dtype == object else torch.from_numpy(ids).to(queries.device)
            return torch.from_numpy(scores).to(queries.device), tensor_ids, cost
        return scores, ids, cost

    def _kept(self, k: int) -> list[int]:
        return [min(max(keep, k), len(self)) for keep in self.shortlists or ()]

    def _widest_gather(self, k: int) -> int:
        return max((keep * size for keep, size in zip(self._kept(k), (self.sizes or ())[1:], strict=True)), default=1)

    def _search_block(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, int]:
        sizes, matrix = self.sizes or (), self._vectors.matrix if self._vectors is not None else self._first
        lengths = inverse_lengths(queries, sizes) if self.metric == "cosine" else np.ones((len(queries), len(sizes)))
        if zeros := int(np.count_nonzero(lengths[:, 0] == 0)):
            warnings.warn(
                f"{zeros} queries are all zeros in their first {sizes[0]} coordinates; every vector scores 0 for them",
                stacklevel=4,
            )
        prefixes = [(queries[:, :size] * lengths[:, [i]]).astype(np.float32) for i, size in enumerate(sizes)]
        scores = prefixes[0] @ self._first.T
        spent = scores.size * sizes[0]
        rows = np.broadcast_to(np.arange(len(self)), scores.shape)
        for stage, keep in enumerate(self._kept(k), start=1):
            rows = np.take_along_axis(rows, best_columns(scores, keep), axis=1)
            candidates = matrix[rows, : sizes[stage]]
            scores = np.matmul(candidates, prefixes[stage][:, :, None])[:, :, 0]
            if self.metric == "cosine":
                scores *= self._scales[rows, stage - 1]
            spent += scores.size * sizes[stage]
        columns = best_columns(scores, k)
        rows, scores = np.take_along_axis(rows, columns, axis=1), np.take_along_axis(scores, columns, axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1), spent

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to the folder `path`, atomically; a folder that was there is replaced.

        `funnel.json` holds the parameters, `vectors.arrow` ids and vectors, `prefixes.safetensors` what is derived.
        """
        from safetensors.numpy import save_file

        with atomic_directory(path) as folder:
            state = {"format": FORMAT, "metric": self.metric, "sizes": self.sizes, "shortlists": self.shortlists}
            write_json(folder / "funnel.json", {**state, "vectors": len(self)})
            if self._vectors is not None:
                self._vectors.save(folder / "vectors.arrow")
                save_file({"first": self._first, "scales": self._scales}, folder / "prefixes.safetensors")

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, memory_map: bool = False) -> FunnelSearch:
        """Read an index that `save` wrote; with `memory_map` the full vectors stay on disk.

        Raises:
            FileProblemError: The folder or a file in it cannot be read.
            FormatError: It is not a saved funnel, or its files do not fit together.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(path)
        state = _read_state(folder / "funnel.json")
        try:
            index = cls(sizes=state["sizes"], shortlists=state["shortlists"], metric=state["metric"])
            count = int(state["vectors"])
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{folder / 'funnel.json'}: damaged parameters ({error})") from error
        if count == 0:
            return index
        vectors = Vectors.load(folder / "vectors.arrow", memory_map=memory_map)
        try:
            arrays = load_file(folder / "prefixes.safetensors")
        except OSError as error:
            raise file_problem(error, folder / "prefixes.safetensors", "read") from error
        except SafetensorError as error:
            raise FormatError(f"{folder / 'prefixes.safetensors'}: damaged ({error})") from error
        later = len(index.sizes or ()) - 1 if index.metric == "cosine" else 0
        expected = {"first": (count, (index.sizes or (0,))[0]), "scales": (count, later)}
        if len(vectors) != count or {name: array.shape for name, array in arrays.items()} != expected:
            raise FormatError(f"{folder}: vectors and prefixes do not fit together; save the index again")
        index._vectors, index._first, index._scales = vectors, arrays["first"], arrays["scales"]
        return index


class _EmptyIndexError(StoreError, ValueError):
    """An index without vectors was searched."""


def adaptive_search(
    vectors: Any, queries: Any, k: int = 10, *, size: int, shortlist: int = 200, metric: str = "cosine"
) -> tuple[Any, Any]:
    """Adaptive retrieval in one call: shortlist by the first `size` coordinates, re-rank by all of them.

    For more than one batch of queries build a `FunnelSearch(vectors, [size, dim], [shortlist])` once.

    Args:
        vectors: Vectors `(n, dim)` to search; `Vectors` give their ids, else rows are numbered.
        queries: `(q, dim)`.
        k: How many results.
        size: Coordinates of the first scan; 16 of 2048 in the paper's example.
        shortlist: How many candidates are re-ranked; 200 as in the paper.
        metric: `"cosine"` or `"dot"`.

    Returns:
        Scores and ids, each `(q, min(k, n))`, best first.

    Source: Matryoshka Representation Learning (2022), section 4.2.2.
    """
    matrix = vectors if isinstance(vectors, Vectors) else as_matrix(vectors, "vectors")
    width = int(matrix.shape[1])
    full = check_size(size, "size", width) == width
    index = FunnelSearch(matrix, [width] if full else [size, width], [] if full else [shortlist], metric=metric)
    return index.search(queries, k)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileProblemError(
            f"cannot read {path}: no such file; is this a folder that FunnelSearch.save wrote?"
        ) from error
    except OSError as error:
        raise file_problem(error, path, "read") from error
    except ValueError as error:
        raise FormatError(f"{path}: not JSON ({error}); needs a file that FunnelSearch.save wrote") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise FormatError(f"{path}: not the parameters of a saved FunnelSearch")
    return state
