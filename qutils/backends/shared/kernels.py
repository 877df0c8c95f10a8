"""Integer kernels that most backends have: what a backend's own list starts from."""

from __future__ import annotations

from qutils.graph.ops.layers import CONVOLUTIONS as _CONVOLUTIONS
from qutils.graph.targets import Target

CONVOLUTIONS = tuple(spec.name for spec in _CONVOLUTIONS)
#: Operators that move, compare or clip integers.
MOVES = (
    "flatten",
    "view",
    "reshape",
    "_unsafe_view",
    "squeeze",
    "unsqueeze",
    "permute",
    "transpose",
    "expand",
    "slice",
    "index_select",
    "pixel_shuffle",
    "upsample_nearest2d",
    "max_pool1d",
    "max_pool2d",
    "constant_pad_nd",
    "pad",
    "relu",
    "relu6",
    "hardtanh",
    "clamp",
)
#: Operators that nearly all backends compute in integers, but for three axes in space.
USUAL = (
    *("conv1d", "conv2d", "linear", "add", "mul", "cat"),
    *("adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "sigmoid", "leaky_relu", *MOVES),
)
PRODUCTS = ("matmul", "bmm", "mm")

#: QDQ files as ONNX Runtime executes them.
COMMON = Target(
    name="common",
    operators=(*USUAL, *PRODUCTS, "conv3d", "avg_pool3d", "max_pool3d"),
    float_output=("linear", *PRODUCTS),
    float_endings=("log_softmax", "softmax"),
    symmetric_activations=False,  # a zero point above qmin keeps conv + relu in float
)
