"""The start matrix of FastRP: the degree-scaled random projection, with node features mixed in if wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from polyvec.core.arrays import as_matrix
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.encode.graph.powers import degree_scale, row_norms, scaled_rows
from polyvec.encode.graph.projection import (
    DENSE_FROM,
    Floats,
    dense_projection,
    projection_density,
    sparse_projection,
)
from polyvec.encode.graph.streams import resolve_seed


@dataclass(frozen=True, slots=True, eq=False)
class StartMatrix:
    """`B = L R`, or `sqrt(1 - ratio) L R + sqrt(ratio) (|L R| / |Z|) Z` with projected features `Z = X P`.

    P holds random signs. `| |` is the Frobenius norm, so `ratio` is the features' share of the squared norm of B
    whatever the units of X. Keeps what is needed to make the rows of nodes that come later.
    """

    matrix: sp.csr_array | Floats
    density: float
    seed: int
    beta: float
    total: float
    feature_count: int = 0
    node_factor: float = 1.0
    feature_factor: float = 0.0
    projected_by_user: bool = False

    def new_rows(self, degrees: npt.NDArray[np.float64], x: Any) -> Floats:
        """The dense rows of nodes that were not there at the fit; `degrees` are sums of their edge weights.

        Raises:
            InvalidValueError: The projection was the user's own, or the features are missing or do not fit.
        """
        if self.projected_by_user:
            raise InvalidValueError(
                "new_rows: edges among new nodes (or self_weight > 0) need rows of the projection, "
                "but it was your own; pass edges to the fitted nodes only"
            )
        nodes, dim = self.matrix.shape
        fresh = sparse_projection(len(degrees), dim, density=self.density, seed=self.seed, first_row=nodes).toarray()
        out = scaled_rows(fresh, degree_scale(degrees, self.total, self.beta) * self.node_factor)
        if self.feature_count:
            if x is None:
                raise InvalidValueError(
                    f"x: got None, needs {self.feature_count} features for each new node, as in the fit"
                )
            features = _checked_features(x, len(degrees), columns=self.feature_count)
            out += project_features(features, dim, self.seed) * np.float32(self.feature_factor)
        return out


def start_matrix(
    scale: npt.NDArray[np.float64],
    dim: int,
    *,
    beta: float,
    total: float,
    density: str | float,
    seed: int | None,
    projection: Any,
    x: Any,
    ratio: float,
    dense: bool,
) -> StartMatrix:
    """Build B for nodes with degree scales `scale`; `dense` demands a dense matrix."""
    nodes, known_seed = len(scale), resolve_seed(seed)
    share = projection_density(density, nodes)
    dense = dense or x is not None
    if projection is not None:
        base = scaled_rows(projection.toarray() if dense and sp.issparse(projection) else projection, scale)
    elif dense or share > DENSE_FROM:
        base = dense_projection(nodes, dim, density=share, seed=known_seed)
        base *= scale.astype(base.dtype)[:, None]
    else:
        base = scaled_rows(sparse_projection(nodes, dim, density=share, seed=known_seed), scale)
    settings: dict[str, Any] = {"density": share, "seed": known_seed, "beta": beta, "total": total}
    by_user = projection is not None
    if x is None:
        return StartMatrix(base, **settings, projected_by_user=by_user)
    features = _checked_features(x, nodes)
    mixed = project_features(features, base.shape[1], known_seed).astype(base.dtype, copy=False)
    node_factor, size = float(np.sqrt(1.0 - ratio)), _frobenius(mixed)
    feature_factor = float(np.sqrt(ratio)) * (_frobenius(base) or 1.0) / size if size > 0 else 0.0
    mixed *= mixed.dtype.type(feature_factor)
    base *= base.dtype.type(node_factor)
    base += mixed
    return StartMatrix(
        base,
        **settings,
        feature_count=features.shape[1],
        node_factor=node_factor,
        feature_factor=feature_factor,
        projected_by_user=by_user,
    )


def project_features(features: Any, dim: int, seed: int) -> Floats:
    """`X P`, float32 `(nodes, dim)`, where P holds `+-1/sqrt(dim)` with probability one half each."""
    signs = dense_projection(features.shape[1], dim, density=1.0, seed=seed, purpose="feature projection")
    return np.asarray(features @ signs)


def checked_projection(projection: Any, nodes: int) -> sp.csr_array | Floats:
    """A user's own R as float32 or float64, CSR or dense.

    Raises:
        InvalidTypeError: Not numbers.
        InvalidValueError: Not one row a node, or NaN or infinity in it.
    """
    if not sp.issparse(projection):
        wide = getattr(projection, "dtype", None) == np.float64
        matrix = as_matrix(projection, "projection", dtype=np.float64 if wide else np.float32)
        _check_rows(matrix, nodes, "projection")
        return np.ascontiguousarray(matrix)
    _check_sparse(projection, "projection")
    _check_rows(projection, nodes, "projection")
    kept = projection.dtype if projection.dtype in (np.float32, np.float64) else np.float32
    return sp.csr_array(projection).astype(kept)


def _checked_features(x: Any, nodes: int, columns: int | None = None) -> Any:
    if sp.issparse(x):
        _check_sparse(x, "x")
        features = sp.csr_array(x).astype(np.float32)
        if columns is not None and features.shape[1] != columns:
            raise InvalidValueError(f"x: got {features.shape[1]} dimensions, needs {columns}")
    else:
        features = as_matrix(x, "x", dim=columns)
    _check_rows(features, nodes, "x")
    return features


def _check_sparse(matrix: Any, name: str) -> None:
    if matrix.dtype.kind not in "fiub":
        raise InvalidTypeError(f"{name}: got elements of type {matrix.dtype}, needs real numbers")
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise InvalidValueError(f"{name}: got shape {matrix.shape}, needs two dimensions (nodes, columns)")
    if matrix.dtype.kind == "f" and not np.isfinite(matrix.sum()):
        raise InvalidValueError(f"{name}: holds NaN or infinity; drop or repair such entries first")


def _check_rows(matrix: Any, nodes: int, name: str) -> None:
    if matrix.shape[0] != nodes:
        raise InvalidValueError(f"{name}: got {matrix.shape[0]} rows, needs one for each of the {nodes} nodes")


def _frobenius(matrix: sp.csr_array | Floats) -> float:
    return float(np.linalg.norm(row_norms(matrix).astype(np.float64)))
