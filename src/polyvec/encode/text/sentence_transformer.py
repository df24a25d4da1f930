"""sentence-transformers' own objects: what the fast runtime takes from one, and encoding with the object itself."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from polyvec.core.errors import DataUnavailableError, InvalidValueError
from polyvec.encode.text.batches import WindowCall
from polyvec.encode.text.bert_network import BertShape, BertWeights
from polyvec.encode.text.converted_network import convert
from polyvec.encode.text.recipe import POOLING_MODES, Recipe, UnsupportedModelError, tensors_checksum
from polyvec.encode.text.tokens import TextTokenizer

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger("polyvec.encode.text")

PROBES = (
    "A short probe.",
    "The second probe is longer than the first one, so that a batch of both has to be padded.",
    "Third: numbers 3.14 and 42, an accent é, and brackets (like these).",
)
"""Texts on which a converted model has to give the vectors of the original before it is used."""


def is_sentence_transformer(model: Any) -> bool:
    """Whether `model` is a `SentenceTransformer`, without importing the library for it."""
    library = sys.modules.get("sentence_transformers")
    return library is not None and isinstance(model, library.SentenceTransformer)


def load_object(name: str, *, device: str | None, precision: str, local_only: bool) -> SentenceTransformer:
    """A `SentenceTransformer` by folder or hub name.

    Raises:
        DataUnavailableError: It cannot be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    settings = {"dtype": torch.bfloat16} if precision == "bfloat16" else {}
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # one for each of the files that are read, in a moment
    try:
        return SentenceTransformer(name, device=device or "cpu", model_kwargs=settings, local_files_only=local_only)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataUnavailableError(
            f"model: {name!r} cannot be loaded ({reason[:200]}); give the folder of a sentence-transformers model, or "
            "a hub name that is in the local cache or can be downloaded"
        ) from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()


def _of_library(module: Any, name: str) -> bool:
    kind = type(module)
    return kind.__name__ == name and kind.__module__.startswith("sentence_transformers.")


def _text_only(transformer: Any) -> bool:
    plain = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    return (
        getattr(transformer, "modality_config", plain) == plain
        and getattr(transformer, "module_output_name", "token_embeddings") == "token_embeddings"
        and not getattr(transformer, "processing_kwargs", None)
        and getattr(transformer, "query_expansion", None) is None
        and getattr(transformer, "query_length", None) is None
        and getattr(transformer, "document_length", None) is None
    )


def _pooling_mode(pooling: Any) -> Any:
    return getattr(pooling, "pooling_mode", None) or pooling.get_pooling_mode_str()


def recipe_from_object(model: SentenceTransformer, name: str) -> tuple[Recipe, bool]:
    """The fast runtime's recipe for an object, and whether its network went through conversion.

    Raises:
        UnsupportedModelError: The object is of a form that only its own `encode` can do.
    """
    import torch

    modules = list(model)
    if not (2 <= len(modules) <= 3 and _of_library(modules[0], "Transformer") and _of_library(modules[1], "Pooling")):
        raise UnsupportedModelError(f"consists of {', '.join(type(module).__name__ for module in modules)}")
    transformer, pooling = modules[0], modules[1]
    if len(modules) == 3 and not (
        _of_library(modules[2], "Normalize")
        and getattr(modules[2], "module_input_name", "sentence_embedding") == "sentence_embedding"
        and getattr(modules[2], "module_output_name", "sentence_embedding") == "sentence_embedding"
    ):
        raise UnsupportedModelError(f"ends with {type(modules[2]).__name__}")
    mode = _pooling_mode(pooling)
    if mode not in POOLING_MODES or not getattr(pooling, "include_prompt", True):
        raise UnsupportedModelError(f"pools by {mode}")
    tokenizer = getattr(transformer.tokenizer, "backend_tokenizer", None)
    if tokenizer is None or not _text_only(transformer) or getattr(transformer, "do_lower_case", False):
        raise UnsupportedModelError("prepares its input in a way of its own")
    if transformer.tokenizer.padding_side != "right" or transformer.tokenizer.truncation_side != "right":
        raise UnsupportedModelError("pads or cuts on the left")
    network = transformer.auto_model
    parameters = dict(network.state_dict())
    if any(
        tensor.device.type != "cpu" or (tensor.is_floating_point() and tensor.dtype != torch.float32)
        for tensor in parameters.values()
    ):
        raise UnsupportedModelError("is not in float32 on the CPU")
    config = network.config
    positions = int(getattr(config, "max_position_embeddings", None) or 1 << 30)
    # copies, so that training the object further changes nothing here
    weights = {key.removeprefix("bert."): tensor.detach().clone().numpy() for key, tensor in parameters.items()}
    converted = False
    try:
        source: Any = BertWeights(BertShape.from_config(config.to_dict()), weights)
    except (UnsupportedModelError, KeyError):
        source = convert(network, tensors_checksum(weights.items()))
        converted = True
    recipe = Recipe(
        name=name,
        tokenizer_json=tokenizer.to_str(),
        network=source,
        dim=int(config.hidden_size),
        max_length=min(int(model.max_seq_length or positions), positions),
        length_limit=positions,
        pooling=POOLING_MODES[POOLING_MODES.index(mode)],
        unit_length=len(modules) == 3,
        pad_id=int(transformer.tokenizer.pad_token_id or 0),
        prompts=dict(model.prompts or {}),
        default_prompt=model.default_prompt_name,
    )
    return recipe, converted


