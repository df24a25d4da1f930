"""Node labels: which nodes have one, a validation split, and how well vectors predict them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from polyvec.core.errors import InvalidTypeError, InvalidValueError

Positions = npt.NDArray[np.int64]


class LabelScores(NamedTuple):
    """F1 over all nodes (`micro`; the accuracy, with one label a node), and the mean of the classes' F1 (`macro`)."""

    micro: float
    macro: float


def class_numbers(y: Any, nodes: int) -> npt.NDArray[np.int64]:
    """Labels as class numbers from 0, and -1 where a node has none (a negative number, `None` or NaN).

    Raises:
        InvalidTypeError: Labels that are neither numbers nor strings.
        InvalidValueError: Not one a node, or fewer than two classes.
    """
    labels = np.asarray(y.cpu() if hasattr(y, "cpu") else y)
    if labels.shape != (nodes,):
        raise InvalidValueError(f"y: got shape {labels.shape}, needs one label for each of the {nodes} nodes")
    if labels.dtype.kind == "f":
        known = ~np.isnan(labels) & (labels >= 0)
    elif labels.dtype.kind in "iu":
        known = labels >= 0
    elif labels.dtype.kind in "US":
        known = np.ones(nodes, dtype=bool)
    elif labels.dtype.kind in "OT":
        known = np.array([label is not None and label == label for label in labels])
        labels = np.where(known, labels, "").astype(str)
    else:
        raise InvalidTypeError(f"y: got labels of type {labels.dtype}, needs integers or strings")
    classes, numbers = np.unique(labels[known], return_inverse=True)
    if len(classes) < 2:
        raise InvalidValueError(f"y: got {len(classes)} classes, needs at least 2")
    out = np.full(nodes, -1, dtype=np.int64)
    out[known] = numbers
    return out


def stratified_split(
    classes: npt.NDArray[np.int64], nodes: Positions, second: float, seed: int | np.random.Generator | None
) -> tuple[Positions, Positions]:
    """Split labelled `nodes` so that each class gives the share `second` of its members to the second part.

    A class keeps at least one member in the first part, and gives at least one to the second when it has two.
    """
    order = np.random.default_rng(seed).permutation(nodes)
    order = order[np.argsort(classes[order], kind="stable")]
    _, starts, counts = np.unique(classes[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    given = np.minimum(np.maximum(np.rint(counts * second), 1), counts - 1)
    into_second = rank < np.repeat(given, counts)
    return np.sort(order[~into_second]), np.sort(order[into_second])


def label_scores(
    vectors: npt.NDArray[np.floating],
    classes: npt.NDArray[np.int64],
    train: Positions,
    test: Positions,
    *,
    c: float = 0.1,
) -> LabelScores:
    """Fit a logistic regression on the vectors of `train` and score it on `test`.

    Columns are standardised with the statistics of `train`; the solver is L-BFGS with scikit-learn's tolerance (1e-4)
    and up to 1000 iterations. BLAS runs on one thread, so that the figures do not depend on the number of cores.

    Args:
        vectors: `(nodes, dim)`.
        classes: Class number of each node.
        train: Positions of the nodes to learn from.
        test: Positions of the nodes to predict.
        c: Inverse strength of the L2 penalty; 0.1 is the official notebook's.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        scaler = StandardScaler().fit(vectors[train])
        model = LogisticRegression(C=c, max_iter=1000).fit(scaler.transform(vectors[train]), classes[train])
        predicted = model.predict(scaler.transform(vectors[test]))
    micro, macro = (float(f1_score(classes[test], predicted, average=average)) for average in ("micro", "macro"))
    return LabelScores(micro, macro)
