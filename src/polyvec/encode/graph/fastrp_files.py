"""Fitted FastRP encoders as safetensors files: arrays as tensors, everything else as JSON in the header."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from polyvec.core.errors import FormatError, InvalidTypeError
from polyvec.core.files import atomic_path, file_problem
from polyvec.encode.graph.powers import ColumnStatistics
from polyvec.encode.graph.start import StartMatrix

if TYPE_CHECKING:
    from polyvec.encode.graph.fastrp import FastRP

FORMAT = "polyvec FastRP 1"
_START = ("density", "seed", "beta", "total", "feature_count", "node_factor", "feature_factor", "projected_by_user")


def save_state(encoder: FastRP, path: str | os.PathLike[str]) -> None:
    """Write a fitted encoder; see `FastRP.save`."""
    start = encoder.start_
    tensors: dict[str, np.ndarray] = {"isolated": encoder.isolated_}
    for hop, (power, norms) in enumerate(zip(encoder.powers_, encoder.row_norms_, strict=True)):
        tensors[f"power.{hop}"], tensors[f"norms.{hop}"] = power, norms
    if sp.issparse(start.matrix):
        tensors |= {f"start.{part}": getattr(start.matrix, part) for part in ("data", "indices", "indptr")}
    else:
        tensors["start"] = start.matrix
    if encoder.column_statistics_ is not None:
        tensors |= {f"columns.{name}": values for name, values in encoder.column_statistics_._asdict().items()}
    header = {
        "parameters": {name: _plain(value) for name, value in encoder.get_params().items()},
        "start": {name: getattr(start, name) for name in _START},
        "names": None if encoder.names_ is None else [_plain_name(name) for name in encoder.names_],
    }
    with atomic_path(path) as temporary:
        save_file(
            {name: np.ascontiguousarray(values) for name, values in tensors.items()},
            temporary,
            {"format": FORMAT, "encoder": json.dumps(header)},
        )


def load_state(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The constructor's arguments and the fitted attributes; see `FastRP.load`."""
    try:
        with open(path, "rb"):  # its error says why, the one of safetensors does not
            pass
        with safe_open(path, framework="numpy") as handle:
            metadata = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a mapping
    except OSError as error:
        raise file_problem(error, path, "read") from error
    except SafetensorError as error:
        raise FormatError(f"{os.fspath(path)}: not a safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise FormatError(f"{os.fspath(path)}: not a file that FastRP.save wrote ({FORMAT!r})")
    try:
        header = json.loads(metadata["encoder"])
        hops = len(header["parameters"]["weights"])
        powers = [tensors[f"power.{hop}"] for hop in range(hops)]
        if "start" in tensors:
            matrix = tensors["start"]
        else:
            parts = tuple(tensors[f"start.{part}"] for part in ("data", "indices", "indptr"))
            matrix = sp.csr_array(parts, shape=powers[0].shape)
        columns = [tensors[f"columns.{name}"] for name in ColumnStatistics._fields if f"columns.{name}" in tensors]
        state = {
            "powers_": powers,
            "row_norms_": [tensors[f"norms.{hop}"] for hop in range(hops)],
            "start_": StartMatrix(matrix, **header["start"]),
            "isolated_": tensors["isolated"],
            "names_": header["names"],
            "column_statistics_": ColumnStatistics(*columns) if columns else None,
        }
        return {**header["parameters"], "weights": tuple(header["parameters"]["weights"])}, state
    except (KeyError, ValueError, TypeError) as error:
        raise FormatError(f"{os.fspath(path)}: a FastRP file with missing or unknown fields ({error})") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    return value


def _plain_name(name: Any) -> str | int:
    value = _plain(name)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InvalidTypeError(f"names_: got a node named {name!r}; only strings and integers can be saved")
    return value
