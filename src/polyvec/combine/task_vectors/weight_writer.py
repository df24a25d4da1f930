"""Writes a safetensors file tensor by tensor, so that only one block is in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from polyvec.core.errors import InvalidValueError
from polyvec.core.files import file_problem

_CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def write_weights(
    path: str | os.PathLike[str],
    layout: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
    blocks: Iterable[Tensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file whose header is known before its content.

    Args:
        path: Where; not atomic, as it is meant for a temporary place.
        layout: Shape and type of each tensor, in the order in which `blocks` brings them.
        blocks: The tensors' rows, one after the other; each converted to its tensor's type.
        metadata: Free text for the header.

    Raises:
        InvalidValueError: A type that the format does not know here; more or fewer numbers than the layout promised.
        FileProblemError: The file cannot be written.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, (shape, dtype) in layout.items():
        if dtype not in _CODES:
            raise InvalidValueError(f"{name}: tensors of {dtype} cannot be written")
        size = int(torch.Size(shape).numel()) * dtype.itemsize
        header[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data start at a multiple of 8
    source = iter(blocks)
    try:
        with open(path, "wb") as handle:
            handle.write(len(text).to_bytes(8, "little"))
            handle.write(text)
            for name, (shape, dtype) in layout.items():
                left = int(torch.Size(shape).numel())
                while left > 0:
                    block = next(source).to(dtype).contiguous().cpu()
                    left -= block.numel()
                    if left < 0:
                        raise InvalidValueError(f"{name}: got {-left} numbers more than its shape {list(shape)} holds")
                    handle.write(block.reshape(-1).view(torch.uint8).numpy().data)
            if handle.tell() != 8 + len(text) + offset:
                raise InvalidValueError(
                    f"{Path(path).name}: wrote {handle.tell()} bytes, the header promised another size"
                )
    except StopIteration:
        raise InvalidValueError(f"{Path(path).name}: got fewer numbers than the header promises") from None
    except OSError as error:
        raise file_problem(error, path, "write") from error
