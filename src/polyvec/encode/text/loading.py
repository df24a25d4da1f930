"""A model's name, folder or object to a runtime that can encode with it."""

from __future__ import annotations

import logging
import os
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np

from polyvec.core.errors import DataUnavailableError, InvalidTypeError, InvalidValueError, MissingDependencyError
from polyvec.encode.text.batches import WindowCall
from polyvec.encode.text.bundled import ALIASES, DEFAULT_MODEL, bundled_folder
from polyvec.encode.text.converted_network import ConvertedNetwork, load_converted, store_converted
from polyvec.encode.text.folder import read_folder
from polyvec.encode.text.openvino_import import load_openvino
from polyvec.encode.text.openvino_runtime import OpenVinoRuntime
from polyvec.encode.text.recipe import Recipe, UnsupportedModelError
from polyvec.encode.text.sentence_transformer import (
    PROBES,
    ObjectRuntime,
    is_sentence_transformer,
    load_object,
    recipe_from_object,
)

logger = logging.getLogger("polyvec.encode.text")

PRECISIONS = ("auto", "exact", "float32", "bfloat16", "int8")
RUNTIMES = ("auto", "openvino", "torch")
_HUB_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_LEAST_COSINE = 0.9999


def load_runtime(
    model: Any,
    *,
    precision: str,
    runtime: str,
    device: str | None,
    threads: int | None,
    token_budget: int,
    max_length: int | None,
) -> OpenVinoRuntime | ObjectRuntime:
    """The runtime for a model: the fast one where it can be, sentence-transformers where not."""
    if precision not in PRECISIONS:
        raise InvalidValueError(f"precision: got {precision!r}, needs one of {', '.join(PRECISIONS)}")
    if runtime not in RUNTIMES:
        raise InvalidValueError(f"runtime: got {runtime!r}, needs one of {', '.join(RUNTIMES)}")
    elsewhere = device is not None and str(device) != "cpu"
    if elsewhere and runtime == "openvino":
        raise InvalidValueError(f"device: got {device!r}, needs 'cpu' with runtime='openvino'; use runtime='torch'")
    if elsewhere or runtime == "torch":
        return _torch_runtime(model, precision, device, max_length)
    if not _openvino_installed():
        if runtime == "openvino":
            raise MissingDependencyError("runtime='openvino': openvino is not installed; run: pip install openvino")
        logger.info("openvino is not installed: encoding with torch, which is slower on a CPU")
        return _torch_runtime(model, precision, device, max_length)
    if isinstance(model, Recipe):
        recipe = model
    else:
        try:
            recipe = _recipe(model)
        except UnsupportedModelError as reason:
            if runtime == "openvino":
                raise InvalidValueError(
                    f"model: {_label(model)} {reason}, which runtime='openvino' does not cover; use runtime='auto'"
                ) from reason
            logger.info("%s %s: encoding with sentence-transformers' own encode", _label(model), reason)
            return _torch_runtime(model, precision, device, max_length)
    limit = recipe.length_limit
    if max_length is not None and max_length > limit:
        raise InvalidValueError(
            f"max_length: got {max_length}, needs at most {limit}, the positions {recipe.name} knows"
        )
    return OpenVinoRuntime(
        recipe, precision=precision, threads=threads, token_budget=token_budget, max_length=max_length
    )


def _openvino_installed() -> bool:
    try:
        load_openvino()
    except ImportError:
        return False
    return True


def _label(model: Any) -> str:
    return f"{os.fspath(model)!r}" if isinstance(model, (str, os.PathLike)) else f"the {type(model).__name__}"


def _object_name(model: Any) -> str:
    card = getattr(model, "model_card_data", None)
    for attribute in ("model_id", "base_model"):
        if isinstance(found := getattr(card, attribute, None), str):
            return found
    return type(model).__name__


def locate(model: str | os.PathLike[str]) -> tuple[str, Path | None]:
    """`(name, folder)`: the name that loads the model again, and where its files are; `None`: they have to be fetched.

    The default model's name means the installed files; any other existing folder is taken as such; what is left is a
    name on the Hugging Face hub, looked up in the local cache first. A name without an owner means
    sentence-transformers'.
    """
    name = os.fspath(model)
    if name in ALIASES:
        return DEFAULT_MODEL, bundled_folder()
    if Path(name).is_dir():
        return str(Path(name).resolve()), Path(name).resolve()
    if not isinstance(model, str) or not _HUB_NAME.fullmatch(name):
        raise DataUnavailableError(
            f"model: {name!r} is neither a folder nor a hub name; give the folder of a sentence-transformers model, or "
            f"leave it out for {DEFAULT_MODEL}"
        )
    name = name if "/" in name else f"sentence-transformers/{name}"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return name, Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return name, None