class ObjectRuntime:
    """Encodes with a `SentenceTransformer`'s own `encode`: for devices and models that the fast runtime does not cover.

    One call at a time: the tokenizers of transformers cannot be shared by threads.
    """

    name = "torch"

    def __init__(self, model: SentenceTransformer, name: str, folder: str | None = None) -> None:
        self.model = model
        self.model_name = name
        self.folder = folder
        self.prompts: Mapping[str, str] = dict(model.prompts or {})
        self.default_prompt: str | None = model.default_prompt_name
        modules = list(model)
        self.unit_length = type(modules[-1]).__name__ == "Normalize"
        pooling = next((module for module in modules if _of_library(module, "Pooling")), None)
        self.pooling = type(modules[0]).__name__ if pooling is None else str(_pooling_mode(pooling))
        method = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
        self.dim = int(method() or len(model.encode("dimension")))
        self._lock = threading.RLock()
        self._tokenizer: TextTokenizer | None = None

    @property
    def precision(self) -> str:
        """Number format of the weights."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")

    @property
    def max_length(self) -> int | None:
        """Tokens after which the model cuts a text, where it says so."""
        return self.model.max_seq_length

    @property
    def pad_id(self) -> int:
        """Number of the padding token."""
        return int(getattr(self.model.tokenizer, "pad_token_id", None) or 0)

    @property
    def tokenizer(self) -> TextTokenizer:
        """The model's tokenizer, where it is one of the tokenizers library.

        Raises:
            InvalidValueError: It is not.
        """
        if self._tokenizer is None:
            backend = getattr(self.model.tokenizer, "backend_tokenizer", None)
            if backend is None:
                raise InvalidValueError(
                    f"model: {self.model_name} has a tokenizer that cannot say where its tokens stand, which "
                    "this needs; encode whole texts, or use another model"
                )
            self._tokenizer = TextTokenizer(backend.to_str(), self.max_length or 1 << 30)
        return self._tokenizer

    def vocabulary(self) -> dict[str, int]:
        """Every token and its number, where there are tokens."""
        method = getattr(self.model.tokenizer, "get_vocab", None)
        return dict(method()) if callable(method) else {}

    def portable(self) -> SentenceTransformer:
        """The object itself."""
        return self.model

    def weights_checksum(self) -> str:
        """SHA-256 over the weights of all modules."""
        state = self.model.state_dict().items()
        return tensors_checksum((name, tensor.detach().cpu().float().numpy()) for name, tensor in state)

    def sentence_windows(self, windows: Iterable[list[str]], call: WindowCall) -> Iterator[np.ndarray]:
        """Vectors of each window of texts."""
        for texts in windows:
            with self._lock:
                vectors = self.model.encode(texts, convert_to_tensor=True, **self._options(call))
            call.advance(len(texts))
            yield np.ascontiguousarray(vectors.float().cpu().numpy())

    def token_windows(self, windows: Iterable[list[str]], call: WindowCall) -> Iterator[list[np.ndarray]]:
        """Token vectors of each text of each window, special tokens included."""
        for texts in windows:
            with self._lock:
                found = self.model.encode(texts, output_value="token_embeddings", **self._options(call))
            call.advance(len(texts))
            yield [np.ascontiguousarray(tokens.float().cpu().numpy()) for tokens in found]

    @staticmethod
    def _options(call: WindowCall) -> dict[str, Any]:
        options = {"prompt": call.prompt, "batch_size": call.batch_size or 32, "show_progress_bar": False}
        return options if call.task is None else {**options, "task": call.task}
