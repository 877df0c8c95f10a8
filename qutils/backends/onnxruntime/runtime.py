"""ONNX Runtime on the CPU, exact by default.

x86 CPUs with AVX2 or AVX-512 but no VNNI multiply unsigned activations by signed weights with
``vpmaddubsw``, which adds pairs of products in 16 bits and saturates: ``2 * 255 * 127 = 64,770``
does not fit into 32,767. By default ONNX Runtime accepts that in every dense kernel (QLinearConv,
QGemm, QLinearMatMul; the depthwise kernels are exact). The session option
``session.x64quantprecision`` stores the weights as unsigned bytes instead, whose kernels add in 32
bits: the same result as on a CPU with VNNI, and slower. Those kernels take unsigned activations
only, which ``unsigned`` sees to. ``exact=False`` leaves the option unset.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from qutils.backends.onnxruntime.unsigned import with_unsigned_activations
from qutils.backends.shared.cpu import EXACT_OPTION, has_vnni
from qutils.backends.shared.limits import KEY, Limits
from qutils.backends.shared.named_runtime import Declared, NamedRuntime, refused
from qutils.backends.shared.qdq import Tap, with_taps
from qutils.backends.shared.runtime import Arrays, Inner, RuntimeOptions, require
from qutils.errors import DataError, UnsupportedError

#: Operators that multiply by weights in float.
FLOAT_OPS = frozenset(
    {"Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}
)
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_CORRUPT = (ort_errors.InvalidProtobuf, ort_errors.InvalidArgument, ort_errors.NoModel)
_UNSUPPORTED = (ort_errors.InvalidGraph, ort_errors.Fail, ort_errors.NotImplemented)
_REFUSED = (ort_errors.InvalidArgument, ort_errors.Fail, ort_errors.RuntimeException)
_QUIET = 4  # what fails is said by our errors; the optimizer warns about every file it saves


@dataclass(frozen=True)
class OptimizedOps:
    """Operators of a graph after the runtime optimized it."""

    counts: Counter[str]
    float_layers: tuple[str, ...]  # convolutions and matrix products that stayed in float


class OnnxRuntime(NamedRuntime):
    """ONNX Runtime, CPUExecutionProvider, sequential execution."""

    name: ClassVar[str] = "onnxruntime"

    def __init__(self, path: Path, options: RuntimeOptions, session: ort.InferenceSession) -> None:
        self.path = path
        self.options = options
        self._session = session
        self._declared = {
            spec.name: (spec.shape, np.dtype(_DTYPES[spec.type])) for spec in session.get_inputs()
        }
        self.limits = Limits.loads(session.get_modelmeta().custom_metadata_map.get(KEY))
        self._outputs = tuple(spec.name for spec in session.get_outputs())

    @classmethod
    def load(cls, path: str | Path, threads: int = 1, exact: bool = True) -> Self:
        """Load an ONNX file.

        Raises:
            DataError: the file is missing, truncated or corrupt.
            UnsupportedError: an operator, opset or type of input that this runtime cannot run.
        """
        options = RuntimeOptions(threads, exact)
        session = _session(Path(path), session_options_of(options))
        _check_interface(Path(path), session)
        return cls(Path(path), options, session)

    def computed(self, fed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs, in order, of checked inputs. NaN and Inf pass through."""
        try:
            found: list[NDArray[Any]] = self._session.run(None, dict(fed))
        except _REFUSED as error:  # an index outside of its table, say
            raise refused(self.path, fed, _reason(error)) from error
        return found

    def inner(self, batch: Arrays) -> tuple[Inner, ...]:
        """Quantized activations in order of execution: what each ``QuantizeLinear`` gives.

        Raises: as ``run``.
        """
        session, taps = self._tapped
        if not taps:  # of no names, the session returns all outputs
            return ()
        values = session.run([tap.name for tap in taps], self.fed(batch))
        return tuple(
            Inner(value.astype(np.int32), tap.scale, tap.zero_point)
            for value, tap in zip(values, taps, strict=True)
        )

    @cached_property
    def _tapped(self) -> tuple[ort.InferenceSession, tuple[Tap, ...]]:
        model, taps = with_taps(self.path)
        with _our_errors(self.path):
            session = ort.InferenceSession(
                model, session_options_of(self.options), providers=["CPUExecutionProvider"]
            )
        return session, taps

    def kernels(self) -> Counter[str]:
        """Operator types that really execute, after ONNX Runtime's graph optimization."""
        return optimized_ops(self.path, self.options).counts

    @property
    def version(self) -> str:
        """Version of the onnxruntime package."""
        return str(ort.__version__)

    @property
    def declared(self) -> Mapping[str, Declared]:
        """Axes and type of each input, by name, in order."""
        return self._declared

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return self._outputs


