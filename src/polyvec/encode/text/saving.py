"""Writes an encoder as a sentence-transformers folder, and reads the settings that only polyvec knows."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyvec.core.errors import FormatError, InvalidValueError
from polyvec.core.files import atomic_directory, write_json
from polyvec.encode.text.chunking import Chunking
from polyvec.encode.text.recipe import UnsupportedModelError
from polyvec.encode.text.sentence_transformer import is_sentence_transformer, recipe_from_object

if TYPE_CHECKING:
    from polyvec.encode.text.encoder import TextEncoder

SETTINGS = "polyvec.json"
_LEFT_OUT = shutil.ignore_patterns("onnx", "openvino", ".*", SETTINGS)


def save_encoder(encoder: TextEncoder, path: str | os.PathLike[str]) -> None:
    """Write `encoder` to the folder `path`."""
    runtime = encoder._runtime
    model: Any = encoder._model
    with atomic_directory(path) as folder:
        if runtime.folder is not None:
            shutil.copytree(runtime.folder, folder, dirs_exist_ok=True, ignore=_LEFT_OUT, copy_function=shutil.copyfile)
        elif is_sentence_transformer(model):
            _check_unchanged(encoder, model)
            model.save(str(folder))
        else:
            raise InvalidValueError(
                "this encoder was sent here from another machine and has no files of its own to save"
            )
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        if encoder.normalize and not runtime.unit_length:
            index = len(modules)
            modules.append(
                {
                    "idx": index,
                    "name": str(index),
                    "path": f"{index}_Normalize",
                    "type": "sentence_transformers.models.Normalize",
                }
            )
            (folder / f"{index}_Normalize").mkdir(exist_ok=True)
            write_json(folder / "modules.json", modules)
        if encoder._settings["max_length"] is not None:
            settings = folder / modules[0]["path"] / "sentence_bert_config.json"
            known = json.loads(settings.read_text(encoding="utf-8")) if settings.exists() else {}
            write_json(settings, {**known, "max_seq_length": encoder.max_seq_length})
        own: dict[str, Any] = {**encoder._settings, "dims": encoder.dims, "normalize": encoder.normalize}
        own["chunking"] = None if encoder.chunking is None else asdict(encoder.chunking)
        write_json(folder / SETTINGS, own)


def _check_unchanged(encoder: TextEncoder, model: Any) -> None:
    if encoder.runtime == "torch":
        return  # encodes with the live object: what is saved is what encodes
    try:
        now = recipe_from_object(model, encoder.name)[0].network.weights_checksum()
    except UnsupportedModelError:
        now = ""
    if now != encoder._runtime.weights_checksum():
        raise InvalidValueError(
            "the SentenceTransformer has changed since this encoder was made from it; make a new TextEncoder and save "
            "that"
        )


def saved_options(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The constructor's arguments that `save_encoder` wrote; none for a folder of another origin.

    Raises:
        FormatError: The file of settings is damaged.
    """
    file = Path(path) / SETTINGS
    if not file.is_file():
        return {}
    try:
        options = json.loads(file.read_text(encoding="utf-8"))
        chunking = options.pop("chunking")
        known = {"precision", "token_budget", "max_length", "dims", "normalize"}
        return {
            **{key: value for key, value in options.items() if key in known},
            "chunking": None if chunking is None else Chunking(**chunking),
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{file}: is not what TextEncoder.save writes ({error}); save the encoder again") from error
