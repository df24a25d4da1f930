"""FastRP: node vectors by a very sparse random projection of multi-hop, degree-normalised random walks.

Source: Chen, Sultan, Tian, Chen and Skiena 2019, "Fast and Accurate Network Embeddings via Very Sparse Random
Projection" (CIKM), sections 3.2 to 3.4.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.base import BaseEstimator

from polyvec.core.errors import InvalidTypeError, InvalidValueError, NotFittedError
from polyvec.core.progress import progress
from polyvec.encode.graph.checks import hop_weights, number_between, one_of, positive_int
from polyvec.encode.graph.fastrp_files import load_state, save_state
from polyvec.encode.graph.memory import check_memory, fastrp_memory
from polyvec.encode.graph.powers import (
    ColumnStatistics,
    Combination,
    column_statistics,
    row_norms,
    standardize_columns,
    walk_matrix,
    walk_powers,
)
from polyvec.encode.graph.products import row_product
from polyvec.encode.graph.projection import DENSE_FROM, Floats, projection_density
from polyvec.encode.graph.start import StartMatrix, checked_projection, start_matrix
from polyvec.encode.graph.view import Graph, as_graph, canonical

_BAR_FROM = 1e11  # multiplications, about ten seconds on two cores: only longer work draws a progress bar


class _Settings(NamedTuple):
    """The constructor's arguments, checked."""

    dim: int
    weights: tuple[float, ...]
    beta: float
    self_weight: float
    feature_ratio: float
    concatenate: bool


