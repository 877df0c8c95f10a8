"""A dataset laid out for Ultralytics: links in a folder of ours, a YAML that runs nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from qutils.detection.dataset import DetectionData
from qutils.detection.labels import label_file, read_labels


def write_yaml(data: DetectionData, folder: Path) -> Path:
    """The dataset as Ultralytics reads it: links to pictures and labels, nothing to execute.

    Links, because the package keeps caches beside label files, which it writes there and unpickles
    when it finds them: those of a stranger's dataset are so never opened. Labels that Ultralytics
    would leave out, as boxes and outlines are mixed, are written as boxes.

    Raises:
        DataError: a label is invalid; Ultralytics would leave its image out.
    """
    content: dict[str, Any] = {"path": str(folder), "names": dict(enumerate(data.names))}
    for split, pictures in data.splits.items():
        places = folder / "images" / split, folder / "labels" / split
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
        for number, picture in enumerate(pictures):
            _link(picture, places[0] / f"{number:07}{picture.suffix}")
            _label(data, picture, places[1] / f"{number:07}.txt")
        content[split] = str(places[0])
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def _label(data: DetectionData, picture: Path, place: Path) -> None:
    path = label_file(picture)
    labels = read_labels(path, len(data.names), data.keypoints)
    if labels is not None and labels.rewritten:
        place.write_text(labels.text)
    elif labels is not None:
        _link(path, place)


def _link(source: Path, place: Path) -> None:
    try:
        place.symlink_to(source.absolute())
    except OSError:  # a system without links
        shutil.copyfile(source, place)