def _check_hub(name: str) -> None:
    """Raise at once where the hub cannot be reached: its client would try again for a minute and a half."""
    from huggingface_hub import constants

    host = urlsplit(constants.ENDPOINT)
    if not constants.HF_HUB_OFFLINE:
        if getproxies().get(host.scheme):
            return  # a proxy reaches what this machine itself may not
        try:
            socket.create_connection((host.hostname or "", host.port or 443), timeout=5).close()
            return
        except OSError as error:
            logger.debug("%s: %s", constants.ENDPOINT, error)
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{host.hostname} cannot be reached"
    raise DataUnavailableError(
        f"model: {name!r} is not in the local Hugging Face cache, and {reason}; download it where there is a network, "
        f"or give the folder of a sentence-transformers model, or leave it out for {DEFAULT_MODEL}"
    )


def _load_named(name: str, folder: Path | None, *, device: str | None, precision: str) -> Any:
    if folder is None:
        _check_hub(name)
        return load_object(name, device=device, precision=precision, local_only=False)
    return load_object(str(folder), device=device, precision=precision, local_only=True)


def _recipe(model: Any) -> Recipe:
    if is_sentence_transformer(model):
        recipe, converted = recipe_from_object(model, _object_name(model))
        if converted:
            _verify(recipe, model)
        return recipe
    if not isinstance(model, (str, os.PathLike)):
        raise InvalidTypeError(
            f"model: got {type(model).__name__}, needs a name, the path of a folder, or a SentenceTransformer"
        )
    name, folder = locate(model)
    if folder is not None:
        try:
            return read_folder(folder, name)
        except UnsupportedModelError as reason:
            logger.debug("%s is not read directly: it %s", name, reason)
            if (known := load_converted(folder, name)) is not None:
                return known
    loaded = _load_named(name, folder, device=None, precision="auto")
    recipe, converted = recipe_from_object(loaded, name)
    recipe = replace(recipe, folder=None if folder is None else str(folder))
    if converted:
        _verify(recipe, loaded)
        if folder is not None and isinstance(recipe.network, ConvertedNetwork):
            store_converted(folder, recipe, recipe.network)
    return recipe


def _verify(recipe: Recipe, model: Any) -> None:
    """Compare a converted network with the original on sample texts."""
    probe = OpenVinoRuntime(recipe, precision="exact", threads=1, token_budget=1024)
    call = WindowCall()
    texts = [*PROBES, " ".join(PROBES * 4)]
    try:
        (got,) = probe.sentence_windows([texts], call)
    except RuntimeError as error:
        raise UnsupportedModelError(f"does not run after conversion: {str(error).splitlines()[0][:200]}") from error
    (wanted,) = ObjectRuntime(model, recipe.name).sentence_windows([texts], call)
    norms = np.linalg.norm(got, axis=1) * np.linalg.norm(wanted, axis=1)
    cosines = (got * wanted).sum(axis=1) / np.maximum(norms, 1e-12)
    if not np.all(cosines >= _LEAST_COSINE):
        raise UnsupportedModelError(f"gives other vectors after conversion (cosine {cosines.min():.4f})")


def _torch_runtime(model: Any, precision: str, device: str | None, max_length: int | None) -> ObjectRuntime:
    if precision == "int8":
        raise InvalidValueError("precision: 'int8' needs runtime='openvino' and a model that it covers; use 'auto'")
    if is_sentence_transformer(model):
        held = ObjectRuntime(model, _object_name(model))
        for name, asked, has in (
            ("precision", None if precision == "auto" else precision.replace("exact", "float32"), held.precision),
            ("max_length", max_length, held.max_length),
            ("device", None if device is None else str(device).partition(":")[0], model.device.type),
        ):
            if asked is not None and asked != has:
                raise InvalidValueError(
                    f"{name}: got {asked!r}, but the SentenceTransformer has {has!r} and is not changed here; "
                    "change the object itself, or give its name or folder instead"
                )
        return held
    if not isinstance(model, (str, os.PathLike)):
        raise InvalidTypeError(
            f"model: got {type(model).__name__}, needs a name, the path of a folder, or a SentenceTransformer"
        )
    name, folder = locate(model)
    loaded = _load_named(name, folder, device=device, precision=precision)
    if max_length is not None:
        loaded.max_seq_length = max_length
    return ObjectRuntime(loaded, name, None if folder is None else str(folder))
