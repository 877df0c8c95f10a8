"""Our way: a detector captured, its ranges observed, quantized but for its decoding, exported."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from torch import Tensor

from qutils.backends.export import export
from qutils.detection.detector import DECODE, Detector
from qutils.detection.graphs import decoded_as, observe_graph
from qutils.detection.predict import PictureFiles, batches_of
from qutils.errors import InvalidInputError
from qutils.files import atomic_path
from qutils.graph import Captured
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import Observation, observe
from qutils.quantize.ptq import bias_correction
from qutils.quantize.simulate import SimulatedModel


def observe_detector(
    detector: Detector,
    pictures: Tensor | PictureFiles,
    target: str = "onnxruntime",
    *,
    keep_float: Collection[str] = (),
    graph: Captured | None = None,
    progress: bool = False,
) -> Observation:
    """Watch a detector on calibration pictures, ``[N, 3, H, W]`` in 0..1 or their files.

    Its decoding stays in float: it computes with distances, pixels and probabilities, which no one
    scale fits, and is a thousandth of the work. So does what has no integer kernel, the products of
    attention.

    Args:
        keep_float: further modules that stay in float, ``box.0.2`` say.
        graph: of ``trace_detector``, if it has been traced before.

    Raises: as ``qutils.observe``.
    """
    if not isinstance(detector, Detector):
        raise InvalidInputError(
            f"a {type(detector).__name__} is no Detector: detection.as_detector(weights, size)"
        )
    batches, kept = batches_of(pictures), [DECODE, *keep_float]
    if graph is not None:
        graph = decoded_as(detector, graph)
        return observe_graph(graph, batches, target, keep_float=kept, progress=progress)
    return observe(detector, batches, target, keep_float=kept, progress=progress)


def calibrate_detector(
    detector: Detector,
    pictures: Tensor | PictureFiles,
    target: str = "onnxruntime",
    *,
    observer: str = "mse",
    keep_float: Collection[str] = (),
    graph: Captured | None = None,
    progress: bool = False,
) -> SimulatedModel:
    """W8A8 from calibration pictures alone: ranges by one observer, then biases corrected.

    What rounded weights shift on average in a layer is taken out of its bias
    (``ptq.bias_correction``), on the same pictures.

    Args:
        keep_float: further modules that stay in float, ``box.0.2`` say.
        graph: of ``trace_detector``, if it has been traced before.

    Raises: as ``qutils.observe``.
    """
    kept = observe_detector(
        detector, pictures, target, keep_float=keep_float, graph=graph, progress=progress
    )
    sim = kept.simulate(Recipe.w8a8(observer))
    return bias_correction(sim, batches_of(pictures), progress=progress)


def normalized(target: str) -> bool:
    """Whether Ultralytics' files for a runtime hand boxes out as shares of the picture."""
    return target == "litert"


@dataclass(frozen=True)
class FileNote:
    """What a file says of itself, in the words that Ultralytics' own files use.

    With it, ``YOLO("ours.onnx")`` and ``YOLO("ours.tflite")`` predict and validate.
    """

    names: tuple[str, ...]
    size: tuple[int, int]
    stride: int = 32

    @property
    def content(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "description": "INT8 detector written by qutils",
            "task": "detect",
            "head": "Detect",
            "stride": self.stride,
            "batch": 1,
            "imgsz": list(self.size),
            "names": dict(enumerate(self.names)),
            "channels": 3,
            "end2end": False,
            "args": {"dynamic": False, "nms": False},
        }


def export_detector(sim: SimulatedModel, path: str | Path, names: Sequence[str]) -> Path:
    """Write a quantized detector; returns ``path``. ONNX and LiteRT files carry a ``FileNote``.

    Make the detector of a ``.tflite`` file with ``normalized=True`` (see ``normalized``) if that
    package shall read it.

    Raises: as ``qutils.export``.
    """
    height, width = sim.captured.input_shape[1:]
    note = FileNote(tuple(names), (height, width)).content
    path = Path(path)
    with atomic_path(path) as temporary:
        export(sim, temporary, target=sim.target.name)
        if path.suffix == ".onnx":
            model = onnx.load(str(temporary))
            onnx.helper.set_model_props(model, {key: str(value) for key, value in note.items()})
            for axis in model.graph.output[0].type.tensor_type.shape.dim:
                axis.ClearField("dim_param")  # to Ultralytics a named one means any size
            onnx.save(model, str(temporary))
        elif path.suffix == ".tflite":
            with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as archive:
                entry = zipfile.ZipInfo("metadata.json")  # of no date: the same file every time
                archive.writestr(entry, json.dumps(note))
    return path
