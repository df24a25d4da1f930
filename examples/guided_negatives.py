"""Train a small encoder with a guide that says which negatives are none, and mine hard ones that are.

    python examples/guided_negatives.py

A source package of a Linux distribution builds several packages with nearly the same description. Told apart by force,
they spoil a small encoder; the guide, all-MiniLM-L6-v2, takes them out of the batch. The first run fetches the package
index (about 15 MB) and encodes 2,000 texts, which takes half a minute on a laptop; the guide's vectors are kept, so the
next run starts at once. BM25 needs `pip install 'polyvec[train]'`.
"""

from collections import defaultdict

import torch

from polyvec.core.files import cache_directory
from polyvec.data import load
from polyvec.encode import TextEncoder
from polyvec.train import GuideCache, GuidedContrastiveLoss, cached_backward
from polyvec.train.negatives import keyword_candidates, mine_hard_negatives

TRAIN, TEST, STEPS = 250, 150, 200  # sources, with four packages each


class Student(torch.nn.Module):
    """The mean of trainable word-piece vectors: any encoder that you train stands here."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.table = torch.nn.EmbeddingBag(pieces, 64, mode="mean", padding_idx=0)
        torch.nn.init.normal_(self.table.weight, std=0.1, generator=torch.Generator().manual_seed(0))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """One vector a text."""
        return self.table(tokens)


def recall(student: Student, queries: torch.Tensor, documents: torch.Tensor) -> float:
    """How many of the four descriptions of a synopsis' source are among the ten closest."""
    with torch.no_grad():
        asked, stored = (torch.nn.functional.normalize(student(part)) for part in (queries, documents))
    found = (asked @ stored.T).topk(10).indices // 4
    return (found == torch.arange(len(asked))[:, None] // 4).sum(1).float().mean().item() / 4


def main() -> None:
    table = load("debian-packages", view="tables")["package"]
    packages = defaultdict(list)
    for source, *pair in zip(*(table[name].to_pylist() for name in ("source", "synopsis", "description")), strict=True):
        packages[source].append(pair)
    sources = [pairs[:4] for pairs in packages.values() if len(pairs) >= 4][: TRAIN + TEST]
    synopses, descriptions = (list(column) for column in zip(*(pair for four in sources for pair in four), strict=True))
    train = 4 * TRAIN

    # The guide encodes each text once, ever: its vectors are kept by the text's content.
    encoder = TextEncoder(max_length=128)
    cache = GuideCache(encoder, cache_directory("examples", "guide"))
    guide = cache.vectors(synopses[:train]), cache.vectors(descriptions[:train])

    # Hard negatives: descriptions that share words with the synopsis, without those that the guide finds nearly as good
    # as the right one (above 95% of its score).
    found = keyword_candidates(synopses[:train], descriptions[:train], depth=50)
    mined = mine_hard_negatives(*guide, positives=range(train), count=1, candidates=found)
    print(f"{mined.complete.mean():.0%} of the synopses have a hard negative, for example")
    print(f"  {synopses[0]!r} is not {descriptions[mined.rows[0, 0]][:60]!r}")
    negatives = torch.from_numpy(mined.rows[:, 0])

    columns = [torch.from_numpy(encoder.tokenize(part)["input_ids"]) for part in (synopses, descriptions)]
    for guided in (False, True):
        student = Student(int(max(part.max() for part in columns)) + 1)
        objective = GuidedContrastiveLoss(0.05)
        optimiser = torch.optim.Adam(student.parameters(), lr=3e-3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(STEPS):
            drawn = torch.randperm(TRAIN, generator=generator)[:16]
            rows = (4 * drawn[:, None] + torch.arange(4)).flatten()  # four of each source, as they come in real data
            rows = rows[negatives[rows] >= 0]
            batch = [columns[0][rows], columns[1][rows], columns[1][negatives[rows]]]
            vectors = {
                "guide_anchors": guide[0][rows],
                "guide_positives": guide[1][rows],
                "guide_negatives": guide[1][negatives[rows]],
            }
            optimiser.zero_grad()
            # The gradient of the whole batch, with the activations of 32 texts in memory.
            cached_backward(student, batch, objective, chunk_size=32, **(vectors if guided else {}))
            optimiser.step()
        name = f"guided ({objective.last_mask_rate:.1%} of the candidates taken out)" if guided else "without a guide"
        value = recall(student, columns[0][train:], columns[1][train:])
        print(f"{name}: {value:.1%} of the descriptions of a source are found, for sources that were not trained on")


if __name__ == "__main__":
    main()
