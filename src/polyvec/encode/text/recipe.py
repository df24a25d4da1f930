"""What the fast runtime has to know of a model: its tokenizer, its network, how token vectors become one vector."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

PoolingMode = Literal["mean", "cls", "max"]
POOLING_MODES: tuple[PoolingMode, ...] = ("mean", "cls", "max")


class UnsupportedModelError(Exception):
    """A model that the fast runtime does not cover; callers catch it and go another way, users never see it."""


@runtime_checkable
class NetworkSource(Protocol):
    """Something that can build the network for OpenVINO."""

    def build(self) -> Any:
        """An `openvino.Model`: `(input_ids, attention_mask)`, each `(batch, length)`, to `(batch, length, dim)`."""
        ...

    def weights_checksum(self) -> str:
        """SHA-256 over the weights; the same for the same weights, wherever they were read from."""
        ...

    def detached(self) -> NetworkSource:
        """The same network without reference to a file, so that another machine can build it."""
        ...


@dataclass(frozen=True)
class Recipe:
    """A model of the form [Transformer, Pooling, optional Normalize], complete and without torch.

    Attributes:
        name: Name or path that loads the same model again.
        tokenizer_json: The tokenizer, in the format of the tokenizers library.
        network: Builds the network.
        dim: Dimensions of a token's vector, which are those of the pooled one.
        max_length: Tokens after which the model cuts a text.
        length_limit: The longest text the network can take at all (its position embeddings).
        pooling: How token vectors become one.
        unit_length: Whether the model itself scales its vectors to unit length.
        pad_id: Number of the padding token.
        prompts: Texts to put before inputs, by name.
        default_prompt: Name of the prompt used when none is asked for.
        folder: Where the model's files lie, when they do.
    """

    name: str
    tokenizer_json: str
    network: NetworkSource
    dim: int
    max_length: int
    length_limit: int
    pooling: PoolingMode
    unit_length: bool
    pad_id: int = 0
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    folder: str | None = None


def tensors_checksum(tensors: Iterable[tuple[str, np.ndarray]]) -> str:
    """SHA-256 over named tensors, in the order of their names.

    The pooler, which sentence vectors do not use, and position counters, which are not weights, are left out, so that a
    file, a folder and an object in memory with the same weights get the same checksum.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        if not name.startswith("pooler.") and not name.endswith(("position_ids", "token_type_ids")):
            digest.update(f"{name} {tensor.shape} {tensor.dtype}\n".encode())
            digest.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def model_checksum(weights: str, vocabulary: Mapping[str, int]) -> str:
    """SHA-256 that identifies a model: its weights and the tokenizer's vocabulary."""
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    numbers = np.array(sorted(vocabulary.values()), np.int64)
    digest = hashlib.sha256(f"{weights}\n".encode())
    digest.update("\0".join(words).encode("utf-8", "surrogatepass"))
    digest.update(numbers.tobytes())
    return digest.hexdigest()
