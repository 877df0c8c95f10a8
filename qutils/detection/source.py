"""Where a dataset comes from: a YAML on this machine, or a name on Ultralytics' list."""

from __future__ import annotations

import importlib
import tempfile
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import yaml

from qutils.detection.dataset import DetectionData, read_detection_data
from qutils.detection.ultralytics import first_line, library
from qutils.errors import DataError, MissingPackageError


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


def datasets_folder() -> Path | None:
    """The folder of datasets in the package's settings; None where it is not installed."""
    try:
        library()
    except MissingPackageError:
        return None
    return Path(importlib.import_module("ultralytics.utils").DATASETS_DIR)


def named_dataset(name: str) -> DetectionData:
    """A dataset of Ultralytics' own list, ``coco8.yaml`` say; fetched where there is a network.

    Raises:
        DataError: no such name, one that a script would fetch, or it cannot be fetched.
    """
    package = Path(str(library().__file__)).parent
    listed = {path.name: path for path in (package / "cfg" / "datasets").glob("*.yaml")}
    if name not in listed:
        close = get_close_matches(name, listed, n=1, cutoff=0.75)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise DataError(
            f"{name} is missing, and no dataset on Ultralytics' list{hint}: correct the path"
        )
    fetched = str(yaml.safe_load(listed[name].read_text()).get("download") or "")
    if fetched and (not fetched.startswith("https://") or "\n" in fetched.strip()):
        raise DataError(
            f"{name} is fetched by a script, which is not executed here: fetch it with "
            "Ultralytics, then give the path of its YAML"
        )
    try:
        utils = importlib.import_module("ultralytics.data.utils")
        found = utils.check_det_dataset(str(listed[name]))
    except Exception as error:
        raise DataError(
            f"{name} is not here, and Ultralytics could not fetch it: {first_line(error)}. Give "
            "the YAML of a dataset that lies on this machine."
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        splits = {split: found[split] for split in ("train", "val", "test") if found.get(split)}
        path.write_text(yaml.safe_dump({**splits, "names": dict(found["names"])}))
        return replace(read_detection_data(path), yaml=listed[name])
