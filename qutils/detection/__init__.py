"""Object detection: data whose boxes are known, YOLO networks, and what INT8 makes of them.

A detector in INT8, its ranges from pictures that do not judge it::

    import qutils as q
    data = q.detection.find_dataset("shapes.yaml")
    weights = q.detection.read_weights("yolo11n.pt")
    pictures = q.detection.PictureFiles(data.calibration(128), size=640)
    detector = q.detection.as_detector(weights, size=640)
    sim = q.detection.calibrate_detector(detector, pictures)
    q.detection.export_detector(sim, "yolo11n_int8.onnx", weights.names)

Ultralytics (AGPL-3.0) is an optional extra, ``make detection``; it is imported by the first call
that needs it, in ``qutils.detection.ultralytics`` alone.
"""

from qutils.detection.dataset import DetectionData, read_detection_data
from qutils.detection.detector import DECODE, Detector
from qutils.detection.generate import ShapesPlan, generate_shapes, scenes
from qutils.detection.graphs import trace_detector
from qutils.detection.labels import boxes_of
from qutils.detection.parts import PARTS, OneScale, part_of, rounded_only
from qutils.detection.predict import EndToEnd, PictureFiles, Prediction, read_pictures
from qutils.detection.qat import finetune_detector
from qutils.detection.quantize import (
    calibrate_detector,
    export_detector,
    normalized,
    observe_detector,
)
from qutils.detection.reference import (
    FORMATS,
    Training,
    export_reference,
    train,
    training_time,
)
from qutils.detection.shapes import SHAPES, Box, Scene
from qutils.detection.source import find_dataset
from qutils.detection.split_report import SplitReport
from qutils.detection.ultralytics import (
    HEADS,
    Scores,
    Weights,
    as_detector,
    read_weights,
    score,
    suppressed,
)

__all__ = [
    "DECODE",
    "FORMATS",
    "HEADS",
    "PARTS",
    "SHAPES",
    "Box",
    "DetectionData",
    "Detector",
    "EndToEnd",
    "OneScale",
    "PictureFiles",
    "Prediction",
    "Scene",
    "Scores",
    "ShapesPlan",
    "SplitReport",
    "Training",
    "Weights",
    "as_detector",
    "boxes_of",
    "calibrate_detector",
    "export_detector",
    "export_reference",
    "find_dataset",
    "finetune_detector",
    "generate_shapes",
    "normalized",
    "observe_detector",
    "part_of",
    "read_detection_data",
    "read_pictures",
    "read_weights",
    "rounded_only",
    "scenes",
    "score",
    "suppressed",
    "trace_detector",
    "train",
    "training_time",
]
