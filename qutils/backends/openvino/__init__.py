"""OpenVINO on the CPU: the QDQ ``.onnx`` files that ONNX Runtime reads."""

from qutils.backends.backend import Backend

BACKEND = Backend(
    name="openvino",
    label="OpenVINO",
    suffix=".onnx",
    exporter="qutils.backends.shared.onnx_writer:export_onnx",
    runtime="qutils.backends.openvino.runtime:OpenVino",
    package="openvino",
    extra="openvino",
    also_reads=(".xml",),
    color="#E69F00",
    marker="^",
    rank=20,
)