class FastRP(BaseEstimator):
    """Node vectors without training: a few sparse products, seconds for a million edges.

    The similarity of two nodes is that of where random walks of 1, 2, ... steps from them end. With the walk matrix
    `S = D^-1 A`, the degree correction `L = diag((d_j / 2m)^beta)` and a very sparse random matrix R,

        U_1 = S L R,   U_k = S U_(k-1),   U = sum_k weights[k - 1] * normalise_rows(U_k).

    The products use all cores through numba (extra `graph`), or scipy without it; both give the same result up to
    rounding, and the result does not depend on the number of threads.

    Args:
        dim: Dimensions of the vectors. The paper uses 512 in its tables; 128 (default) is the usual choice of users.
        weights: Weights of hop 1, 2, ...; their number is the number of hops. Default (0, 0, 1, 4): the paper fixes
            (0, 0, 1) for the first three and tunes the fourth in [1, 64]; see `tune_fastrp`.
        beta: Degree correction in [-1, 0] in the paper, [-1, 1] here: -1 divides the walks' preference for hubs out
            completely, 0 leaves it. The best value depends on the graph, so tune it; -0.5 is only the middle.
        density: Share of non-zeros of R: `"sqrt"` (default, the paper's) is `1 / sqrt(nodes)`, or a number in (0, 1].
        normalize: Scale each row of each U_k to length 1 before they are added.
        standardize: Shift and scale the columns of the result to mean 0 and variance 1 over the rows that are not zero,
            as the official pipeline does for its classifier; off by default because it changes cosines.
        combine: `"sum"`, or `"concat"` for the weighted U_k side by side, `dim` columns for each positive weight.
        seed: Row j of R depends on `(seed, j)` alone; `None` draws a seed.
        directed: Follow the direction of edges. Then S uses out-degrees, L in-degrees.
        sinks: What walks do in a node that no edge leaves, when `directed`: `"stay"` there (default; every row of S
            sums to 1) or vanish (`"zero"`; sinks get zero vectors).
        self_weight: Weight of hop 0, the node itself (extension, default 0 as in the paper). With node features it lets
            a node's own features count.
        feature_ratio: With node features x, their share in [0, 1] of the energy of the start matrix (extension, see
            `fit`).
        keep_powers: Keep the U_k, for `reweight` and `transform`. Without them the peak is about `3 nodes dim` numbers.
        device: A torch device to compute on (`"cuda"`); `None` (default) is the compiled path on the CPU.

    Attributes:
        powers_: The U_k before normalisation, one array `(nodes, dim)` a hop.
        names_: Names of the nodes in row order, or `None`.
        isolated_: Which nodes no edge touches; their rows are zero.

    Deviations from the paper: R is scaled by `1 / sqrt(dim)` so that `E[R R^T] = I` (without effect when rows are
    normalised); columns are not standardised by default; directed graphs, node features, hop 0 and new nodes are
    extensions. Self-loops are kept and count once in the degree.
    """

    powers_: list[Floats]
    row_norms_: list[Floats]
    start_: StartMatrix
    names_: Sequence[Any] | None
    isolated_: npt.NDArray[np.bool_]
    column_statistics_: ColumnStatistics | None

    def __init__(
        self,
        dim: int = 128,
        weights: Sequence[float] = (0.0, 0.0, 1.0, 4.0),
        beta: float = -0.5,
        density: str | float = "sqrt",
        normalize: bool = True,
        standardize: bool = False,
        combine: str = "sum",
        seed: int | None = None,
        directed: bool = False,
        sinks: str = "stay",
        self_weight: float = 0.0,
        feature_ratio: float = 0.5,
        keep_powers: bool = True,
        device: str | None = None,
    ) -> None:
        self.dim = dim
        self.weights = weights
        self.beta = beta
        self.density = density
        self.normalize = normalize
        self.standardize = standardize
        self.combine = combine
        self.seed = seed
        self.directed = directed
        self.sinks = sinks
        self.self_weight = self_weight
        self.feature_ratio = feature_ratio
        self.keep_powers = keep_powers
        self.device = device

    def _settings(self) -> _Settings:
        one_of(self.sinks, "sinks", ("stay", "zero"))
        return _Settings(
            positive_int(self.dim, "dim"),
            hop_weights(self.weights),
            number_between(self.beta, "beta", -1.0, 1.0),
            number_between(self.self_weight, "self_weight", 0.0, np.inf),
            number_between(self.feature_ratio, "feature_ratio", 0.0, 1.0),
            one_of(self.combine, "combine", ("sum", "concat")) == "concat",
        )

    def estimate_memory(self, n: int, m: int, *, with_features: bool = False) -> int:
        """Bytes that `fit_transform` adds at its peak, the result included, for a graph of `n` nodes and `m` edges.

        The graph itself (a float32 CSR matrix) is not counted; another kind of graph is first converted to one, which
        takes about 8 bytes for each stored entry. With `device`, this is the memory of the host.
        """
        settings = self._settings()
        nodes, edges = positive_int(n, "n"), positive_int(m, "m", least=0)
        density = projection_density(self.density, nodes)
        blocks = sum(weight > 0 for weight in (*settings.weights, settings.self_weight)) if settings.concatenate else 1
        return fastrp_memory(
            nodes,
            edges if self.directed else 2 * edges,
            settings.dim,
            len(settings.weights),
            density,
            kept=bool(self.keep_powers),
            columns=settings.dim * blocks,
            dense_start=density > DENSE_FROM or with_features or settings.self_weight > 0,
            with_features=with_features,
        )

    def fit(self, graph: Any, x: Any = None, *, projection: Any = None) -> Self:
        """Compute the powers of a graph; `reweight` then gives vectors for any weights at the price of one sum.

        Args:
            graph: A scipy sparse matrix, networkx graph, PyG `Data`, edge arrays or `Graph`; see `as_graph`. Undirected
                unless `directed`.
            x: Node features `(nodes, features)`, dense or scipy sparse (extension). They are projected by random signs
                to `(nodes, dim)`, scaled to `feature_ratio` of the squared norm of the start matrix and added to `L R`,
                so that walks also compare the features they meet.
            projection: Your own R `(nodes, dim)`, dense or sparse; replaces the random one, and its number of columns
                replaces `dim`. A float64 projection makes the whole computation float64.

        Raises:
            InvalidValueError: A bad argument, a graph that `as_graph` refuses, `keep_powers=False`, or not enough
                memory.
        """
        if not self.keep_powers:
            raise InvalidValueError(
                "keep_powers: got False, but fit keeps nothing else; use fit_transform or keep_powers=True"
            )
        settings = self._settings()
        self._run(settings, graph, x, projection, None)
        if self.standardize:
            self.column_statistics_ = column_statistics(self._combined(settings, settings.weights))
        return self

    def fit_transform(self, graph: Any, x: Any = None, *, projection: Any = None) -> Floats:
        """Vectors `(nodes, dim)` of a graph, float32; arguments as in `fit`."""
        settings = self._settings()
        out = self._run(settings, graph, x, projection, settings.weights)
        if self.standardize:
            self.column_statistics_ = column_statistics(out)
            standardize_columns(out, self.column_statistics_)
        return out

    def _run(self, settings: _Settings, graph: Any, x: Any, projection: Any, weights: Sequence[float] | None) -> Floats:
        """Fill the fitted attributes; with `weights`, return the combined powers (not standardised)."""
        view = as_graph(graph, directed=bool(self.directed))
        nodes, hops = view.num_nodes, len(settings.weights)
        own = None if projection is None else checked_projection(projection, nodes)
        self._check_memory(view, x)
        dtype = np.dtype(np.float32) if own is None else own.dtype
        walks = walk_matrix(view, settings.beta, sinks=self.sinks, dtype=dtype)
        start = start_matrix(
            walks.column_scale,
            settings.dim,
            beta=settings.beta,
            total=walks.total,
            density=self.density,
            seed=self.seed,
            projection=own,
            x=x,
            ratio=settings.feature_ratio,
            dense=settings.self_weight > 0,
        )
        shape = (nodes, start.matrix.shape[1])
        self.names_, self.isolated_, self.start_, self.column_statistics_ = view.names, walks.isolated, start, None
        self.powers_, self.row_norms_ = [], []
        combination = None if weights is None else self._combination(settings, shape, weights, dtype)
        if combination is not None and settings.self_weight:
            combination.add(settings.self_weight, start.matrix, row_norms(start.matrix))
        buffers = [np.empty(shape, dtype=dtype) for _ in range(hops if self.keep_powers else min(hops, 2))]
        product = row_product(walks.adjacency, walks.row_scale, self.device)
        show = None if walks.adjacency.nnz * shape[1] * hops > _BAR_FROM else False
        with progress("FastRP hops", hops, show=show) as bar:
            for hop, (power, norms) in enumerate(walk_powers(product, start.matrix, hops, buffers)):
                if self.keep_powers:
                    self.powers_.append(power)
                    self.row_norms_.append(norms)
                if combination is not None and weights is not None:
                    combination.add(weights[hop], power, norms)
                bar.advance()
        self._warn(walks.isolated, walks.sinks, has_own=settings.self_weight > 0 and x is not None, level=4)
        return np.empty(0, dtype=dtype) if combination is None else combination.out

    def _combination(
        self, settings: _Settings, shape: tuple[int, int], weights: Sequence[float], dtype: npt.DTypeLike
    ) -> Combination:
        return Combination(
            shape,
            (settings.self_weight, *weights),
            normalize=bool(self.normalize),
            concatenate=settings.concatenate,
            dtype=dtype,
        )

    def _combined(self, settings: _Settings, weights: Sequence[float]) -> Floats:
        combination = self._combination(settings, self.powers_[0].shape, weights, self.powers_[0].dtype)
        if settings.self_weight:
            combination.add(settings.self_weight, self.start_.matrix, row_norms(self.start_.matrix))
        for weight, power, norms in zip(weights, self.powers_, self.row_norms_, strict=False):
            combination.add(weight, power, norms)
        return combination.out

    def reweight(self, weights: Sequence[float] | None = None) -> Floats:
        """Vectors of the fitted graph for other hop weights: no product is computed again.

        Args:
            weights: Weights of hop 1, 2, ..., at most as many as were fitted; by default those of the constructor.

        Raises:
            NotFittedError: Not fitted, or fitted with `keep_powers=False`.
            InvalidValueError: Bad weights, or more than the hops that were fitted.
        """
        self._check_fitted()
        settings = self._settings()
        out = self._combined(
            settings, hop_weights(settings.weights if weights is None else weights, hops=len(self.powers_))
        )
        if self.standardize:
            standardize_columns(out, column_statistics(out))
        return out

    def transform(self, new_rows: Any, x: Any = None) -> Floats:
        """Vectors of nodes that came after the fit, in the space of the fitted ones (extension).

        The fitted nodes keep their vectors; walks of the new nodes go through them. A row that repeats the edges of a
        fitted node gives that node's vector.

        Args:
            new_rows: Sparse edge weights of the new nodes: `(new, nodes)` to the fitted nodes, or `(new, nodes + new)`
                with the edges among the new nodes in the last columns.
            x: Features `(new, features)`; needed when the fit had some and the new nodes' own rows of the start matrix
                matter (edges among them, or `self_weight > 0`).

        Raises:
            NotFittedError: Not fitted, or fitted with `keep_powers=False`.
            InvalidTypeError: `new_rows` is not sparse.
            InvalidValueError: Another width, bad weights, or features that are missing.
        """
        self._check_fitted()
        settings = self._settings()
        rows = self._checked_rows(new_rows)
        nodes, degrees = self.start_.matrix.shape[0], np.asarray(rows.sum(axis=1, dtype=np.float64)).ravel()
        to_fitted, to_new = rows[:, :nodes], rows[:, nodes:]
        scale = np.divide(1.0, degrees, out=np.zeros_like(degrees), where=degrees > 0)[:, None]
        among = to_new.nnz > 0
        shape, dtype = (rows.shape[0], self.start_.matrix.shape[1]), self.powers_[0].dtype
        fresh = self.start_.new_rows(degrees, x) if among or settings.self_weight else np.zeros(shape, dtype=dtype)
        combination = self._combination(settings, shape, settings.weights, dtype)
        combination.add(settings.self_weight, fresh, row_norms(fresh))
        for weight, before in zip(settings.weights, (self.start_.matrix, *self.powers_), strict=False):
            step = to_fitted @ before
            step = step.toarray() if sp.issparse(step) else step
            if among:
                step = step + to_new @ fresh
            fresh = (step * scale).astype(dtype)
            combination.add(weight, fresh, row_norms(fresh))
        if self.column_statistics_ is not None:
            standardize_columns(combination.out, self.column_statistics_)
        self._warn(degrees == 0, 0, has_own=settings.self_weight > 0 and x is not None, level=3)
        return combination.out

    def _checked_rows(self, new_rows: Any) -> sp.csr_array:
        if not sp.issparse(new_rows):
            raise InvalidTypeError(
                f"new_rows: got {type(new_rows).__name__}, needs a scipy sparse matrix (new nodes, fitted nodes)"
            )
        nodes = self.start_.matrix.shape[0]
        if new_rows.ndim != 2 or new_rows.shape[0] < 1 or new_rows.shape[1] not in (nodes, nodes + new_rows.shape[0]):
            raise InvalidValueError(
                f"new_rows: got shape {new_rows.shape}, needs (new, {nodes}) or (new, {nodes} + new), "
                f"because {nodes} nodes were fitted"
            )
        return canonical(new_rows, "new_rows")

    def _check_fitted(self) -> None:
        if not getattr(self, "powers_", None):
            fitted = hasattr(self, "powers_")
            raise NotFittedError(
                "FastRP: the powers were not kept; fit with keep_powers=True"
                if fitted
                else "FastRP: not fitted yet; call fit or fit_transform first"
            )

    def _check_memory(self, view: Graph, x: Any) -> None:
        needed = self.estimate_memory(view.num_nodes, max(view.num_edges, 0), with_features=x is not None)
        advice = "lower dim" + (", or pass keep_powers=False" if self.keep_powers else ", or use fewer hops")
        check_memory(needed, advice)

    def _warn(self, isolated: npt.NDArray[np.bool_], sinks: int, *, has_own: bool, level: int) -> None:
        """Warn about zero vectors; `level` is the `stacklevel` of the user's line."""
        count = int(isolated.sum())
        if count and not has_own:
            text = f"{count} of {len(isolated)} nodes have no edges: their vectors are zero"
            warnings.warn(text, stacklevel=level)
        if sinks and self.sinks == "zero":
            text = f"{sinks} sinks (no edge leaves them) have zero vectors; sinks='stay' avoids that"
            warnings.warn(text, stacklevel=level)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted encoder to one safetensors file, atomically.

        Raises:
            NotFittedError: Not fitted, or fitted with `keep_powers=False`.
            InvalidTypeError: Node names that are neither strings nor integers.
            FileProblemError: The file cannot be written.
        """
        self._check_fitted()
        save_state(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read an encoder that `save` wrote.

        Raises:
            FileProblemError: The file cannot be read.
            FormatError: It is not such a file.
        """
        parameters, state = load_state(path)
        encoder = cls(**parameters)
        for name, value in state.items():
            setattr(encoder, name, value)
        return encoder