def optimized_ops(path: str | Path, options: RuntimeOptions | None = None) -> OptimizedOps:
    """Count the operators that execute, and name the layers that stayed in float.

    Raises:
        DataError: the file is missing, truncated or corrupt.
        UnsupportedError: an operator, opset or interface that this runtime cannot run.
    """
    onnx = require("onnx", "pip install onnx")
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "optimized.onnx"
        session_options = session_options_of(options or RuntimeOptions())
        session_options.optimized_model_filepath = str(saved)
        _session(Path(path), session_options)
        nodes = list(_nodes(onnx.load(str(saved), load_external_data=False).graph))
    return OptimizedOps(
        counts=Counter(node.op_type for node in nodes),
        float_layers=tuple(n.name or n.output[0] for n in nodes if n.op_type in FLOAT_OPS),
    )


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes of an ONNX graph, those of its subgraphs included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(inner)


def session_options_of(options: RuntimeOptions) -> ort.SessionOptions:
    """Threads, quiet log, and the exact kernels where the CPU needs to be told."""
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    session_options.inter_op_num_threads = 1
    session_options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    session_options.log_severity_level = _QUIET
    if options.exact and not has_vnni():  # with VNNI the default kernels are exact, and faster
        session_options.add_session_config_entry(EXACT_OPTION, "1")
    return session_options


def _session(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    """Open a session; every failure becomes one of our errors."""
    with _our_errors(path):
        try:
            return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except ort_errors.NotImplemented:
            # The exact kernels take unsigned activations only.
            model = with_unsigned_activations(path) if _is_exact(options) else None
            if model is None:
                raise
            return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _is_exact(options: ort.SessionOptions) -> bool:
    """Whether the session option is set that makes CPUs without VNNI sum exactly."""
    try:
        return str(options.get_session_config_entry(EXACT_OPTION)) == "1"
    except RuntimeError:
        return False


@contextlib.contextmanager
def _our_errors(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise DataError(f"{path} is missing. Export the model first, or correct the path.")
    try:
        yield
    except _CORRUPT as error:
        raise DataError(
            f"{path} is corrupt or truncated ({path.stat().st_size:,} bytes): {_reason(error)}. "
            "Export it again."
        ) from error
    except _UNSUPPORTED as error:
        if "External " in str(error):  # data path, or initializer
            raise DataError(
                f"{path} keeps tensors in a file beside it, which is missing or truncated: "
                f"{_reason(error)}. Copy both files, or export the model again."
            ) from error
        raise UnsupportedError(
            f"ONNX Runtime {ort.__version__} cannot run {path}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """What ONNX Runtime says, without its prefix ``[ONNXRuntimeError] : 7 : CODE : ``."""
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    return said.rpartition(" failed:")[2].strip().rstrip(".")


def _check_interface(path: Path, session: ort.InferenceSession) -> None:
    for spec in session.get_inputs():
        if spec.type not in _DTYPES:
            raise UnsupportedError(
                f"{path} takes {spec.type} as {spec.name!r}; supported are {', '.join(_DTYPES)}"
            )
