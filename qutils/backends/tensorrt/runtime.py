"""TensorRT for RTX on a GPU of NVIDIA's: an engine is built for this GPU, run, and timed on it.

An engine belongs to kinds of GPUs, so the file to keep is the ONNX file; ``load`` builds from it,
and takes an engine (``.engine``) that ``qutils.backends.tensorrt.engine.build`` made elsewhere as
well. What needs no GPU is tested: the refusals, the engines and what they compute in, and that the
names of TensorRT's that are called here exist. Running and timing are not: no machine with a GPU
has executed them yet.

``threads`` and ``exact`` mean nothing here: products of int8 are summed in int32 on every GPU.
PyTorch (a CUDA build) holds the batches on the GPU.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qutils.backends.shared.gpu import lacking_gpu
from qutils.backends.shared.named_runtime import Declared, NamedRuntime
from qutils.backends.shared.runtime import RuntimeOptions, require
from qutils.backends.tensorrt import engine as tensorrt_engine
from qutils.backends.tensorrt import plan as tensorrt_plan
from qutils.errors import DataError, InvalidInputError, UnsupportedError

_SUFFIXES = (".onnx", ".engine")
_FLOAT32 = np.dtype("float32")


class TensorRt(NamedRuntime):
    """One engine of one input and one output, float32 both, on the GPU that torch calls ``cuda``.

    Larger batches than the engine takes are cut.
    """

    name: ClassVar[str] = "tensorrt"

    def __init__(
        self, path: Path, options: RuntimeOptions, engine: Any, counted: Counter[str]
    ) -> None:
        self.path, self.options, self._engine, self._counted = path, options, engine, counted
        self._trt = require(tensorrt_engine.PACKAGE, tensorrt_engine.INSTALL)
        self._torch = _torch()
        self._context = engine.create_execution_context()
        self._input, self._output = self._ends()
        self._largest = int(engine.get_tensor_profile_shape(self._input, 0)[2][0])

    @classmethod
    def load(cls, path: str | Path, threads: int = 1, exact: bool = True) -> Self:
        """Build the engine of an ONNX file for this GPU, or take an engine file, and load it.

        Raises:
            DataError: the file is missing, truncated, corrupt or of another kind.
            UnsupportedError: no NVIDIA GPU, or the file is not as TensorRT wants it.
            MissingPackageError: TensorRT or torch is not installed.
        """
        options, file = RuntimeOptions(threads, exact), Path(path)
        if not file.is_file():
            raise DataError(f"{file} is missing. Export the model first, or correct the path.")
        if file.suffix not in _SUFFIXES:
            raise DataError(f"{file} is no file of TensorRT's: give {' or '.join(_SUFFIXES)}")
        if lacking_gpu():
            raise UnsupportedError(f"tensorrt needs an NVIDIA GPU: none found, {lacking_gpu()}")
        with tempfile.TemporaryDirectory() as folder:
            plan = file
            if file.suffix == ".onnx":
                plan = Path(folder) / "model.engine"
                tensorrt_engine.build(file, plan, ["CURRENT"])
            counted = tensorrt_plan.steps(plan)
            return cls(file, options, _deserialize(file, plan.read_bytes()), counted)

    def computed(self, fed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the output of a checked batch, as the only item."""
        (checked,) = fed.values()
        parts = [checked[i : i + self._largest] for i in range(0, len(checked), self._largest)]
        return [np.concatenate([self._run(part) for part in parts])]

    def _run(self, part: NDArray[Any]) -> NDArray[Any]:
        y, stream = self._bound(part), self._torch.cuda.current_stream()
        self._enqueue(stream)
        stream.synchronize()
        result: NDArray[Any] = y.cpu().numpy()
        return result

    def gpu_times(
        self, batch: NDArray[Any], *, repeats: int = 100, warmup: int = 10
    ) -> NDArray[np.float64]:
        """Milliseconds of each of ``repeats`` runs on the GPU, copies left out: ``[repeats]``.

        ``bench.latency`` times ``run``, copies included.

        Raises:
            InvalidInputError: as ``run``; a batch larger than the engine takes.
        """
        (checked,) = self.fed(batch).values()
        if len(checked) > self._largest:
            raise InvalidInputError(f"the engine takes batches of at most {self._largest}")
        cuda = self._torch.cuda
        _kept, stream = self._bound(checked), cuda.current_stream()
        for _ in range(warmup):
            self._enqueue(stream)
        times = []
        for _ in range(repeats):
            start, end = (cuda.Event(enable_timing=True) for _ in range(2))
            start.record(stream)
            self._enqueue(stream)
            end.record(stream)
            end.synchronize()
            times.append(start.elapsed_time(end))
        return np.array(times)

    def _bound(self, part: NDArray[Any]) -> Any:
        """Put a batch on the GPU and bind it; returns the tensor that takes the output."""
        self._x = self._torch.from_numpy(np.ascontiguousarray(part)).cuda()  # lives while it runs
        self._context.set_input_shape(self._input, tuple(part.shape))
        y = self._torch.empty(tuple(self._context.get_tensor_shape(self._output)), device="cuda")
        self._context.set_tensor_address(self._input, self._x.data_ptr())
        self._context.set_tensor_address(self._output, y.data_ptr())
        return y

    def _enqueue(self, stream: Any) -> None:
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise UnsupportedError("TensorRT could not run the engine on this GPU")

    def _ends(self) -> tuple[str, str]:
        """Names of the one input and the one output."""
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        inputs = [name for name in names if modes[name] == self._trt.TensorIOMode.INPUT]
        outputs = [name for name in names if name not in inputs]
        if len(inputs) != 1 or len(outputs) != 1:
            raise UnsupportedError(
                f"the engine has inputs {inputs} and outputs {outputs}; one of each is supported"
            )
        return inputs[0], outputs[0]

    def kernels(self) -> Counter[str]:
        """Steps of the engine: products with the types they multiply, and fused functions."""
        return Counter(self._counted)

    @property
    def version(self) -> str:
        """Version of the tensorrt_rtx package."""
        return str(self._trt.__version__)

    @property
    def declared(self) -> Mapping[str, Declared]:
        """Shape and type of the one input by name; the open batch is None."""
        shape = self._engine.get_tensor_shape(self._input)
        axes = tuple(None if axis == -1 else int(axis) for axis in shape)
        return {self._input: (axes, _FLOAT32)}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name of the one output."""
        return (self._output,)


def _torch() -> Any:
    torch = require("torch", "pip install torch (a CUDA build)")
    if not torch.cuda.is_available():
        raise UnsupportedError(
            f"torch {torch.__version__} cannot use the GPU: install a CUDA build of it"
        )
    return torch


def _deserialize(path: Path, plan: bytes) -> Any:
    trt = require(tensorrt_engine.PACKAGE, tensorrt_engine.INSTALL)
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan)
    if engine is None:
        raise UnsupportedError(
            f"this GPU cannot run the engine {path}: build it for this GPU, from its ONNX file"
        )
    return engine
