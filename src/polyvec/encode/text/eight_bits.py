"""Weights in 8 bits, for CPUs that multiply small integers faster than floating-point numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyvec.encode.text.openvino_import import load_openvino


def quantize_weights(network: Any) -> int:
    """Replace, in place, each matrix product's weights by 8-bit integers and one scale an output; return a group size.

    The group size is how many inputs share one scale when OpenVINO turns them to 8 bits while it runs: the largest of
    128, 64 and 32 that divides every product's inner dimension, else 0, which leaves the inputs as they are. Embedding
    tables are looked up, not multiplied, and stay exact.
    """
    load_openvino()
    from openvino import opset13 as ops

    inner_sizes = []
    for operation in network.get_ordered_ops():
        if operation.get_type_name() != "MatMul" or not operation.get_attributes()["transpose_b"]:
            continue
        source = operation.input_value(1).get_node()
        if source.get_type_name() != "Constant" or len(source.get_output_shape(0)) != 2:
            continue
        weights = np.asarray(source.data, np.float32)
        scales = np.maximum(np.abs(weights).max(axis=1, keepdims=True), 1e-12) / 127
        codes = np.clip(np.rint(weights / scales), -127, 127).astype(np.int8)
        restored = ops.multiply(ops.convert(ops.constant(codes), "f32"), ops.constant(scales.astype(np.float32)))
        operation.input(1).replace_source_output(restored.output(0))
        inner_sizes.append(weights.shape[1])
    return next((group for group in (128, 64, 32) if all(size % group == 0 for size in inner_sizes)), 0)
