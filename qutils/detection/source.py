"""Where a dataset comes from: a YAML on this machine, or a name on Ultralytics' list."""

from __future__ import annotations

from pathlib import Path

from qutils.detection.dataset import DetectionData, read_detection_data
from qutils.detection.ultralytics import named_dataset


def find_dataset(data: str | Path) -> DetectionData:
    """The dataset of a YAML; a bare name that is not here, ``coco8.yaml``, may be fetched.

    Raises:
        DataError: it is missing, damaged, or cannot be fetched.
        MissingPackageError: a bare name, and Ultralytics is not installed.
    """
    path = Path(data)
    if path.parent == Path(".") and not path.is_file():
        return named_dataset(path.name)
    return read_detection_data(path)
