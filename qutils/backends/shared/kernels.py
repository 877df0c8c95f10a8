"""Integer kernels that most backends have: what a backend's own list starts from."""

from __future__ import annotations

from qutils.graph.nodes import PRODUCTS
from qutils.graph.targets import Target

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
#: Operators that move or compare integers.
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
    "max_pool3d",
    "relu",
    "constant_pad_nd",
    "pad",
)

#: QDQ files as ONNX Runtime executes them.
COMMON = Target(
    name="common",
    weighted=(*CONVOLUTIONS, "linear"),
    quantized=(
        "add",
        "mul",
        "cat",
        "adaptive_avg_pool2d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "sigmoid",
        "leaky_relu",
    ),
    pass_through=MOVES,
    fused=("relu", "relu6", "hardtanh", "clamp"),
    float_output=("linear", *PRODUCTS),
    float_endings=("log_softmax", "softmax"),
    products=PRODUCTS,
    symmetric_activations=False,  # a zero point above qmin keeps conv + relu in float
)
#: ``COMMON.quantized`` without pooling of three axes, and ``MOVES`` without it.
FLAT = tuple(op for op in COMMON.quantized if op != "avg_pool3d")
FLAT_MOVES = tuple(op for op in MOVES if op != "max_pool3d")
