"""Picking a run by its rank: a table of candidates, and a score for scikit-learn's searches."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from polyvec.assess.blocks import MatrixBlocks
from polyvec.assess.rank import rankme
from polyvec.assess.spectrum import OnCollapse, check_eps, effective_rank, spectrum_of, warn_if_capped
from polyvec.core.arrays import is_tensor
from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.progress import track


class RankedRun(NamedTuple):
    """One row of `select_by_rank`: the candidate's name, its RankMe score, its place (1 is best; ties share one)."""

    name: str
    rankme: float
    rank_order: int


def select_by_rank(
    candidates: Mapping[str, Any],
    data: Any = None,
    *,
    eps: float = 1e-7,
    center: bool = False,
    tolerance: float = 0.0,
    prefer: Literal["first", "last"] = "first",
    batch_size: int = 256,
    show_progress: bool | None = None,
) -> list[RankedRun]:
    """Runs of one method, best RankMe score first.

    The candidates must be runs of *one* method and architecture that differ in hyper-parameters or training time. A
    high rank is necessary, not sufficient: an untrained encoder or pure noise can score higher than every trained run,
    so leave out what was not trained. Collapsed candidates score 0.

    Args:
        candidates: Name to embeddings `(n, dim)`, or name to encoder; the order is that of the hyper-parameter. An
            encoder is anything with `encode`, a scikit-learn transform, a torch module (put in evaluation mode while it
            runs) or a function of `data`.
        data: Unlabelled data of the pre-training distribution, the same for all encoders; not needed for embeddings.
        eps: See `rankme`.
        center: See `rankme`.
        tolerance: Scores within this share of the best one tie with it: 0.01 treats 1 % less as the same.
        prefer: Which of the candidates that tie at the top comes first: the "first" or the "last" in the order of
            `candidates` (the smallest or largest value of the hyper-parameter).
        batch_size: Passed to `encode`; rows at a time for torch modules.
        show_progress: `None` shows a bar on a terminal when there are encoders to run.

    Returns:
        Named tuples `(name, rankme, rank_order)`; `[0]` is the pick, and `pandas.DataFrame(rows)` or
        `polars.DataFrame(rows)` is a table with these columns.

    Raises:
        InvalidTypeError: A candidate is neither embeddings nor an encoder.
        InvalidValueError: No candidates; encoders without `data`; embeddings that differ in rows or dimensions, whose
            scores could not be compared; NaN or infinity (with the candidate's name and the row).

    Warns:
        RankCappedWarning: Fewer rows than dimensions.

    Source: Garrido et al., "RankMe" (ICML 2023), section 3.

    Example:
        >>> import numpy as np
        >>> runs = {"lr=0.1": np.eye(4) * [1, 1, 0, 0], "lr=0.01": np.eye(4)}
        >>> [(run.name, round(run.rankme, 2)) for run in select_by_rank(runs)]
        [('lr=0.01', 4.0), ('lr=0.1', 2.0)]
    """
    eps = check_eps(eps)
    if not isinstance(candidates, Mapping) or not candidates:
        raise InvalidValueError("candidates: needs a mapping of at least one name to embeddings or an encoder")
    if not 0.0 <= tolerance < 1.0:
        raise InvalidValueError(f"tolerance: got {tolerance}, needs a share of the best score, at least 0 and below 1")
    if prefer not in ("first", "last"):
        raise InvalidValueError(f"prefer: got {prefer!r}, needs 'first' or 'last'")
    scores: dict[str, float] = {}
    first: tuple[str, int, int] | None = None
    any_encoder = any(_is_encoder(candidate) for candidate in candidates.values())
    show = show_progress if any_encoder else False
    for name, candidate in track(candidates.items(), "ranking runs", len(candidates), show=show):
        argument = f"candidates[{name!r}]"
        if _is_encoder(candidate):
            if data is None:
                raise InvalidValueError(f"data: got None, needs unlabelled data for the encoder {argument}")
            candidate = embed(candidate, data, batch_size=batch_size)
        blocks = MatrixBlocks(candidate, argument)
        if first is None:
            first = (argument, blocks.rows, blocks.columns)
            warn_if_capped(blocks.rows, blocks.columns, center, "candidates")
        elif (blocks.rows, blocks.columns) != first[1:]:
            raise InvalidValueError(
                f"{argument}: got shape {(blocks.rows, blocks.columns)}, needs {first[1:]} as {first[0]}; scores of "
                "different numbers of rows or dimensions cannot be compared"
            )
        spectrum = spectrum_of(blocks, center)
        scores[str(name)] = effective_rank(spectrum, eps) if spectrum[0] > 0 else 0.0
    return _ranked(scores, tolerance, prefer)


