"""TensorRT for RTX on NVIDIA GPUs: ``.onnx`` files, and engines built from them."""

from qutils.backends.backend import Backend

BACKEND = Backend(
    name="tensorrt",
    label="TensorRT",
    suffix=".onnx",  # an engine belongs to a kind of GPU: it is built where it runs
    exporter="qutils.backends.tensorrt.exporter:export_tensorrt",
    runtime="qutils.backends.tensorrt.runtime:TensorRt",
    package="tensorrt_rtx",
    extra="tensorrt",
    gpu=True,
    also_reads=(".engine",),
    rules="qutils.backends.tensorrt.rules:check",
    hints=(
        "Check it, here or anywhere: qutils check {path} --target tensorrt",
        "Build its engine, and time it on a GPU: qutils engine {path} OUT.engine",
    ),
    color="#000000",
    marker="X",
    rank=60,
)
