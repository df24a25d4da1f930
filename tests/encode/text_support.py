"""Models and oracles that several tests of the text encoder share; each is made once a session."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyvec.encode import TextEncoder
from polyvec.encode.text.bundled import bundled_folder

WORDS = [
    "graph",
    "neural",
    "network",
    "embedding",
    "table",
    "click",
    "model",
    "memory",
    "expert",
    "attention",
    "long",
    "speech",
    "image",
    "search",
    "index",
    "vector",
    "compress",
    "rank",
    "random",
    "walk",
    "contrastive",
    "loss",
    "negative",
    "sample",
    "distil",
    "teacher",
    "student",
    "quantise",
    "binary",
    "code",
]


def _temporary_folder(purpose: str) -> str:
    folder = tempfile.mkdtemp(prefix=f"polyvec-test-{purpose}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def sample_texts(count: int, seed: int = 0, longest: int = 60) -> list[str]:
    """Texts of 1 to `longest` words."""
    generator = np.random.default_rng(seed)
    return [
        " ".join(generator.choice(WORDS, size=int(generator.integers(1, longest + 1)))).capitalize() + "."
        for _ in range(count)
    ]


@functools.cache
def session_cache() -> str:
    """A cache folder of this test session, so that the user's own is left alone."""
    return _temporary_folder("cache")


@functools.cache
def default_encoder(precision: str = "exact", **options: Any) -> TextEncoder:
    """The default model, loaded once for each precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYVEC_CACHE", session_cache())
        encoder = TextEncoder(precision=precision, **options)
        encoder.encode("compile")
        _ = encoder.fingerprint
        return encoder


@functools.cache
def oracle() -> Any:
    """sentence-transformers with the same files."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(bundled_folder()), device="cpu")


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of each pair of rows."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / norms


def tiny_model(
    folder: Path, kind: str = "bert", pooling: str = "mean", extra: str | None = "normalize", seed: int = 0
) -> Any:
    """A random two-layer model with MiniLM's tokenizer, saved to `folder`, as a `SentenceTransformer`."""
    from sentence_transformers import SentenceTransformer

    shutil.copytree(_tiny_template(kind, pooling, extra, seed), folder, dirs_exist_ok=True)
    return SentenceTransformer(str(folder), device="cpu")


@functools.cache
def _tiny_template(kind: str, pooling: str, extra: str | None, seed: int) -> Path:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel, DistilBertConfig, DistilBertModel

    tokenizer = AutoTokenizer.from_pretrained(str(bundled_folder()))
    size = len(tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "bert":
            network: Any = BertModel(
                BertConfig(
                    vocab_size=size,
                    hidden_size=32,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    intermediate_size=64,
                    max_position_embeddings=128,
                    initializer_range=0.5,
                )
            )
        else:
            network = DistilBertModel(
                DistilBertConfig(
                    vocab_size=size, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=128
                )
            )
        folder = Path(_temporary_folder("model"))
        source = folder / "transformer"
        network.save_pretrained(source)
        tokenizer.model_max_length = 128
        tokenizer.save_pretrained(source)
        modules = [Transformer(str(source), max_seq_length=64), Pooling(32, pooling_mode=pooling)]
        if extra == "normalize":
            modules.append(Normalize())
        if extra == "dense":
            modules.append(Dense(32, 16))
        model = SentenceTransformer(modules=modules, device="cpu")
    model.save(str(folder / "model"))
    return folder / "model"
