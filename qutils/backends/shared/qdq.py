"""QDQ files that hand out their inner tensors: the quantized activations as further outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qutils.backends.shared.runtime import require


@dataclass(frozen=True)
class Tap:
    """A quantized activation of a QDQ file: the name of its integers, and what they mean."""

    name: str
    scale: float
    zero_point: int
    dtype: int  # of onnx.TensorProto


def with_taps(path: str | Path) -> tuple[bytes, tuple[Tap, ...]]:
    """The file with each quantized activation as an output more, and the list of them in order.

    What follows a tap still reads the same integers, so that a runtime computes what it computes
    without it. Weights and other constants that the file quantizes are not activations.
    """
    onnx = require("onnx", "pip install onnx")
    model = onnx.load(str(path))
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    taps = [_tap(onnx, node, stored) for node in nodes if node.input[0] not in stored]
    given = {output.name for output in model.graph.output}
    for tap in taps:
        if tap.name not in given:
            value = onnx.helper.make_tensor_value_info(tap.name, tap.dtype, None)
            model.graph.output.append(value)
    return model.SerializeToString(), tuple(taps)


def _tap(onnx: Any, node: Any, stored: dict[str, Any]) -> Tap:
    zero = stored[node.input[2]] if len(node.input) > 2 else np.uint8(0)  # ONNX's default
    dtype = onnx.helper.np_dtype_to_tensor_dtype(zero.dtype)
    return Tap(node.output[0], float(stored[node.input[1]]), int(zero), dtype)
