"""A graph simplified by ONNX Runtime: constants folded, scales and offsets merged into layers.

Its basic optimization uses standard operators alone: it merges BatchNorm into convolutions, finds
LayerNormalization and Gelu in their parts, and moves the Transposes of channels-last graphs away.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import ModelProto

from qutils.importers.onnx.axes import declare_inputs
from qutils.importers.onnx.opset import DOMAINS

_IR = 8  # of ONNX 1.10; since 4 stored tensors are no inputs
_QUIET = 4  # fatal errors only: what is refused is said by ours
#: What turns slices, which integer kernels know, into an operator that they do not know.
_UNWANTED = ["SliceConcatToSpaceToDepthFusion"]


def simplified(model: ModelProto, shapes: Mapping[str, Sequence[int | str]]) -> ModelProto:
    """Return the same network after ONNX Runtime's basic optimization, for any batch if it can be.

    Where the network does not load with an open batch, it is simplified for the batch that the
    file declares; where it does not load at all, or comes back with operators of ONNX Runtime's
    own, it is returned as it is.
    """
    for declared in (shapes, None):
        copy = ModelProto()
        copy.CopyFrom(model)
        copy.ir_version = max(copy.ir_version, _IR)
        declare_inputs(copy, declared)
        found = _optimized(copy)
        if found is not None and all(node.domain in DOMAINS for node in found.graph.node):
            return found
    return model


def _optimized(model: ModelProto) -> ModelProto | None:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "basic.onnx"
        options.optimized_model_filepath = str(saved)
        try:
            ort.InferenceSession(
                model.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_UNWANTED,
            )
        except Exception:
            return None
        return onnx.load(str(saved))
