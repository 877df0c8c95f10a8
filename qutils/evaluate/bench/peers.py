"""What other tools make of the same float file, to stand beside ours; PEERS."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from qutils.backends.shared.runtime import require
from qutils.errors import DataError, InvalidInputError, UnsupportedError
from qutils.files import atomic_path

#: One batch: an array, or arrays by the names of the network's inputs.
Arrays = NDArray[Any] | Mapping[str, NDArray[Any]]
Batches = Iterable[Arrays]


def quantize_static(model: Path, batches: Batches, path: Path) -> Path:
    """ONNX Runtime's own INT8 file of a float ONNX file; returns ``path``.

    The settings that correspond to ours: QDQ form, unsigned 8-bit activations, signed 8-bit
    weights per channel, minmax ranges; the file is prepared with ``quant_pre_process``, as the
    tool asks for.

    Args:
        batches: calibration inputs ``[B, ...]``, one after the other; of a network with several
            inputs, mappings of arrays by their names.

    Raises:
        InvalidInputError: no calibration batch.
        DataError: the float file is missing, or ``path`` cannot be written.
        UnsupportedError: the tool cannot quantize this file.
    Source: onnxruntime.quantization, "Quantize ONNX Models".
    """
    return _made(_quantize, "quantize_static", Path(model), batches, Path(path))


def nncf_quantize(model: Path, batches: Batches, path: Path) -> Path:
    """NNCF's INT8 file of a float ONNX file, for OpenVINO or ONNX Runtime; returns ``path``.

    The tool's default settings, on all pictures given: QDQ form, unsigned 8-bit activations after a
    ReLU, symmetric ones elsewhere, signed 8-bit weights per channel, fast bias correction. A
    convolution that a sum follows has no quantizer of its own. Weights of the first layer use half
    their range, so that CPUs without VNNI do not saturate there.

    Args:
        batches: as for ``quantize_static``; the tool takes them picture by picture.

    Raises:
        MissingPackageError: nncf is not installed.
        InvalidInputError: no calibration batch.
        DataError: the float file is missing, or ``path`` cannot be written.
        UnsupportedError: the tool cannot quantize this file.
    Source: Neural Network Compression Framework, ``nncf.quantize``.
    """
    require("nncf", "pip install -e '.[peers]'")
    return _made(_nncf, "nncf", Path(model), batches, Path(path))


#: Every peer by name: (float file, calibration batches, path to write) -> path.
PEERS: MappingProxyType[str, Callable[[Path, Batches, Path], Path]] = MappingProxyType(
    {"quantize_static": quantize_static, "nncf": nncf_quantize}
)

_Inputs = list[Arrays]


def _made(
    tool: Callable[[Path, _Inputs, Path], None],
    name: str,
    model: Path,
    batches: Batches,
    path: Path,
) -> Path:
    """Run a tool; its file replaces an earlier one only when it is whole."""
    if not model.is_file():
        raise DataError(f"{model} is missing. Export the float model first, or correct the path.")
    inputs = list(batches)
    if not inputs:
        raise InvalidInputError("the calibration set is empty: give at least one batch of pictures")
    with atomic_path(path) as temporary, _quiet():
        try:
            tool(model, inputs, temporary)
        except Exception as error:  # the tool raises whatever its parts raise
            raise UnsupportedError(f"{name} cannot quantize {model}: {error}") from error
    return path


def _quantize(model: Path, inputs: _Inputs, path: Path) -> None:
    import onnxruntime as ort
    from onnxruntime import quantization as tool
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"]).get_inputs()[0].name
    feeds: Iterator[dict[str, Any]] = iter([_feed(name, batch) for batch in inputs])

    class Reader(tool.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(model), str(prepared))
        tool.quantize_static(
            str(prepared),
            str(path),
            Reader(),
            quant_format=tool.QuantFormat.QDQ,
            activation_type=tool.QuantType.QUInt8,
            weight_type=tool.QuantType.QInt8,
            per_channel=True,
            calibrate_method=tool.CalibrationMethod.MinMax,
        )


def _feed(name: str, batch: Arrays) -> dict[str, Any]:
    """Arrays by input name; ``name`` is that of the only input."""
    return dict(batch) if isinstance(batch, Mapping) else {name: batch}


def _nncf(model: Path, inputs: _Inputs, path: Path) -> None:
    import nncf as tool
    import onnx

    floats = onnx.load(str(model))
    feeds = [_feed(floats.graph.input[0].name, batch) for batch in inputs]
    pictures = [
        {name: array[i : i + 1] for name, array in feed.items()}
        for feed in feeds
        for i in range(len(next(iter(feed.values()))))
    ]
    quantized = tool.quantize(floats, tool.Dataset(pictures), subset_size=len(pictures))
    onnx.save(quantized, str(path))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tool logs advice and prints its progress to stdout."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
