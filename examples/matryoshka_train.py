"""Train a Matryoshka projection on top of a frozen text encoder, and search with short vectors.

    python examples/matryoshka_train.py

Packages of a Linux distribution have a one-line synopsis and a longer description. One linear layer learns to bring the
two together; because the loss looks at several prefixes, the first coordinates alone are good enough for a first look.
The first run fetches the package index (about 15 MB) and encodes 6,000 packages, which takes a few minutes on a laptop.
"""

import numpy as np
import torch

from polyvec.compress import truncate
from polyvec.data import load
from polyvec.encode import TextEncoder
from polyvec.search import FunnelSearch
from polyvec.train import InfoNCE, MatryoshkaLoss

SIZES = [16, 32, 64, 128, 384]


def main() -> None:
    documents = load("debian-packages", view="texts", limit=6_000)
    parts = [document.text.partition("\n\n") for document in documents]
    encoder = TextEncoder(max_length=128)
    synopses = torch.from_numpy(encoder.encode([synopsis for synopsis, _, _ in parts]))
    descriptions = torch.from_numpy(encoder.encode([description or synopsis for synopsis, _, description in parts]))

    # Any objective on embeddings fits into MatryoshkaLoss; it adds up the loss of every prefix.
    layer = torch.nn.Linear(384, 384, bias=False)
    torch.nn.init.eye_(layer.weight)
    objective = MatryoshkaLoss(InfoNCE(temperature=0.05), SIZES)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(parts), generator=generator)
    train, test = order[1_000:], order[:1_000]
    for step in range(300):
        batch = train[torch.randint(len(train), (256,), generator=generator)]
        loss = objective(layer(synopses[batch]), layer(descriptions[batch]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}")

    with torch.no_grad():
        queries, stored = layer(synopses[test]), layer(descriptions)
    for size in SIZES:
        scores = truncate(queries, size) @ truncate(stored, size).T
        recall = (scores.topk(10).indices == test[:, None]).any(1).float().mean()
        print(f"first {size:3d} coordinates: {4 * size:4d} bytes a vector, recall@10 {recall:.3f}")

    # Scan all vectors by 64 coordinates, look at all 384 of the best 200 only.
    index = FunnelSearch(stored, sizes=[64, 384], shortlists=[200])
    _, ids, cost = index.search_with_cost(queries, k=10)
    recall = (np.asarray(ids) == test.numpy()[:, None]).any(axis=1).mean()
    print(f"64, then 384 for the best 200: recall@10 {recall:.3f} with {cost.saving:.1f} times fewer multiply-adds")


if __name__ == "__main__":
    main()
