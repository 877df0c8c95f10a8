"""OpenVINO on the CPU: the same QDQ ``.onnx`` files, compiled for low precision.

OpenVINO reads each ``QuantizeLinear``/``DequantizeLinear`` pair as a FakeQuantize, and its
low-precision passes turn what stands between two of them into one int8 kernel of oneDNN. A
convolution and the sum after it become one kernel as well, which adds before it rounds: the
convolution's own quantizer has no effect there, and the target ``openvino`` places none.

It is compiled anew for each shape of batch. With the batch left open OpenVINO is a little slower,
and 2026.4 loses the bias of a convolution where an ``Expand`` reads the shape of the input.

x86 CPUs with AVX2 or AVX-512 but no VNNI run kernels that add pairs of products in 16 bits and
saturate, as ONNX Runtime's do by default. No option makes those exact: only weights that cannot
overflow do (``Recipe.saturation_safe``, the default for this target). Where a file has others,
loading it on such a CPU warns, unless ``exact=False``.
"""

from __future__ import annotations

import contextlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, Self
from xml.etree import ElementTree

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from qutils.backends.openvino.signal_stack import signal_stack_kept
from qutils.backends.shared.cpu import saturates
from qutils.backends.shared.limits import Limits
from qutils.backends.shared.named_runtime import Declared, NamedRuntime, refused
from qutils.backends.shared.onnx_file import limits_of, read_onnx
from qutils.backends.shared.qdq import Tap, with_taps
from qutils.backends.shared.runtime import Arrays, Axis, Inner, RuntimeOptions
from qutils.errors import DataError, UnsupportedError
from qutils.reading import reading

#: Shapes of all inputs, in order.
_Shapes = tuple[tuple[int, ...], ...]
#: Layers of a compiled model that compute nothing.
_IDLE = frozenset({"Const", "Input", "Output"})
#: Ending of OpenVINO's own files; the weights lie beside them, in a ``.bin``.
_OWN = ".xml"
#: Shapes of batch that stay compiled.
_KEPT = 4
#: Calls before layers are timed.
_WARMUP = 5


