"""BERT's encoder as an OpenVINO graph, built from named weights without torch, so that it starts in a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyvec.encode.text.checksums import remembered
from polyvec.encode.text.openvino_import import load_openvino
from polyvec.encode.text.recipe import UnsupportedModelError, tensors_checksum

_ACTIVATIONS = {"gelu": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
_MASKED = -30_000.0  # e to this power is zero in every precision, and bfloat16 and float16 can hold it


@dataclass(frozen=True)
class BertShape:
    """The sizes in a BERT's `config.json`."""

    hidden_size: int
    layers: int
    heads: int
    positions: int
    norm_epsilon: float
    activation: str

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BertShape:
        """Read a `config.json`; `UnsupportedModelError` for anything but a plain BERT encoder."""
        if (
            config.get("model_type") != "bert"
            or config.get("position_embedding_type", "absolute") != "absolute"
            or config.get("is_decoder")
            or config.get("add_cross_attention")
            or config.get("hidden_act", "gelu") not in _ACTIVATIONS
        ):
            raise UnsupportedModelError("not a plain BERT encoder")
        return cls(
            hidden_size=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            positions=config["max_position_embeddings"],
            norm_epsilon=config.get("layer_norm_eps", 1e-12),
            activation=_ACTIVATIONS[config.get("hidden_act", "gelu")],
        )

    def tensor_names(self) -> list[str]:
        """Every weight that the encoder uses."""
        names = [
            "embeddings.word_embeddings.weight",
            "embeddings.position_embeddings.weight",
            "embeddings.token_type_embeddings.weight",
            *_pair("embeddings.LayerNorm"),
        ]
        for layer in range(self.layers):
            prefix = f"encoder.layer.{layer}"
            for part in ("attention.self.query", "attention.self.key", "attention.self.value"):
                names += _pair(f"{prefix}.{part}")
            for part in ("attention.output.dense", "attention.output.LayerNorm", "intermediate.dense"):
                names += _pair(f"{prefix}.{part}")
            for part in ("output.dense", "output.LayerNorm"):
                names += _pair(f"{prefix}.{part}")
        return names


def _pair(prefix: str) -> list[str]:
    return [f"{prefix}.weight", f"{prefix}.bias"]


class BertFile:
    """A BERT whose weights lie in one safetensors file."""

    def __init__(self, shape: BertShape, weights: Path) -> None:
        self._shape = shape
        self._weights = weights
        with _opened(weights) as tensors:
            stored = {_bare(name): name for name in tensors.keys()}  # noqa: SIM118 - not a mapping
            for name in shape.tensor_names():
                if name not in stored or tensors.get_slice(stored[name]).get_dtype() not in ("F32", "F16"):
                    raise UnsupportedModelError(f"has no {name} in float32 or float16")

    def _read(self) -> dict[str, np.ndarray]:
        needed = set(self._shape.tensor_names())
        with _opened(self._weights) as tensors:
            names = [name for name in tensors.keys() if _bare(name) in needed]  # noqa: SIM118 - not a mapping
            return {_bare(name): tensors.get_tensor(name) for name in names}

    def build(self) -> Any:
        """The OpenVINO graph."""
        return build_bert(self._shape, self._read())

    def weights_checksum(self) -> str:
        """SHA-256 over the weights, remembered as long as the file does not change."""
        return remembered(self._weights, "tensors", lambda path: tensors_checksum(self._read().items()))

    def detached(self) -> BertWeights:
        """The same network with its weights in memory."""
        return BertWeights(self._shape, self._read())


class BertWeights:
    """A BERT whose weights are in memory."""

    def __init__(self, shape: BertShape, weights: Mapping[str, np.ndarray]) -> None:
        names = shape.tensor_names()
        if not set(names) <= set(weights):
            raise UnsupportedModelError("weights of another layout")
        self._shape = shape
        self._weights = {name: weights[name] for name in names}

    def build(self) -> Any:
        """The OpenVINO graph."""
        return build_bert(self._shape, self._weights)

    def weights_checksum(self) -> str:
        """SHA-256 over the weights."""
        return tensors_checksum(self._weights.items())

    def detached(self) -> BertWeights:
        """The network itself: it refers to no file."""
        return self


