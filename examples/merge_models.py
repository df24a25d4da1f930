"""Merge two text models that were trained from one, and find the best mixture on a few pairs of each task.

    python examples/merge_models.py

Two copies of the bundled text model are trained for a moment: one to find a package's description by its synopsis, one
to bring packages of the same section together. Both tasks want something else of the vectors. Self Positioning finds
a point between the two models, and how far to go, on pairs that neither of them has seen. The first run fetches the
package index (about 15 MB); training and searching take a few minutes on a laptop.
"""

import copy
from itertools import pairwise

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from polyvec.combine import ContrastiveProbe, SelfPositioning, TaskVector, balanced_batches, merge
from polyvec.combine.merging.text_models import embedder
from polyvec.data import load
from polyvec.encode.text.bundled import bundled_folder
from polyvec.train import InfoNCE

SECTIONS = ("games", "science", "fonts", "sound", "editors", "mail")


def pairs_of_packages() -> dict[str, list[tuple[str, str]]]:
    """(synopsis, description) pairs, and pairs of synopses of one section, in random order."""
    retrieval, members = [], {section: [] for section in SECTIONS}
    for document in load("debian-packages", view="texts"):
        synopsis, _, description = document.text.partition("\n\n")
        if description and document.metadata["section"] in members:
            retrieval.append((synopsis, description[:300]))
            members[document.metadata["section"]].append(synopsis)
    draws = np.random.default_rng(0)
    section = []
    for texts in members.values():
        order = [texts[row] for row in draws.permutation(len(texts))]
        section += list(pairwise(order))[::2]
    return {name: [found[row] for row in draws.permutation(len(found))] for name, found in
            (("retrieval", retrieval), ("section", section))}  # fmt: skip


def train(base: SentenceTransformer, pairs: list[tuple[str, str]], steps: int = 30) -> SentenceTransformer:
    model = copy.deepcopy(base).train()
    embed, objective = embedder(model), InfoNCE(temperature=0.05)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-5)
    for step in range(steps):
        anchors, positives = zip(*pairs[32 * step : 32 * (step + 1)], strict=True)
        loss = objective(embed(model, anchors), embed(model, positives))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def hit_rate(model: SentenceTransformer, pairs: list[tuple[str, str]]) -> float:
    """How often the other text of a pair is the nearest among all."""
    anchors, positives = (model.encode(list(side), normalize_embeddings=True) for side in zip(*pairs, strict=True))
    return float(((anchors @ positives.T).argmax(axis=1) == np.arange(len(pairs))).mean())


def main() -> None:
    pairs = pairs_of_packages()
    base = SentenceTransformer(str(bundled_folder()), device="cpu")
    base.max_seq_length = 64
    models = {task: train(base, found[:960]) for task, found in pairs.items()}
    probe = {task: tuple(map(list, zip(*found[960:1_160], strict=True))) for task, found in pairs.items()}
    test = {task: found[1_160:1_360] for task, found in pairs.items()}

    # What training added to the weights: lengths and angle tell how much each task changed the model, and how alike.
    vectors = [TaskVector.from_checkpoints(base, model, label=task) for task, model in models.items()]
    for vector in vectors:
        print(f"{vector.label}: length {vector.norm():.3f}")
    print(f"angle {np.degrees(vectors[0].angle(vectors[1])):.0f} degrees")

    loss = ContrastiveProbe(list(pairs), temperature=0.05, embed=embedder(base))
    search = SelfPositioning(base, vectors, loss, lr=0.05, steps=30)
    search.fit(balanced_batches(probe, batch_size=32, steps=30), show_progress=None)
    print(f"mixing weights {np.round(search.weights_, 2)}, length {search.scale_:.2f}")

    merged, average = copy.deepcopy(base), copy.deepcopy(base)
    search.apply_(merged)
    average.load_state_dict(merge(base, vectors, method="average"))
    shown = {"base": base, **{f"trained on {task}": model for task, model in models.items()}}
    for name, model in {**shown, "average": average, "Self Positioning": merged}.items():
        rates = ", ".join(f"{task} {hit_rate(model, found):.3f}" for task, found in test.items())
        print(f"{name:22s} {rates}")
    merged.save("merged-model")  # an ordinary sentence-transformers model


if __name__ == "__main__":
    main()
