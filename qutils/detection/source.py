"""Where a dataset comes from: a YAML on this machine, or a name on Ultralytics' list."""

from __future__ import annotations

from pathlib import Path

from qutils.detection.dataset import DetectionData, read_detection_data
from qutils.detection.ultralytics import datasets_folder, named_dataset


def find_dataset(data: str | Path) -> DetectionData:
    """The dataset of a YAML; a bare name that is not here, ``coco8.yaml``, may be fetched.

    A relative ``path:`` may start at the folder of datasets in Ultralytics' settings as well.

    Raises:
        DataError: it is missing, damaged, or cannot be fetched.
        MissingPackageError: a bare name, and Ultralytics is not installed.
    """
    path = Path(data)
    if path.parent == Path(".") and not path.exists():
        return named_dataset(path.name)
    return read_detection_data(path, datasets_folder)