class OpenVino(NamedRuntime):
    """OpenVINO's CPU plugin, one stream, float layers in float32 (not bfloat16)."""

    name: ClassVar[str] = "openvino"

    def __init__(
        self, path: Path, options: RuntimeOptions, model: ov.Model, limits: Limits
    ) -> None:
        self.path = path
        self.options = options
        self._model = model
        self._declared = {
            name: (_axes(port), np.dtype(port.get_element_type().to_dtype()))
            for name, port in zip(_names(model.inputs), model.inputs, strict=True)
        }
        self.limits = limits
        self._outputs = _names(model.outputs)
        self._compiled: dict[_Shapes, ov.CompiledModel] = {}  # by shapes of a batch
        self._first = self._of_one()

    @classmethod
    def load(cls, path: str | Path, threads: int = 1, exact: bool = True) -> Self:
        """Load an ONNX file, or one of OpenVINO's own (``.xml``).

        Raises:
            DataError: the file is missing, truncated or corrupt.
            UnsupportedError: an operator or interface that this runtime cannot run.
        """
        options = RuntimeOptions(threads, exact)
        if Path(path).suffix == _OWN:
            _check_own(Path(path))
            limits = Limits()
        else:  # of a broken file OpenVINO tells by a page of formats
            limits = limits_of(read_onnx(path, external=False))
        model = _read(Path(path), str(path))
        if exact and saturates():
            from qutils.backends.shared.overflow import warn_of_overflow  # imports torch

            warn_of_overflow(Path(path), "OpenVINO", _weighted(model))
        return cls(Path(path), options, model, limits)

    def computed(self, fed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs, in order, of checked inputs. NaN and Inf pass through."""
        arrays = _in_order(fed)
        try:
            compiled = self._at(tuple(x.shape for x in arrays))
            found = compiled(arrays, share_inputs=True)
        except UnsupportedError as error:  # of these sizes: one sample was compiled when it loaded
            raise refused(self.path, fed, _reason(error.__cause__ or error)) from error
        except RuntimeError as error:
            raise refused(self.path, fed, _reason(error)) from error
        return [found[i] for i in range(len(self._outputs))]

    def inner(self, batch: Arrays) -> tuple[Inner, ...] | None:
        """Quantized activations in order of execution: what each ``QuantizeLinear`` gives.

        None for a file in OpenVINO's own format, which has none. Handing a tensor out keeps it
        from being fused away, so a sum after a convolution that has a quantizer of its own is
        computed otherwise here than in ``run``.

        Raises: as ``run``.
        """
        if self.path.suffix == _OWN:
            return None
        fed = _in_order(self.fed(batch))
        model, taps = self._tapped
        _reshape(model, tuple(x.shape for x in fed))
        values = _compile(self.path, model, self.options)(fed)
        return tuple(
            Inner(values[tap.name].astype(np.int32), tap.scale, tap.zero_point) for tap in taps
        )

    def _of_one(self) -> ov.CompiledModel:
        """Compiled for one sample, or for any where more than the batch is left open."""
        shapes = [_axes(port) for port in self._model.inputs]
        if any(None in shape[1:] for shape in shapes):
            return _compile(self.path, self._model, self.options)
        return self._at(tuple(tuple(int(size or 1) for size in shape) for shape in shapes))

    def _at(self, shapes: _Shapes) -> ov.CompiledModel:
        """The model compiled for these shapes of a batch; the last few are kept."""
        if shapes not in self._compiled:
            model = self._model.clone()
            with _our_errors(self.path):
                _reshape(model, shapes)
            while len(self._compiled) >= _KEPT:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[shapes] = _compile(self.path, model, self.options)
        return self._compiled[shapes]

    @cached_property
    def _tapped(self) -> tuple[ov.Model, tuple[Tap, ...]]:
        model, taps = with_taps(self.path)
        return _read(self.path, model), taps

    def kernels(self) -> Counter[str]:
        """Layers that really execute, with the precision they compute in: ``Convolution u8``."""
        return Counter(_executed(self._first))

    def spent(self, batch: Arrays, runs: int = 30) -> dict[str, float]:
        """Milliseconds of each kind of layer by kernel, longest first, as the plugin counts them.

        ``{"Convolution brgconv_avx512_f32": 1.72, ...}``: medians over ``runs`` calls, summed over
        layers. Counting itself takes time: compare these with each other.

        Raises: as ``run``.
        """
        fed = _in_order(self.fed(batch))
        model = self._model.clone()
        with _our_errors(self.path):
            _reshape(model, tuple(x.shape for x in fed))
        counted = _compile(self.path, model, self.options, PERF_COUNT=True).create_infer_request()
        times: dict[tuple[str, str], list[float]] = defaultdict(list)
        for call in range(_WARMUP + runs):
            counted.infer(fed)
            for layer in counted.profiling_info if call >= _WARMUP else ():
                kind = f"{layer.node_type} {layer.exec_type}"
                times[layer.node_name, kind].append(layer.real_time.total_seconds() * 1e3)
        sums: dict[str, float] = defaultdict(float)
        for (_, kind), found in times.items():
            sums[kind] += statistics.median(found)
        return {kind: sums[kind] for kind in sorted(sums, key=lambda k: -sums[k]) if sums[kind]}

    @property
    def version(self) -> str:
        """Version of the openvino package."""
        return _version()

    @property
    def declared(self) -> Mapping[str, Declared]:
        """Axes and type of each input, by name, in order."""
        return self._declared

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return self._outputs


def _in_order(fed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """The inputs as the plugin takes them."""
    return [np.asarray(x, order="C") for x in fed.values()]


def _names(ports: Sequence[Any]) -> tuple[str, ...]:
    return tuple(
        port.get_any_name() if port.get_names() else f"unnamed_{i}" for i, port in enumerate(ports)
    )


def _axes(port: Any) -> tuple[Axis, ...]:
    """Declared shape of an input; open axes are None."""
    return tuple(
        None if axis.is_dynamic else axis.get_length() for axis in port.get_partial_shape()
    )


def _reshape(model: ov.Model, shapes: _Shapes) -> None:
    """Fix the shapes of all inputs, in order."""
    model.reshape(dict(zip(model.inputs, map(list, shapes), strict=True)))


def _executed(compiled: ov.CompiledModel) -> Iterator[str]:
    """``layer precision`` of each layer that reads something other than constants."""
    constant: set[str] = set()
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        layer, precision = (info[key].astype(str) for key in ("layerType", "runtimePrecision"))
        sources = [value.get_node().get_friendly_name() for value in node.input_values()]
        if layer == "Const" or (sources and constant.issuperset(sources)):
            constant.add(node.get_friendly_name())  # computed once, when the model is compiled
        elif layer not in _IDLE:
            yield f"{layer} {precision}"


def _weighted(model: ov.Model) -> Iterator[tuple[str, NDArray[Any], int]]:
    """Name, stored 8-bit weights ``[O, C / groups, ...]`` and groups of each layer with weights."""
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in ("Convolution", "GroupConvolution", "MatMul"):
            continue
        source = node.input_value(1).get_node()
        while source.get_input_size() and source.get_type_name() != "Constant":
            source = source.input_value(0).get_node()  # Reshape, Multiply, Subtract, Convert
        if source.get_type_name() != "Constant" or source.get_element_type() != ov.Type.i8:
            continue
        shape = tuple(node.get_input_shape(1))
        weight = np.array(source.get_data())
        groups = shape[0] if kind == "GroupConvolution" else 1
        if kind == "GroupConvolution":
            weight = weight.reshape(shape[0] * shape[1], *shape[2:])
        elif kind == "MatMul" and not node.get_attributes()["transpose_b"]:
            weight = weight.T
        yield node.get_friendly_name(), weight, groups


def _settings(options: RuntimeOptions) -> dict[str, Any]:
    return {
        "INFERENCE_NUM_THREADS": options.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,  # a core that others use would be waited for
    }


def _check_own(path: Path) -> None:
    for file in (path, path.with_suffix(".bin")):
        if not file.is_file():
            raise DataError(f"{file} is missing: OpenVINO's format is an .xml and a .bin beside it")
    with reading(path, "Export it again"):
        ElementTree.parse(path)


def _read(path: Path, model: str | bytes) -> ov.Model:
    """Translate an ONNX file or its bytes; failures become one of our errors."""
    with _our_errors(path):
        return _core().read_model(model)


def _compile(path: Path, model: ov.Model, options: RuntimeOptions, **more: Any) -> ov.CompiledModel:
    with _our_errors(path):
        return _core().compile_model(model, "CPU", {**_settings(options), **more})


@cache
def _core() -> ov.Core:
    """One for the process: each of its own would load the CPU plugin once more."""
    core = ov.Core()
    with signal_stack_kept():
        core.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin
    return core


@contextlib.contextmanager
def _our_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # also of names that are no UTF-8
        raise UnsupportedError(
            f"OpenVINO {_version()} cannot run {path}: {_reason(error)}"
        ) from error


def _reason(error: BaseException) -> str:
    """The last line that OpenVINO says, without its source positions."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (told or lines or [type(error).__name__])[-1].removeprefix("-- ").rstrip(".")


def _version() -> str:
    return str(ov.__version__).partition("-")[0]
