"""Fixed dimensional encodings: one vector for a set of vectors, so that inner products find multi-vector matches."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from polyvec.compress.fixed_dimensional.cells import MOST_VECTORS
from polyvec.compress.fixed_dimensional.maxsim import maxsim_spread
from polyvec.compress.fixed_dimensional.sets import VectorSets, as_sets
from polyvec.compress.fixed_dimensional.sketch import Sketch
from polyvec.core.arrays import match_kind
from polyvec.core.errors import FormatError, InvalidTypeError, InvalidValueError, NotFittedError
from polyvec.core.files import atomic_path, file_problem
from polyvec.train.sizes import check_size

FORMAT = "polyvec-fixed-dimensional-encoding-1"
NARROW = 0.05
"""Spread of best matches below which encodings of a usual size cannot tell documents apart."""
_BLOCK = 1 << 22  # numbers in the largest temporary arrays: 16 MiB of float32
_LARGEST = 1 << 28  # numbers of one encoding: 1 GiB
_MANY_BITS = 8


class FixedDimensionalEncoding(TransformerMixin, BaseEstimator):
    """Encodes each set of vectors as one vector; the inner product of a query's and a document's estimates Chamfer.

    The Chamfer (MaxSim) score adds up, for each query vector, its best inner product with a vector of the document.
    Here random hyperplanes cut space into cells. A query's vectors are summed in each cell, a document's are averaged;
    a cell without a document vector takes the one whose cell differs in the fewest bits. Repetitions are joined. A
    best match that falls into the query vector's cell counts in full, so the estimate leans low, and less so the more
    cells and repetitions there are. Documents and queries are encoded differently: use `transform_documents` for one
    side, `transform_queries` for the other.

    Nothing is trained: `fit` learns the width, the mean vector and how far best matches lie apart (see
    `maxsim_spread_`). Shards of a corpus can be encoded apart by encoders of one seed, as long as `center` is off or
    the fitted encoder is shared (`save`, `load`).

    Args:
        n_repetitions: Independent partitions of space, R. At a given size many repetitions matter most; 20 as in the
            paper's best settings.
        n_bits: Hyperplanes of each partition, k: 2^k cells. From 0 (one cell) to 24; 4 with the other defaults gives
            2,560 dimensions.
        projection_dim: Width of a cell: vectors are projected by a random matrix of +1 and -1. `None` (or the full
            width) keeps vectors as they are.
        fill_empty: Whether empty document cells take the nearest vector. Queries are never filled: that would count
            query vectors several times.
        center: Whether hyperplanes go through the mean of the vectors that `fit` saw instead of through zero, and
            documents are encoded relative to it. It changes every score of a query by the same amount, so the order of
            exact scores stays. For token vectors that all point in nearly one direction, and only together with
            `projection_dim=None`: the part of a query that points in this direction is kept (the order depends on it),
            and in a projected cell its noise drowns the rest.
        final_dim: Project the whole encoding to this width by a count sketch, or `None`.
        random_state: Seed; documents and queries need the same. `None` draws one in `fit`.

    Attributes:
        n_features_in_: Width of the vectors.
        n_features_out_: Width of an encoding: `n_repetitions * 2**n_bits * projection_dim`, or `final_dim`.
        token_mean_: Mean of all vectors that `fit` saw.
        maxsim_spread_: How far the best matches of one vector lie apart between documents: 5th to 95th percentile of
            its largest cosine with each document, averaged over vectors. `None` for fewer than 10 documents. Below 0.05
            `fit` warns: what tells documents apart is then smaller than the noise of encodings of a usual size.
        seed_: The seed that was used.

    Sets of vectors are given as a list of matrices `(m_i, d)` (NumPy arrays or tensors), an array `(n, m, d)`,
    `VectorSets`, or a pair `(values, offsets)`. Encodings are float32 `(n, n_features_out_)`: a tensor where tensors
    were given, else a NumPy array. They are not of unit length: compare them by inner product, never by cosine. Scaled
    by 1/sqrt(R) on each side, so that inner products are on the scale of Chamfer scores.

    Raises:
        InvalidValueError: A set without vectors, another width than `fit` saw, NaN or infinity, `n_bits` outside 0 to
            24, `projection_dim` above the width, no documents.
        NotFittedError: Used before `fit`, or parameters changed since.

    Source: MUVERA: Multi-Vector Retrieval via Fixed Dimensional Encodings (2024), section 2; the final projection is
    the count sketch of its published code in place of the paper's dense matrix of +1 and -1. `center` is an addition.

    Example:
        >>> import numpy as np
        >>> draws = np.random.default_rng(0)
        >>> documents = [draws.normal(size=(m, 32)) for m in (5, 9, 7)]
        >>> queries = [documents[1][:2], documents[2][3:6]]
        >>> encoder = FixedDimensionalEncoding(projection_dim=16).fit(documents)
        >>> scores = encoder.transform_queries(queries) @ encoder.transform_documents(documents).T
        >>> scores.shape, scores.argmax(axis=1).tolist()
        ((2, 3), [1, 2])
    """

    def __init__(
        self,
        n_repetitions: int = 20,
        n_bits: int = 4,
        projection_dim: int | None = 8,
        fill_empty: bool = True,
        center: bool = False,
        final_dim: int | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.n_repetitions = n_repetitions
        self.n_bits = n_bits
        self.projection_dim = projection_dim
        self.fill_empty = fill_empty
        self.center = center
        self.final_dim = final_dim
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> FixedDimensionalEncoding:
        """Learn width, mean and spread from documents; draw the random parts. `y` is ignored."""
        self._check_parameters()
        sets = as_sets(X)
        projection = sets.dim if self.projection_dim is None else self.projection_dim
        check_size(projection, "projection_dim", sets.dim)
        full = self.n_repetitions * (1 << self.n_bits) * projection
        if full > _LARGEST:
            raise InvalidValueError(
                f"n_bits: got {self.n_bits}, which with {self.n_repetitions} repetitions of {projection} dimensions "
                f"makes encodings of {full:,} numbers, needs at most {_LARGEST:,}; lower n_bits"
            )
        if self.fill_empty and self.n_bits > _MANY_BITS:
            warnings.warn(
                f"n_bits={self.n_bits} with fill_empty: most of the {1 << self.n_bits:,} cells will hold copies of the "
                f"same few vectors; use {_MANY_BITS} or fewer and more repetitions instead",
                stacklevel=2,
            )
        seed = int(np.random.SeedSequence().generate_state(1)[0]) if self.random_state is None else self.random_state
        spread = maxsim_spread(sets, seed)
        self.n_features_in_ = sets.dim
        self.token_mean_ = sets.values.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.maxsim_spread_ = spread
        self.seed_ = int(seed)
        drawn = Sketch.draw(sets.dim, self.n_repetitions, self.n_bits, projection, self.final_dim, self.seed_)
        self._keep(drawn)
        if spread is not None and spread < NARROW and not self.center:
            warnings.warn(
                f"the best matches of a vector differ by only {spread:.3f} between documents (below {NARROW}): all "
                "vectors lie in a narrow cone, and encodings will hardly tell documents apart; try center=True with "
                "projection_dim=None, compare with exact Chamfer scores on a sample, or use another model",
                stacklevel=2,
            )
        return self

    def _keep(self, drawn: Sketch) -> None:
        self._sketch = drawn
        self._fingerprint: str | None = None
        self._fitted_parameters = self.get_params()
        self.n_features_out_ = drawn.width

    def _check_parameters(self) -> None:
        check_size(self.n_repetitions, "n_repetitions")
        if isinstance(self.n_bits, bool) or not isinstance(self.n_bits, (int, np.integer)):
            raise InvalidTypeError(f"n_bits: got {type(self.n_bits).__name__}, needs an integer from 0 to 24")
        if not 0 <= self.n_bits <= 24:
            raise InvalidValueError(f"n_bits: got {self.n_bits}, needs 0 to 24")
        for name in ("projection_dim", "final_dim"):
            if getattr(self, name) is not None:
                check_size(getattr(self, name), name)
        seed = self.random_state
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
            raise InvalidValueError(f"random_state: got {seed!r}, needs an integer from 0 up, or None")

    def transform(self, X: Any) -> Any:
        """`transform_documents`."""
        return self.transform_documents(X)

    def transform_documents(self, documents: Any) -> Any:
        """Encodings of documents `(n, n_features_out_)`: means over cells, empty cells filled."""
        return self._encoded(documents, "document")

    def transform_queries(self, queries: Any) -> Any:
        """Encodings of queries `(n, n_features_out_)`: sums over cells, nothing filled."""
        return self._encoded(queries, "query")

    def _encoded(self, given: Any, what: str) -> Any:
        drawn = self._fitted()
        sets = as_sets(given, what)
        if sets.dim != drawn.dim:
            raise InvalidValueError(
                f"{what}: got vectors of {sets.dim} dimensions, but the encoding was fitted on {drawn.dim}; "
                "give vectors of the same model"
            )
        self._warn_zeros(sets, what)
        shift = self.token_mean_ if self.center else None
        result = np.empty((len(sets), drawn.width), dtype=np.float32)
        for part in self._blocks(sets):
            documents = what == "document"
            result[part] = drawn.encode(sets[part], shift, documents=documents, fill=self.fill_empty)
        return match_kind(result, _first(given))

    def _blocks(self, sets: VectorSets) -> Iterator[slice]:
        """Runs of sets whose temporary arrays stay small; at least one set each."""
        drawn = self._sketch
        per_vector = drawn.repetitions * (drawn.bits + drawn.projection + 4)
        most_vectors = min(max(1, _BLOCK // per_vector), MOST_VECTORS)
        most_sets = max(1, _BLOCK // drawn.full_width)
        start = 0
        while start < len(sets):
            full = int(np.searchsorted(sets.offsets, sets.offsets[start] + most_vectors, side="right")) - 1
            stop = min(max(full, start + 1), start + most_sets, len(sets))
            yield slice(start, stop)
            start = stop

    def _warn_zeros(self, sets: VectorSets, what: str) -> None:
        zeros = np.flatnonzero(np.einsum("nd,nd->n", sets.values, sets.values) == 0)
        if len(zeros):
            warnings.warn(
                f"{len(zeros)} of {len(sets.values)} vectors are all zeros, the first in {what} "
                f"{sets.owners[zeros[0]]}: padding? It drags the mean of a cell; drop it (VectorSets.from_padded takes "
                "the mask)",
                stacklevel=4,
            )

    def _fitted(self) -> Sketch:
        drawn: Sketch | None = getattr(self, "_sketch", None)
        if drawn is None:
            raise NotFittedError("FixedDimensionalEncoding: not fitted yet; call fit first")
        if self.get_params() != self._fitted_parameters:
            raise NotFittedError("FixedDimensionalEncoding: parameters changed since fit; call fit again")
        return drawn

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits; encodings of two encoders are comparable when they agree."""
        drawn = self._fitted()
        if self._fingerprint is not None:
            return self._fingerprint
        settings = [bool(self.fill_empty), bool(self.center), drawn.repetitions, drawn.bits, drawn.width]
        digest = hashlib.sha256(json.dumps(settings).encode())
        arrays = drawn.arrays() | ({"mean": self.token_mean_} if self.center else {})
        for name, array in arrays.items():
            digest.update(f"{name}{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and random parts to one safetensors file, atomically.

        The random parts are kept themselves, not just the seed: they do not depend on the version of NumPy then.
        """
        from safetensors.numpy import save_file

        drawn = self._fitted()
        state = {
            "format": FORMAT,
            "parameters": json.dumps({name: _plain(value) for name, value in self.get_params().items()}),
            "fitted": json.dumps({"seed": self.seed_, "maxsim_spread": self.maxsim_spread_}),
        }
        arrays = {name: np.ascontiguousarray(array) for name, array in drawn.arrays().items()}
        with atomic_path(path) as temporary:
            save_file({**arrays, "token_mean": self.token_mean_}, temporary, metadata=state)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FixedDimensionalEncoding:
        """Read what `save` wrote.

        Raises:
            FileProblemError: The file cannot be read.
            FormatError: It is not a saved encoding.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with open(path, "rb"):  # whose error says why, other than that of safetensors
                pass
            with safe_open(os.fspath(path), "numpy") as handle:
                state = handle.metadata() or {}
                arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        except OSError as error:
            raise file_problem(error, path, "read") from error
        except SafetensorError as error:
            raise FormatError(f"{os.fspath(path)}: not a safetensors file ({error})") from error
        if state.get("format") != FORMAT:
            raise FormatError(f"{os.fspath(path)}: not a saved FixedDimensionalEncoding")
        try:
            loaded = cls(**json.loads(state["parameters"]))
            fitted = json.loads(state["fitted"])
            loaded._check_parameters()
            drawn = Sketch.from_arrays(loaded.n_repetitions, loaded.n_bits, loaded.final_dim, arrays)
            mean = arrays["token_mean"]
            if mean.shape != (drawn.dim,) or drawn.projection != (loaded.projection_dim or drawn.dim):
                raise ValueError("arrays of the wrong shape")
            loaded.seed_, loaded.maxsim_spread_ = int(fitted["seed"]), fitted["maxsim_spread"]
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{os.fspath(path)}: damaged ({error}); save the encoding again") from error
        loaded.n_features_in_, loaded.token_mean_ = drawn.dim, mean
        loaded._keep(drawn)
        return loaded


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _first(given: Any) -> Any:
    """Something that shows whether tensors were given."""
    if isinstance(given, VectorSets) or getattr(given, "ndim", None) is not None:
        return given
    return given[0] if len(given) else None