def _ranked(scores: Mapping[str, float], tolerance: float, prefer: str) -> list[RankedRun]:
    top = max(scores.values()) * (1.0 - tolerance)
    names = list(scores) if prefer == "first" else list(scores)[::-1]
    at_top = [name for name in names if scores[name] >= top]
    below = sorted((name for name in names if scores[name] < top), key=lambda name: -scores[name])
    rows = [RankedRun(name, scores[name], 1) for name in at_top]
    for name in below:
        same = rows[-1].rankme == scores[name] and rows[-1].rank_order > 1
        rows.append(RankedRun(name, scores[name], rows[-1].rank_order if same else len(rows) + 1))
    return rows


def _is_encoder(candidate: Any) -> bool:
    return (
        hasattr(candidate, "encode")
        or (hasattr(candidate, "transform") and hasattr(candidate, "fit"))
        or callable(candidate)
    )


def embed(encoder: Any, data: Any, *, batch_size: int = 256) -> Any:
    """Embeddings of `data` by an encoder, a fitted scikit-learn transform, a torch module or a function.

    A torch module is run in evaluation mode without gradients, `batch_size` rows at a time, on its own device; its mode
    is restored afterwards.

    Raises:
        InvalidTypeError: None of these.
    """
    if hasattr(encoder, "encode"):
        return encoder.encode(data, batch_size=batch_size)
    if hasattr(encoder, "transform"):
        return encoder.transform(data)
    if _is_module(encoder):
        return _embed_by_module(encoder, data, batch_size)
    if callable(encoder):
        return encoder(data)
    raise InvalidTypeError(
        f"encoder: got {type(encoder).__name__}, needs an encoder, a fitted transform, a torch module or a function"
    )


def _is_module(encoder: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(encoder, torch.nn.Module)


def _embed_by_module(module: Any, data: Any, batch_size: int) -> Any:
    import torch

    parameter = next(module.parameters(), None)
    rows = data if is_tensor(data) else torch.as_tensor(data)
    if parameter is not None:
        rows = rows.to(dtype=parameter.dtype if rows.is_floating_point() else rows.dtype)
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.inference_mode():
            parts = [
                module(part if parameter is None else part.to(parameter.device)).clone()
                for part in rows.split(batch_size)
            ]
        return torch.cat(parts)
    finally:
        for part, was_training in training.items():
            part.training = was_training


def effective_rank_score(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    eps: float = 1e-7,
    center: bool = False,
    on_collapse: OnCollapse = "zero",
) -> float:
    """RankMe score of an estimator's embeddings of `X`, usable as `scoring=` in scikit-learn's searches.

    Searches take the highest score. Search over settings that leave the output's width as it is: scores of different
    widths cannot be compared. Each fold should have at least as many rows as dimensions. For other settings pass
    `functools.partial(effective_rank_score, center=True)`.

    Args:
        estimator: A fitted transform, an encoder, a torch module or a function of `X`.
        X: Data to embed; labels are not looked at.
        y: Ignored; here because searches pass it.
        eps: See `rankme`.
        center: See `rankme`.
        on_collapse: "zero" lets a search go on past settings that collapse; "raise" does not.

    Raises:
        InvalidTypeError: The estimator cannot embed.
        InvalidValueError: NaN or infinity in the embeddings.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.kernel_approximation import RBFSampler
        >>> from sklearn.model_selection import GridSearchCV
        >>> sampler = RBFSampler(n_components=20, random_state=0)
        >>> grid = {"gamma": [1e-6, 0.1]}
        >>> search = GridSearchCV(sampler, grid, scoring=effective_rank_score, cv=3)
        >>> search.fit(load_iris().data).best_params_
        {'gamma': 0.1}
    """
    return rankme(embed(estimator, X), eps, center, on_collapse=on_collapse)
