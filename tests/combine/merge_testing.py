"""Small models and weight files for the tests of merging."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from polyvec.combine import TaskVector


class Network(nn.Module):
    """Everything that merging has to tell apart: a tied table, batch statistics, integers, a vector, a matrix."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Embedding(11, 6)
        self.inner = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.out = nn.Linear(6, 11, bias=False)
        self.register_buffer("position_ids", torch.arange(5))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
            self.norm.running_mean.copy_(torch.randn(6, generator=generator))
        self.out.weight = self.table.weight

    def forward(self, ids):
        return self.out(self.norm(self.inner(self.table(ids))))


def models(count: int = 2) -> tuple[Network, list[Network]]:
    return Network(0), [Network(seed) for seed in range(1, count + 1)]


def flat(vector: TaskVector) -> torch.Tensor:
    """The oracle's view of a task vector: one long vector, weights by name."""
    values = vector.tensors()
    return torch.cat([values[name].flatten() for name in sorted(values)])


def states(count: int = 3, shapes=None, seed: int = 0, dtype=torch.float32):
    """State dicts of a base and `count` models with weights of the given shapes."""
    generator = torch.Generator().manual_seed(seed)
    shapes = shapes or {"a.weight": (5, 4), "b.bias": (7,), "c.weight": (3, 2, 2)}
    found = [
        {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
        for _ in range(count + 1)
    ]
    return found[0], found[1:]


def save_model_folder(folder: Path, state, *, shards: int = 1, config=None) -> Path:
    """A folder like those of model libraries, with one weight file or several and their index."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config or {"model_type": "tiny"}))
    (folder / "vocab.txt").write_text("a\nb\n")
    if shards == 1:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    names = list(state)
    place = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        own = names[shard::shards]
        save_file({name: state[name] for name in own}, folder / file, metadata={"format": "pt"})
        place |= dict.fromkeys(own, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": place}))
    return folder


def tiny_text_model(folder: Path, seed: int = 0) -> Path:
    """A random one-layer sentence-transformers model with a dense module and MiniLM's tokenizer."""
    import shutil

    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    from polyvec.encode.text.bundled import bundled_folder

    tokenizer = AutoTokenizer.from_pretrained(str(bundled_folder()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = BertModel(
            BertConfig(
                vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                intermediate_size=32, max_position_embeddings=64,
            )
        )  # fmt: skip
        source = folder.with_suffix(".transformer")
        network.save_pretrained(source)
        tokenizer.model_max_length = 32
        tokenizer.save_pretrained(source)
        modules = [Transformer(str(source), max_seq_length=32), Pooling(16), Dense(16, 12)]
        SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    shutil.rmtree(source)
    return folder


def perturbed_copy(folder: Path, to: Path, seed: int, size: float = 0.1) -> Path:
    """A model as if trained from `folder`: every weight moved a little."""
    import shutil

    from safetensors.torch import load_file

    shutil.copytree(folder, to)
    generator = torch.Generator().manual_seed(seed)
    for file in to.rglob("*.safetensors"):
        state = {
            name: value + size * value.std() * torch.randn(value.shape, generator=generator)
            if value.is_floating_point() and value.numel() > 1
            else value
            for name, value in load_file(file).items()
        }
        save_file(state, file, metadata={"format": "pt"})
    return to
