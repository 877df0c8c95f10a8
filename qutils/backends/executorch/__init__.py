"""ExecuTorch with XNNPACK on the CPU: ``.pte`` files."""

from qutils.backends.backend import Backend

BACKEND = Backend(
    name="executorch",
    label="ExecuTorch",
    suffix=".pte",
    exporter="qutils.backends.executorch.exporter:export_executorch",
    runtime="qutils.backends.executorch.runtime:ExecuTorch",
    package="executorch",
    extra="executorch",
    color="#CC79A7",
    marker="v",
    rank=40,
)
