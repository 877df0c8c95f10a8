"""LiteRT (TensorFlow Lite) on the CPU: ``.tflite`` files."""

from qutils.backends.backend import Backend

BACKEND = Backend(
    name="litert",
    label="LiteRT",
    suffix=".tflite",
    exporter="qutils.backends.litert.exporter:export_litert",
    runtime="qutils.backends.litert.runtime:LiteRT",
    package="ai_edge_litert",
    extra="litert",
    hints=(
        "In an Interpreter of your own: input and output are float32 in PyTorch's order, "
        "[N, C, ...]; resize_tensor_input sets N.",
    ),
    color="#009E73",
    marker="D",
    rank=30,
)