def _opened(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise UnsupportedModelError(f"{path} cannot be read: {error}") from error


def _bare(name: str) -> str:
    return name.removeprefix("bert.")


def build_bert(shape: BertShape, weights: Mapping[str, np.ndarray]) -> Any:
    """The encoder as an `openvino.Model`: int32 `input_ids` and `attention_mask` in, token vectors out.

    Source: Devlin et al. 2019, "BERT", section 3; Vaswani et al. 2017, "Attention Is All You Need", section 3. Queries,
    keys and values are one matrix product. Every text is of segment 0: its vector is added to the positions beforehand.
    """
    ov = load_openvino()
    from openvino import opset13 as ops

    size, heads = shape.hidden_size, shape.heads

    def tensor(name: str) -> np.ndarray:
        return np.ascontiguousarray(weights[name], np.float32)

    def whole(*values: int) -> Any:
        return ops.constant(np.array(values, np.int64))

    def linear(x: Any, weight: np.ndarray, bias: np.ndarray) -> Any:
        return ops.add(ops.matmul(x, ops.constant(weight), False, True), ops.constant(bias.reshape(1, 1, -1)))

    def dense(x: Any, prefix: str) -> Any:
        return linear(x, tensor(f"{prefix}.weight"), tensor(f"{prefix}.bias"))

    def normalized(x: Any, prefix: str) -> Any:
        centred = ops.mvn(x, whole(-1), True, shape.norm_epsilon, "inside_sqrt")
        scaled = ops.multiply(centred, ops.constant(tensor(f"{prefix}.weight").reshape(1, 1, -1)))
        return ops.add(scaled, ops.constant(tensor(f"{prefix}.bias").reshape(1, 1, -1)))

    ids = ops.parameter([-1, -1], np.int32, name="input_ids")
    mask = ops.parameter([-1, -1], np.int32, name="attention_mask")
    ids.output(0).tensor.set_names({"input_ids"})
    mask.output(0).tensor.set_names({"attention_mask"})

    length = ops.gather(ops.shape_of(ids), whole(1), whole(0))
    positions = tensor("embeddings.position_embeddings.weight") + tensor("embeddings.token_type_embeddings.weight")[0]
    places = ops.unsqueeze(ops.slice(ops.constant(positions), whole(0), length, whole(1), whole(0)), whole(0))
    words = ops.gather(ops.constant(tensor("embeddings.word_embeddings.weight")), ids, whole(0))
    x = normalized(ops.add(words, places), "embeddings.LayerNorm")

    absent = ops.subtract(ops.constant(np.float32(1)), ops.convert(mask, "f32"))
    bias = ops.unsqueeze(ops.multiply(absent, ops.constant(np.float32(_MASKED))), whole(1, 2))

    for layer in range(shape.layers):
        prefix = f"encoder.layer.{layer}"
        kinds = [f"{prefix}.attention.self.{kind}" for kind in ("query", "key", "value")]
        joined = linear(
            x,
            np.concatenate([tensor(f"{kind}.weight") for kind in kinds]),
            np.concatenate([tensor(f"{kind}.bias") for kind in kinds]),
        )
        by_head = ops.reshape(joined, whole(0, 0, 3, heads, size // heads), True)
        thirds = ops.split(ops.transpose(by_head, whole(2, 0, 3, 1, 4)), ops.constant(np.int64(0)), 3)
        query, key, value = (ops.squeeze(third, whole(0)) for third in thirds.outputs())
        attended = ops.scaled_dot_product_attention(query, key, value, bias, causal=False)
        attended = ops.reshape(ops.transpose(attended, whole(0, 2, 1, 3)), whole(0, 0, size), True)
        attended = dense(attended, f"{prefix}.attention.output.dense")
        x = normalized(ops.add(attended, x), f"{prefix}.attention.output.LayerNorm")
        inner = ops.gelu(dense(x, f"{prefix}.intermediate.dense"), shape.activation)
        inner = dense(inner, f"{prefix}.output.dense")
        x = normalized(ops.add(inner, x), f"{prefix}.output.LayerNorm")
    return ov.Model([ops.result(x)], [ids, mask], "bert")
