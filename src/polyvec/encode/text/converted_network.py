"""Any torch transformer as an OpenVINO graph: traced once, then kept in the cache folder, to start without torch."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from polyvec.core.errors import FileProblemError
from polyvec.core.files import atomic_directory, cache_directory, write_json
from polyvec.encode.text.checksums import folder_checksum
from polyvec.encode.text.openvino_import import load_openvino
from polyvec.encode.text.recipe import Recipe, UnsupportedModelError

logger = logging.getLogger("polyvec.encode.text")

_CACHE_FORMAT = "1"
_TRACING_FAILURES = (
    RuntimeError,  # torch's own, and OpenVINO's for an operation it does not know
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    TypeError,
    ValueError,
)


class ConvertedNetwork:
    """A network in OpenVINO's own format: the bytes of an `.xml` and a `.bin` file.

    Args:
        structure: Content of the `.xml` file.
        weights: Content of the `.bin` file, or its path.
        checksum: SHA-256 over the weights that were converted.
    """

    def __init__(self, structure: bytes, weights: bytes | Path, checksum: str) -> None:
        self._structure = structure
        self._weights = weights
        self._checksum = checksum

    def build(self) -> Any:
        """The OpenVINO graph."""
        ov = load_openvino()

        return ov.Core().read_model(self._structure, self._weight_bytes())

    def _weight_bytes(self) -> bytes:
        return self._weights.read_bytes() if isinstance(self._weights, Path) else self._weights

    def weights_checksum(self) -> str:
        """SHA-256 over the weights that were converted."""
        return self._checksum

    def detached(self) -> ConvertedNetwork:
        """The same network without reference to a file."""
        return ConvertedNetwork(self._structure, self._weight_bytes(), self._checksum)


def convert(transformer: Any, checksum: str) -> ConvertedNetwork:
    """Trace a transformers encoder and convert it.

    OpenVINO's PyTorch frontend is called directly, since `openvino.convert_model` reports each use over the network.

    Raises:
        UnsupportedModelError: Tracing or conversion fails.
    """
    ov = load_openvino()
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    class LastHiddenState(torch.nn.Module):
        """Leaves one tensor of the model's many outputs."""

        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.transformer(
                input_ids=input_ids, attention_mask=attention_mask, return_dict=True
            ).last_hidden_state

    ids = torch.ones(2, 8, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    training = transformer.training
    try:
        with torch.no_grad(), _quiet():
            decoder = TorchScriptPythonDecoder(
                LastHiddenState().eval(), example_input={"input_ids": ids, "attention_mask": mask}
            )
            frontend = FrontEndManager().load_by_framework("pytorch")
            model = frontend.convert(frontend.load(decoder))
            if {name for port in model.inputs for name in port.get_names()} < {"input_ids", "attention_mask"}:
                raise UnsupportedModelError("does not use the attention mask")
            model.reshape({"input_ids": [-1, -1], "attention_mask": [-1, -1]})
            with tempfile.TemporaryDirectory() as folder:
                ov.save_model(model, Path(folder, "model.xml"), compress_to_fp16=False)
                structure = Path(folder, "model.xml").read_bytes()
                weights = Path(folder, "model.bin").read_bytes()
    except _TRACING_FAILURES as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedModelError(f"conversion failed: {first_line[:200]}") from error
    finally:
        transformer.train(training)
    return ConvertedNetwork(structure, weights, checksum)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the tracer's warnings: what they warn of is checked on sample texts afterwards."""
    chatty = logging.getLogger("transformers")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatty.setLevel(level)


def _cache_folder(folder: Path) -> Path:
    versions = [metadata.version(name) for name in ("openvino", "torch", "transformers", "sentence-transformers")]
    key = " ".join([_CACHE_FORMAT, folder_checksum(folder), *versions])
    return cache_directory("text-models", hashlib.sha256(key.encode()).hexdigest()[:32])


def load_converted(folder: Path, name: str) -> Recipe | None:
    """The recipe that `store_converted` kept for the model in `folder`, or `None`."""
    try:
        place = _cache_folder(folder)
        content = json.loads((place / "recipe.json").read_text(encoding="utf-8"))
        weights = place / "model.bin"
        if weights.stat().st_size != content.pop("weights_size"):
            return None
        network = ConvertedNetwork((place / "model.xml").read_bytes(), weights, content.pop("checksum"))
        tokenizer_json = (place / "tokenizer.json").read_text(encoding="utf-8")
        return Recipe(
            **{**content, "name": name, "folder": str(folder)}, tokenizer_json=tokenizer_json, network=network
        )
    except (OSError, ValueError, KeyError, TypeError, metadata.PackageNotFoundError):
        return None  # never written, damaged, or of another version: convert anew


def store_converted(folder: Path, recipe: Recipe, network: ConvertedNetwork) -> None:
    """Keep a converted model in the cache folder; one that cannot be written only costs the next start its shortcut."""
    settings = asdict(replace(recipe, network=None))  # type: ignore[arg-type]
    for part in ("network", "tokenizer_json", "name", "folder"):
        del settings[part]
    detached = network.detached()
    try:
        with atomic_directory(_cache_folder(folder)) as place:
            (place / "model.xml").write_bytes(detached._structure)
            (place / "model.bin").write_bytes(detached._weight_bytes())
            (place / "tokenizer.json").write_text(recipe.tokenizer_json, encoding="utf-8")
            size = (place / "model.bin").stat().st_size
            write_json(
                place / "recipe.json", {**settings, "checksum": network.weights_checksum(), "weights_size": size}
            )
    except (FileProblemError, OSError) as error:
        logger.info("the converted model is not kept for the next start: %s", error)
