"""Reads a sentence-transformers folder without importing torch, when it is of the plain kind that needs none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from polyvec.encode.text.bert_network import BertFile, BertShape
from polyvec.encode.text.recipe import POOLING_MODES, PoolingMode, Recipe, UnsupportedModelError

_PLAIN_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
_PLAIN_TRANSFORMER: dict[str, Any] = {
    "do_lower_case": False,
    "transformer_task": "feature-extraction",
    "modality_config": _PLAIN_TEXT,
    "module_output_name": "token_embeddings",
}
_LEGACY_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def _read_json(path: Path, default: Any = None) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if default is not None:
            return default
        raise UnsupportedModelError(f"{path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise UnsupportedModelError(f"{path.name} cannot be read: {error}") from error


def _module_folders(folder: Path) -> dict[str, Path]:
    modules = _read_json(folder / "modules.json")
    kinds = [str(module["type"]) for module in modules]
    if any(not kind.startswith("sentence_transformers.") for kind in kinds):
        raise UnsupportedModelError("has modules of its own")
    names = [kind.rpartition(".")[2] for kind in kinds]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UnsupportedModelError(f"consists of {', '.join(names)}")
    return {name: folder / module["path"] for name, module in zip(names, modules, strict=True)}


def _pooling(folder: Path) -> PoolingMode:
    config = _read_json(folder / "config.json")
    if "pooling_mode" in config:
        found = config["pooling_mode"]
        modes = [found] if isinstance(found, str) else list(found)
    else:
        modes = [mode for key, mode in _LEGACY_POOLING.items() if config.get(key)] or ["mean"]
    if len(modes) != 1 or modes[0] not in POOLING_MODES or not config.get("include_prompt", True):
        raise UnsupportedModelError(f"pools by {', '.join(map(str, modes))}")
    return POOLING_MODES[POOLING_MODES.index(modes[0])]


def read_folder(folder: Path, name: str) -> Recipe:
    """The recipe of the BERT model in `folder`.

    Raises:
        UnsupportedModelError: Anything is out of the ordinary; sentence-transformers has to load it.
    """
    places = _module_folders(folder)
    if "Normalize" in places:
        settings = _read_json(places["Normalize"] / "config.json", default={})
        if any(value != "sentence_embedding" for value in settings.values()):
            raise UnsupportedModelError("normalizes something else than the sentence vector")
    transformer = _read_json(places["Transformer"] / "sentence_bert_config.json", default={})
    for key, value in transformer.items():
        if key != "max_seq_length" and value not in (None, {}) and value != _PLAIN_TRANSFORMER.get(key):
            raise UnsupportedModelError(f"sets {key}")
    config = _read_json(places["Transformer"] / "config.json")
    tokenizer = _read_json(places["Transformer"] / "tokenizer_config.json", default={})
    try:
        shape = BertShape.from_config(config)
        max_length = transformer.get("max_seq_length")
        if max_length is None:
            max_length = min(int(tokenizer.get("model_max_length") or shape.positions), shape.positions)
    except (KeyError, TypeError) as error:
        raise UnsupportedModelError(f"config.json is incomplete: {error}") from error
    if tokenizer.get("padding_side", "right") != "right" or tokenizer.get("truncation_side", "right") != "right":
        raise UnsupportedModelError("pads or cuts on the left")
    general = _read_json(folder / "config_sentence_transformers.json", default={})
    try:
        tokenizer_json = (places["Transformer"] / "tokenizer.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnsupportedModelError(f"tokenizer.json cannot be read: {error}") from error
    return Recipe(
        name=name,
        tokenizer_json=tokenizer_json,
        network=BertFile(shape, places["Transformer"] / "model.safetensors"),
        dim=shape.hidden_size,
        max_length=min(int(max_length), shape.positions),
        length_limit=shape.positions,
        pooling=_pooling(places["Pooling"]),
        unit_length="Normalize" in places,
        pad_id=int(config.get("pad_token_id") or 0),
        prompts=dict(general.get("prompts") or {}),
        default_prompt=general.get("default_prompt_name"),
        folder=str(folder),
    )
