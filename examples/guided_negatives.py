"""Train a small encoder with a guide that says which negatives are none, and mine hard ones that are.

    python examples/guided_negatives.py

Packages of a Linux distribution that stand next to each other in the alphabet often come from one source and have
nearly the same description. Told apart by force, they spoil a small encoder; the guide, all-MiniLM-L6-v2, takes them
out of the batch. The first run fetches the package index (about 15 MB) and encodes 4,000 texts, which takes a minute on
a laptop; the guide's vectors are kept, so the next run starts at once. BM25 needs `pip install 'polyvec[train]'`.
"""

import numpy as np
import torch

from polyvec.core.files import cache_directory
from polyvec.data import load
from polyvec.encode import TextEncoder
from polyvec.train import GuideCache, GuidedContrastiveLoss, cached_backward
from polyvec.train.negatives import keyword_candidates, mine_hard_negatives

PACKAGES, STEPS, RUN = 2_000, 200, 8


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
    with torch.no_grad():
        asked, stored = (torch.nn.functional.normalize(student(part)) for part in (queries, documents))
    found = (asked @ stored.T).topk(10).indices
    return (found == torch.arange(len(found))[:, None]).any(1).float().mean().item()


def main() -> None:
    documents = load("debian-packages", view="texts", limit=8 * PACKAGES)
    pairs = [document.text.partition("\n\n")[::2] for document in documents]
    pairs = [(synopsis, description) for synopsis, description in pairs if description]
    synopses, descriptions = (list(column) for column in zip(*pairs[:PACKAGES], strict=True))
    unseen = list(zip(*pairs[-1_000:], strict=True))

    # The guide encodes each text once, ever: its vectors are kept by the text's content.
    encoder = TextEncoder(max_length=128)
    cache = GuideCache(encoder, cache_directory("examples", "guide"))
    guide = cache.vectors(synopses), cache.vectors(descriptions)

    # Hard negatives: documents that share words with the query, without those that the guide finds nearly as good as
    # the right one (above 95% of its score).
    words = keyword_candidates(synopses, descriptions, depth=50)
    mined = mine_hard_negatives(*guide, positives=range(len(pairs[:PACKAGES])), count=1, candidates=words)
    print(f"{mined.complete.mean():.0%} of the synopses have a hard negative, for example")
    example = int(np.flatnonzero(mined.complete)[0])
    print(f"  {synopses[example]!r} is not {descriptions[mined.rows[example, 0]][:70]!r}")

    def tokens(texts: list[str]) -> torch.Tensor:
        return torch.from_numpy(encoder.tokenize(texts)["input_ids"])

    queries, answers, tests = tokens(synopses), tokens(descriptions), [tokens(list(column)) for column in unseen]
    usable = torch.from_numpy(np.flatnonzero(mined.complete))
    negatives = torch.from_numpy(mined.rows[:, 0])
    for guided in (False, True):
        student, loss = (
            Student(int(max(part.max() for part in (queries, answers, *tests))) + 1),
            GuidedContrastiveLoss(0.05),
        )
        optimiser = torch.optim.Adam(student.parameters(), lr=3e-3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(STEPS):
            starts = torch.randint(len(usable) - RUN, (16, 1), generator=generator)
            rows = usable[(starts + torch.arange(RUN)).unique()]  # runs of neighbours in the alphabet
            options = {
                "guide_anchors": guide[0][rows],
                "guide_positives": guide[1][rows],
                "guide_negatives": guide[1][negatives[rows]],
            }
            columns = [queries[rows], answers[rows], answers[negatives[rows]]]
            optimiser.zero_grad()
            # The gradient of the whole batch, with the activations of 32 texts in memory.
            cached_backward(student, columns, loss, chunk_size=32, **(options if guided else {}))
            optimiser.step()
        name = f"guided, {loss.last_mask_rate:.1%} of the candidates taken out" if guided else "without a guide"
        print(f"{name}: recall@10 {recall(student, *tests):.3f} on packages of other sources")


if __name__ == "__main__":
    main()
