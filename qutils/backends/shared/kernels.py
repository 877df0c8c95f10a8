"""Integer kernels that most backends have: what a backend's own list starts from."""

from __future__ import annotations

from collections.abc import Iterable

from qutils.graph.ops import OpSpec, clips, layers, products, shapes
from qutils.graph.targets import Target


def _names(records: Iterable[OpSpec]) -> tuple[str, ...]:
    return tuple(record.name for record in records)


CONVOLUTIONS = _names(layers.CONVOLUTIONS)
PRODUCTS = _names(products.RECORDS)
#: Operators that move, compare or clip integers, on every backend.
MOVES = (
    *_names(shapes.RECORDS),
    *("max_pool1d", "max_pool2d"),
    *_names(record for record in clips.RECORDS if record.is_fused),
)
#: Operators that nearly all backends compute in integers, but for three axes in space.
USUAL = (
    *("conv1d", "conv2d", "linear", "add", "mul", "cat"),
    *("adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "sigmoid", "leaky_relu", *MOVES),
)

#: QDQ files as ONNX Runtime executes them.
COMMON = Target(
    name="common",
    operators=(*USUAL, *PRODUCTS, "conv3d", "avg_pool3d", "max_pool3d"),
    float_output=("linear", *PRODUCTS),
    float_endings=("log_softmax", "softmax"),
    symmetric_activations=False,  # a zero point above qmin keeps conv + relu in float
)
