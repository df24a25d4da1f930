"""Pick one of several encoders of one method without labels, watch the rank of a stream, and see where rank misleads.

    python examples/rankme_select.py

The encoders here are random-feature maps of handwritten digits that differ in one setting. Put your own in their place:
names to embedding matrices, names to encoders, or checkpoints of one training run.
"""

import torch
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

from polyvec.assess import RankMe, effective_rank_score, rankme, select_by_rank, spectrum_report


def features(gamma: float) -> RBFSampler:
    return RBFSampler(gamma=gamma, n_components=64, random_state=0)


def main() -> None:
    pictures, labels = load_digits(return_X_y=True)
    pictures /= 16

    # 1. One number for one matrix (NumPy, memory-mapped, torch, pandas, Vectors).
    print(f"RankMe of the pixels: {rankme(pictures):.1f} of {pictures.shape[1]} dimensions")

    # 2. Which of these runs? The rows are sorted, the first is the pick; pandas.DataFrame(rows) makes a table of them.
    gammas = [1e-6, 1e-4, 1e-3, 1e-2]
    for row in select_by_rank({f"gamma={gamma:g}": features(gamma).fit(pictures) for gamma in gammas}, pictures):
        print(f"  {row.rank_order}. {row.name:12} {row.rankme:5.1f}")

    # 3. The same as a search of scikit-learn's.
    search = GridSearchCV(features(1.0), {"gamma": gammas}, scoring=effective_rank_score).fit(pictures)
    print("the search picks", search.best_params_)

    # 4. A high rank is necessary, not sufficient: with a far too narrow kernel, the features are noise, and noise
    #    has the highest rank of all. Only labels, or knowing that such runs are broken, can tell.
    for gamma in (1e-2, 10.0):
        embedded = features(gamma).fit_transform(pictures)
        accuracy = cross_val_score(LogisticRegression(C=100, max_iter=2000), embedded, labels, cv=3).mean()
        print(f"gamma={gamma:g}: RankMe {rankme(embedded):.1f}, accuracy with labels {accuracy:.2f}")

    # 5. Batches of a validation pass: only a 64 x 64 matrix is kept. Under torch.distributed, compute() is global.
    metric = RankMe(64)
    for batch in torch.from_numpy(pictures).float().split(256):
        metric.update(batch)
    print(f"RankMe of {metric.count} streamed rows: {metric.compute():.1f}")

    # 6. Everything else that the spectrum says.
    for name, value in spectrum_report(pictures).items():
        print(f"  {name:24} {value:.3g}" if isinstance(value, float) else f"  {name:24} {value}")


if __name__ == "__main__":
    main()
