"""Truncation: keep the first coordinates of each vector and scale them to unit length again."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import validate_data

from polyvec.core.arrays import as_matrix, is_tensor, match_kind
from polyvec.core.errors import FormatError, InvalidTypeError, InvalidValueError, NotFittedError
from polyvec.core.files import file_problem, write_json
from polyvec.train.sizes import check_size

if TYPE_CHECKING:
    import torch

Given = TypeVar("Given")


def _unit_rows(matrix: np.ndarray) -> tuple[np.ndarray, int]:
    """Rows of unit length (rows of zeros stay zeros), and how many rows are zeros."""
    norms = np.sqrt(np.einsum("nd,nd->n", matrix, matrix, dtype=np.float64))
    zeros = int(np.count_nonzero(norms == 0))
    scaled = matrix / np.where(norms > 0, norms, 1)[:, None]
    return scaled.astype(matrix.dtype, copy=False), zeros


def _warn_zeros(count: int, size: int) -> None:
    if count:
        warnings.warn(
            f"{count} vectors are all zeros in their first {size} coordinates and stay zeros; "
            "they have no direction, so every cosine with them is 0",
            stacklevel=3,
        )


def _truncate_tensor(x: torch.Tensor, size: int, normalize: bool) -> tuple[torch.Tensor, int]:
    from polyvec.train.objectives.prefix import prefix

    if x.is_sparse or not x.is_floating_point():
        raise InvalidTypeError(f"x: got a {'sparse' if x.is_sparse else x.dtype} tensor, needs dense floating numbers")
    if x.ndim != 2 or x.shape[1] == 0:
        hint = "; one vector? use x[None, :]" if x.ndim == 1 else ""
        raise InvalidValueError(f"x: got shape {tuple(x.shape)}, needs two dimensions (rows, dimensions){hint}")
    finite = x.detach().isfinite().all(dim=1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise InvalidValueError(f"x: row {row} holds NaN or infinity; drop or repair such rows first")
    result = prefix(x, size, normalize)
    zeros = int((result.detach() == 0).all(dim=1).sum()) if normalize else 0
    return result, zeros


def truncate(x: Given, size: int, normalize: bool = True) -> Given:
    """The first `size` coordinates of each vector, scaled to unit length.

    Only worth much when the encoder was trained for prefixes (`MatryoshkaLoss`), or when the coordinates are sorted by
    importance (PCA). Quantise after truncating, and rotate before training if at all: any rotation of a trained
    embedding mixes its coordinates and destroys the nesting.

    Args:
        x: Vectors `(n, dim)`: NumPy array, torch tensor, `Vectors`, or anything that holds rows of numbers.
        size: From 1 to `dim`; a larger one raises, it is never clipped.
        normalize: Scale each slice to unit length, which cosine and dot product search on slices needs. A slice of
            zeros stays zeros, with a warning.

    Returns:
        `(n, size)`, the kind that was given. Floating types are kept. A tensor keeps its device and its gradient;
        `Vectors` keep ids and metadata.

    Raises:
        InvalidValueError: Size out of range; wrong shape; NaN or infinity.
        InvalidTypeError: Not numbers, or a size that is not an integer.

    Source: Matryoshka Representation Learning (2022), section 3: at inference slice, scale, use.

    Example:
        >>> import numpy as np
        >>> truncate(np.array([[3.0, 4.0, 12.0]]), 2)
        array([[0.6, 0.8]])
    """
    if is_tensor(x):
        check_size(size)
        result, zeros = _truncate_tensor(cast("torch.Tensor", x), size, normalize)
        _warn_zeros(zeros, size)
        return cast(Given, result)
    matrix = as_matrix(x, "x", min_rows=0, dtype=None)
    sliced = matrix[:, : check_size(size, "size", matrix.shape[1])]
    if normalize:
        sliced, zeros = _unit_rows(sliced)
        _warn_zeros(zeros, size)
    else:
        sliced = sliced.copy()  # a view would keep the whole matrix in memory, and share writes with it
    return match_kind(sliced, x)


class Truncate(TransformerMixin, BaseEstimator):
    """Truncation as a scikit-learn transformer, for pipelines and searches over the size.

    Args:
        n_components: How many coordinates to keep, from 1 to the width of the vectors.
        normalize: Scale each slice to unit length; see `truncate`.

    Attributes:
        n_features_in_: Width of the vectors given to `fit`.
        feature_names_in_: Their names, where `fit` was given a frame with named columns.

    `fit` learns nothing but the width. `transform` returns float32 `(n, n_components)` of the kind that was given.
    `inverse_transform` pads with zeros: it restores the width, not what was cut off, nor the length.

    Raises:
        InvalidValueError: `n_components` out of range, wrong width, NaN or infinity, no rows.
        NotFittedError: `transform` before `fit`.

    Example:
        >>> import numpy as np
        >>> Truncate(2).fit_transform(np.array([[3.0, 4.0, 12.0]], dtype=np.float32))
        array([[0.6, 0.8]], dtype=float32)
    """

    def __init__(self, n_components: int = 8, normalize: bool = True) -> None:
        self.n_components = n_components
        self.normalize = normalize

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def fit(self, X: Any, y: Any = None) -> Truncate:
        """Remember the width of `X` `(n, dim)`; `y` is ignored."""
        matrix = as_matrix(X, "X")
        check_size(self.n_components, "n_components", matrix.shape[1])
        validate_data(self, X if hasattr(X, "columns") else matrix, skip_check_array=True)
        return self

    def transform(self, X: Any) -> Any:
        """The first `n_components` coordinates of each row of `X`."""
        matrix = self._checked(X, self._width(), "features")
        sliced = np.ascontiguousarray(matrix[:, : self.n_components])
        if self.normalize:
            sliced, zeros = _unit_rows(sliced)
            _warn_zeros(zeros, self.n_components)
        return match_kind(sliced.copy() if np.shares_memory(sliced, matrix) else sliced, X)

    def inverse_transform(self, X: Any) -> Any:
        """Rows of `X` `(n, n_components)` followed by zeros, `(n, n_features_in_)`. What was cut off is lost."""
        width = self._width()
        matrix = self._checked(X, self.n_components, "components")
        padded = np.zeros((len(matrix), width), dtype=np.float32)
        padded[:, : self.n_components] = matrix
        return match_kind(padded, X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the kept coordinates: the first names of `fit`'s frame, or `x0`, `x1`, ..."""
        width = self._width()
        known = getattr(self, "feature_names_in_", None)
        if input_features is None:
            names = known if known is not None else [f"x{number}" for number in range(width)]
        else:
            names = np.asarray(input_features, dtype=object)
            if known is not None and not np.array_equal(known, names):
                raise InvalidValueError("input_features: not equal to feature_names_in_, needs the names seen by fit")
            if len(names) != width:
                raise InvalidValueError(f"input_features: got {len(names)}, should have length equal to {width}")
        return np.asarray(names[: self.n_components], dtype=object)

    def scanner(self, codes: np.ndarray, metric: str) -> Any:
        """A scan of the kept coordinates; see `polyvec.compress.scanning.Scanner`."""
        from polyvec.compress.scanning import FlatScanner

        return FlatScanner(codes, metric, lambda queries: queries[:, : self.n_components])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the parameters and the width as JSON, atomically."""
        names = getattr(self, "feature_names_in_", None)
        write_json(
            path,
            {
                "format": "polyvec-truncate-1",
                "n_components": int(self.n_components),
                "normalize": bool(self.normalize),
                "n_features_in": self._width(),
                "feature_names_in": None if names is None else [str(name) for name in names],
            },
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Truncate:
        """Read what `save` wrote.

        Raises:
            FileProblemError: The file cannot be read.
            FormatError: It is not a saved `Truncate`.
        """
        try:
            with open(path, encoding="utf-8") as handle:
                content = json.load(handle)
        except OSError as error:
            raise file_problem(error, path, "read") from error
        except ValueError as error:
            raise FormatError(
                f"{os.fspath(path)}: not JSON ({error}); needs a file that Truncate.save wrote"
            ) from error
        if not isinstance(content, dict) or content.get("format") != "polyvec-truncate-1":
            raise FormatError(f"{os.fspath(path)}: not a saved Truncate; needs a file that Truncate.save wrote")
        try:
            width = check_size(content["n_features_in"], "n_features_in")
            size = check_size(content["n_components"], "n_components", width)
            loaded, names = cls(size, bool(content["normalize"])), content["feature_names_in"]
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{os.fspath(path)}: damaged parameters ({error}); save the Truncate again") from error
        loaded.n_features_in_ = width
        if names is not None:
            loaded.feature_names_in_ = np.asarray(names, dtype=object)
        return loaded

    def _width(self) -> int:
        width = getattr(self, "n_features_in_", None)
        if width is None:
            raise NotFittedError("Truncate: not fitted yet; call fit first")
        return int(width)

    def _checked(self, X: Any, width: int, what: str) -> np.ndarray:
        matrix = as_matrix(X, "X", min_rows=0)
        if matrix.shape[1] != width:
            raise InvalidValueError(
                f"X has {matrix.shape[1]} {what}, but Truncate is expecting {width} {what} as input; "
                "give vectors of the encoder that fit saw"
            )
        if what == "features" and hasattr(X, "columns"):
            validate_data(self, X, reset=False, skip_check_array=True)  # the names of a frame's columns
        return matrix


class TruncatedEncoder:
    """An encoder whose vectors are truncated: the same weights, fewer coordinates.

    Args:
        encoder: Any encoder with `encode`, such as a `SentenceTransformer`.
        size: How many coordinates to keep.
        normalize: Scale each slice to unit length.
        trained_sizes: The sizes that the encoder was trained for. Default: the encoder's own `matryoshka_sizes`, when
            it has that attribute.

    Warns when the size is not among the trained ones. Sizes between two trained ones usually work almost as well, but
    an encoder that was trained for its full width only loses much more.

    Raises:
        InvalidTypeError: The encoder has no `encode`.
        InvalidValueError: Size below 1 or, at the latest when encoding, above the encoder's width.
    """

    def __init__(
        self, encoder: Any, size: int, *, normalize: bool = True, trained_sizes: Sequence[int] | None = None
    ) -> None:
        if isinstance(encoder, str) or not callable(getattr(encoder, "encode", None)):
            raise InvalidTypeError(f"encoder: got {type(encoder).__name__}, needs an object with encode()")
        width = _encoder_width(encoder)
        self.encoder = encoder
        self.dim = check_size(size, "size", width)
        self.normalize = bool(normalize)
        known = getattr(encoder, "matryoshka_sizes", None) if trained_sizes is None else trained_sizes
        self.matryoshka_sizes = tuple(int(each) for each in known or () if int(each) <= self.dim)
        if self.dim != width and self.dim not in self.matryoshka_sizes:
            trained = f"lists {[int(each) for each in known]}" if known else "lists no trained sizes"
            warnings.warn(
                f"size {size}: not trained for prefixes of this length (the encoder {trained}); "
                "measure the loss on your data, or train with MatryoshkaLoss",
                stacklevel=2,
            )

    def encode(self, sentences: Any, *, batch_size: int = 32, **options: Any) -> Any:
        """Truncated vectors `(n, size)`; options go to the inner encoder. One string gives one vector `(size,)`."""
        vectors = self.encoder.encode(sentences, batch_size=batch_size, **options)
        if getattr(vectors, "ndim", 2) == 1 and isinstance(sentences, str):
            return truncate(vectors[None, :], self.dim, self.normalize)[0]
        return truncate(vectors, self.dim, self.normalize)


def _encoder_width(encoder: Any) -> int | None:
    width = getattr(encoder, "dim", None)
    if width is None:
        for name in (
            "get_embedding_dimension",
            "get_sentence_embedding_dimension",
        ):  # sentence-transformers, new and old
            if callable(method := getattr(encoder, name, None)):
                width = method()
                break
    return int(width) if isinstance(width, (int, np.integer)) else None
