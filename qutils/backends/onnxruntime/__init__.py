"""ONNX Runtime on the CPU: ``.onnx`` files in QDQ form."""

from qutils.backends.backend import Backend
from qutils.backends.shared.cpu import EXACT_OPTION

BACKEND = Backend(
    name="onnxruntime",
    label="ONNX Runtime",
    suffix=".onnx",
    exporter="qutils.backends.shared.onnx_writer:export_onnx",
    runtime="qutils.backends.onnxruntime.runtime:OnnxRuntime",
    package="onnxruntime",
    command="pip install onnxruntime onnx",
    hints=(
        "In an ONNX Runtime session of your own, on an x86 CPU without VNNI: "
        f'session_options.add_session_config_entry("{EXACT_OPTION}", "1"); its default INT8 '
        "kernels saturate there, and predict otherwise (not with --saturation-safe).",
    ),
    color="#0072B2",
    marker="s",
    rank=10,
)
