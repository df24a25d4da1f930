"""Two-stage search among sets of vectors: candidates by one encoding each, then exact Chamfer scores."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.feather

from polyvec.compress.fixed_dimensional.encoding import FixedDimensionalEncoding
from polyvec.compress.fixed_dimensional.maxsim import best_matches
from polyvec.compress.fixed_dimensional.sets import VectorSets, as_sets
from polyvec.core.errors import EncoderMismatchError, FormatError, InvalidTypeError, InvalidValueError, StoreError
from polyvec.core.files import atomic_directory, file_problem, write_json
from polyvec.core.vectors import Vectors
from polyvec.search.multivector.carving import ball_carve
from polyvec.search.multivector.engines import load_array, make_engine
from polyvec.search.multivector.tokens import PRECISIONS, KeptVectors
from polyvec.train.sizes import check_size

FORMAT = "polyvec-multi-vector-index-1"
ENGINES = ("flat", "faiss")


class MultiVectorIndex:
    """Index of documents that are sets of vectors, at the cost of single-vector search and one exact re-ranking.

    Each document is kept twice: as one fixed dimensional encoding, by which candidates are found, and as its vectors,
    by which the candidates are scored exactly. With as many candidates as documents the result is that of exact
    Chamfer search.

    Args:
        encoder: A fitted `FixedDimensionalEncoding`. The index remembers its fingerprint: an encoder of another seed or
            configuration is refused.
        engine: `"flat"` compares with every encoding exactly; `"faiss"` uses an index of FAISS.
        factory: FAISS's description of that index. `"Flat"`, `"HNSW32"` (fast for many documents), or `"PQ"`: product
            quantisation with one byte for eight numbers, 32 times smaller; it learns from the documents of the first
            `add`.
        precision: How the documents' vectors are kept: `"float32"`, `"float16"`, or `"int8"` with one scale for each.

    Documents and queries are given as a list of matrices `(m_i, d)` or in the other ways that `VectorSets` knows.
    Each `add` copies what is there, so add in large parts.

    Raises:
        InvalidValueError: Unknown engine or precision; a set without vectors, wrong width, NaN or infinity; ids that
            are repeated or not one for each document.
        NotFittedError: The encoder is not fitted.
        EncoderMismatchError: The encoder changed since documents were added.

    Source: MUVERA (2024), sections 2 and 3.2.

    Example:
        >>> import numpy as np
        >>> from polyvec.compress import FixedDimensionalEncoding
        >>> draws = np.random.default_rng(0)
        >>> documents = [draws.normal(size=(8, 32)).astype(np.float32) for _ in range(200)]
        >>> index = MultiVectorIndex(FixedDimensionalEncoding(projection_dim=16).fit(documents))
        >>> index.add(documents)
        >>> scores, ids = index.search([documents[7][:3], documents[42][2:6]], k=1, n_candidates=20)
        >>> ids[:, 0].tolist()
        [7, 42]
    """

    def __init__(
        self,
        encoder: FixedDimensionalEncoding,
        engine: str = "flat",
        *,
        factory: str = "Flat",
        precision: str = "float32",
    ) -> None:
        if not isinstance(encoder, FixedDimensionalEncoding):
            raise InvalidTypeError(f"encoder: got {type(encoder).__name__}, needs a fitted FixedDimensionalEncoding")
        if engine not in ENGINES:
            raise InvalidValueError(f"engine: got {engine!r}, needs one of {', '.join(ENGINES)}")
        if precision not in PRECISIONS:
            raise InvalidValueError(f"precision: got {precision!r}, needs one of {', '.join(PRECISIONS)}")
        self._fingerprint = encoder.fingerprint
        self.encoder, self.engine, self.factory, self.precision = encoder, engine, factory, precision
        self._engine = make_engine(engine, encoder.n_features_out_, factory)
        nothing = VectorSets(np.empty((0, encoder.n_features_in_), dtype=np.float32), [0])
        self._kept = KeptVectors.of(nothing, precision)
        self._ids: pa.Array = pa.array([], pa.int64())

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return (
            f"MultiVectorIndex(n={len(self)}, vectors={len(self._kept.values)}, engine={self.engine!r}, "
            f"precision={self.precision!r}, encoding={self.encoder.n_features_out_})"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of encodings and vectors."""
        return self._engine.nbytes + self._kept.nbytes if len(self) else 0

    @property
    def encoding_nbytes(self) -> int:
        """Bytes of the encodings alone: what the first stage reads."""
        return self._engine.nbytes

    @property
    def ids(self) -> np.ndarray:
        """Ids of the documents `(n,)`, in the order they came."""
        return self._ids.to_numpy(zero_copy_only=False)

    def _check_encoder(self) -> None:
        if self.encoder.fingerprint != self._fingerprint:
            raise EncoderMismatchError(
                f"encoder: FDE config fingerprint differs: the index was built with {self._fingerprint}, the encoder "
                f"now has {self.encoder.fingerprint}; build the index again or give the old encoder"
            )

    # -- documents ----------------------------------------------------------------------------------------------

    def add(self, documents: Any, ids: Sequence[Any] | None = None) -> None:
        """Add documents; without `ids` they are numbered on.

        Raises:
            InvalidValueError: See the class. The index is then as it was before.
        """
        self._check_encoder()
        sets = as_sets(documents, "document")
        names = self._new_ids(ids, len(sets))
        encodings = self.encoder.transform_documents(sets)
        joined = self._kept.joined(KeptVectors.of(sets, self.precision))
        self._engine.add(encodings)
        self._kept = joined
        self._ids = names

    def _new_ids(self, ids: Sequence[Any] | None, count: int) -> pa.Array:
        """All ids, old and new."""
        if ids is None:
            if pa.types.is_string(self._ids.type):
                raise InvalidValueError("ids: got none, but the stored documents have ids of text; give each one an id")
            first = int(self.ids.max()) + 1 if len(self) else 0
            ids = list(range(first, first + count))
        added = _checked_ids(ids, count)
        if not len(self):
            return added
        if added.type != self._ids.type:
            raise InvalidTypeError(f"ids: got {added.type}, but the stored documents have ids of {self._ids.type}")
        return _checked_ids(pa.concat_arrays([self._ids, added]), len(self) + count)

    def remove(self, ids: Sequence[Any]) -> int:
        """Drop documents by id; ids that are not there do not matter. Returns how many were dropped."""
        gone = np.isin(self.ids, np.asarray(list(ids), dtype=self.ids.dtype)) if len(self) else np.zeros(0, bool)
        if gone.any():
            self._engine.remove(gone)
            self._kept = self._kept.without(gone)
            self._ids = self._ids.filter(pa.array(~gone))
        return int(gone.sum())

    # -- search -------------------------------------------------------------------------------------------------

    def candidates(self, queries: Any, n_candidates: int = 100) -> list[np.ndarray]:
        """Ids that the encodings alone find for each query, best first by the estimated scores.

        Raises:
            StoreError: The index is empty.
            InvalidValueError: See the class.
        """
        sets, count = self._asked(queries), min(check_size(n_candidates, "n_candidates"), len(self))
        ids = self.ids
        return [ids[rows] for rows in self._candidate_rows(sets, count)]

    def search(
        self, queries: Any, k: int = 10, n_candidates: int | None = None, *, carve: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The `k` documents with the largest Chamfer scores among the candidates of each query.

        Args:
            queries: Sets of vectors, one for each query.
            k: How many; where fewer are stored, all of them are returned.
            n_candidates: How many candidates the encodings pass on to exact scoring; more cost time and find more.
                Default: ten times `k`, at least 100.
            carve: Join query vectors whose inner product is at least this before exact scoring (`ball_carve`; 0.7 in
                the paper): faster, and scores become approximate. Default: keep them all.

        Returns:
            Scores (Chamfer, exact but for `precision` and `carve`) and ids, each `(queries, min(k, n))`, best first;
            equal scores in the order of the documents. An approximate index of FAISS that finds too few candidates is
            topped up by the first documents.

        Raises:
            StoreError: The index is empty.
            InvalidValueError: See the class; `k` below 1, `n_candidates` below `k`.
        """
        sets = self._asked(queries)
        check_size(k, "k")
        wanted = max(10 * k, 100) if n_candidates is None else check_size(n_candidates, "n_candidates")
        if wanted < k:
            raise InvalidValueError(f"n_candidates: got {wanted}, needs at least k = {k}")
        k = min(k, len(self))
        scores = np.empty((len(sets), k), dtype=np.float32)
        rows = np.empty((len(sets), k), dtype=np.int64)
        for number, found in enumerate(self._candidate_rows(sets, min(wanted, len(self)))):
            query = sets[number] if carve is None else ball_carve(sets[number], carve)
            found = np.sort(found)  # equal scores come in the order of the documents
            documents = self._kept.read(found)
            exact = best_matches(query, documents.values, documents.offsets).sum(axis=0)
            order = np.argsort(-exact, kind="stable")[:k]
            scores[number], rows[number] = exact[order], found[order]
        return scores, self.ids[rows]

    def _asked(self, queries: Any) -> VectorSets:
        if not len(self):
            raise _EmptyIndexError("index: holds no documents yet; add some first")
        self._check_encoder()
        return as_sets(queries, "query", dim=self.encoder.n_features_in_)

    def _candidate_rows(self, sets: VectorSets, count: int) -> list[np.ndarray]:
        """Numbers of the candidates of each query, best first, `count` of them."""
        found = self._engine.best(self.encoder.transform_queries(sets), count)
        return [row if row.min() >= 0 else _topped_up(row[row >= 0], count) for row in found]

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to the folder `path`, atomically; a folder that was there is replaced."""
        self._check_encoder()
        with atomic_directory(path) as folder:
            state = {"format": FORMAT, "engine": self.engine, "factory": self.factory, "precision": self.precision}
            write_json(folder / "index.json", {**state, "documents": len(self), "fingerprint": self._fingerprint})
            self.encoder.save(folder / "encoder.safetensors")
            if len(self):
                table = pa.table({"id": self._ids, "vectors": np.diff(self._kept.offsets)})
                pa.feather.write_feather(table, str(folder / "documents.arrow"), compression="uncompressed")
                np.save(folder / "vectors.npy", self._kept.values, allow_pickle=False)
                np.save(folder / "scales.npy", self._kept.scales, allow_pickle=False)
                self._engine.save(folder)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        encoder: FixedDimensionalEncoding | None = None,
        *,
        memory_map: bool = False,
    ) -> Self:
        """Read an index that `save` wrote.

        Args:
            path: Its folder.
            encoder: Use this encoder, which has to agree with the saved one; the default is the saved one.
            memory_map: Leave vectors and flat encodings on disk; only those of candidates are read.

        Raises:
            FileProblemError: The folder or a file in it cannot be read.
            FormatError: It is not a saved index, or its files do not fit together.
            EncoderMismatchError: `encoder` has another seed or configuration.
        """
        folder = Path(path)
        state = _read_state(folder / "index.json")
        saved = FixedDimensionalEncoding.load(folder / "encoder.safetensors")
        if saved.fingerprint != state["fingerprint"]:
            raise FormatError(f"{folder}: encoder and index do not belong together; save the index again")
        if encoder is not None and encoder.fingerprint != saved.fingerprint:
            raise EncoderMismatchError(
                f"encoder: FDE config fingerprint differs: {folder} was built with {saved.fingerprint}, got "
                f"{encoder.fingerprint}; use the encoder that is saved with the index"
            )
        index = cls(encoder or saved, state["engine"], factory=state["factory"], precision=state["precision"])
        count = int(state["documents"])
        if count:
            index._read(folder, count, memory_map)
        return index

    def _read(self, folder: Path, count: int, memory_map: bool) -> None:
        path = folder / "documents.arrow"
        try:
            table = pa.feather.read_table(str(path), memory_map=False)
            ids = _checked_ids(table["id"], count)
            offsets = np.concatenate([[0], np.cumsum(table["vectors"].to_numpy())]).astype(np.int64)
        except OSError as error:
            raise file_problem(error, path, "read") from error
        except (pa.ArrowInvalid, KeyError, InvalidValueError) as error:
            raise FormatError(f"{path}: damaged ({error}); save the index again") from error
        values, scales = (load_array(folder / f"{name}.npy", memory_map) for name in ("vectors", "scales"))
        scaled = len(values) if self.precision == "int8" else 0
        fits = values.shape == (offsets[-1], self.encoder.n_features_in_) and str(values.dtype) == self.precision
        if not fits or len(scales) != scaled:
            raise FormatError(f"{folder}: vectors and documents do not fit together; save the index again")
        self._engine.load(folder, count, memory_map)
        self._kept, self._ids = KeptVectors(values, scales, offsets), ids


class _EmptyIndexError(StoreError, ValueError):
    """An index without documents was searched."""


def _checked_ids(ids: Any, count: int) -> pa.Array:
    """Ids as an Arrow array, checked as `Vectors` does: unique, all int or all str, one for each."""
    return Vectors(np.empty((count, 1), dtype=np.float32), ids=ids).arrow_ids


def _topped_up(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` different numbers: those in `rows`, then the smallest others."""
    others = np.setdiff1d(np.arange(count + len(rows)), rows, assume_unique=True)
    return np.concatenate([rows, others[: count - len(rows)]])


def _read_state(path: Path) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as handle:
            state = json.load(handle)
    except OSError as error:
        raise file_problem(error, path, "read") from error
    except ValueError as error:
        raise FormatError(f"{path}: not JSON ({error}); needs a folder that MultiVectorIndex.save wrote") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise FormatError(f"{path}: not a saved MultiVectorIndex")
    if missing := {"engine", "factory", "precision", "documents", "fingerprint"} - state.keys():
        raise FormatError(f"{path}: damaged, without {', '.join(sorted(missing))}; save the index again")
    return state
