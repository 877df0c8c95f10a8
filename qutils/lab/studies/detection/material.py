"""What a detection report starts from: data, and networks, trained on it unless given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qutils.detection.dataset import DetectionData
from qutils.detection.generate import generate_shapes
from qutils.detection.graphs import trace_detector
from qutils.detection.predict import PictureFiles
from qutils.detection.reference import TrainingTime, train, training_time
from qutils.detection.source import find_dataset
from qutils.detection.ultralytics import Weights, as_detector, library, read_weights
from qutils.graph import Captured
from qutils.lab.results.cache import default_folder
from qutils.lab.studies.detection.plan import Profile


def folder() -> Path:
    """Where generated pictures and trained networks are kept."""
    return default_folder() / "detection"


@dataclass(frozen=True)
class Material:
    """Data, the pictures that give ranges, and the networks.

    ``times`` is what each network's training took; empty if the weights were given, or it
    is not known.
    """

    data: DetectionData
    pictures: PictureFiles
    networks: tuple[Weights, ...]
    times: tuple[TrainingTime, ...] = ()
    graphs: dict[tuple[Path, str, int], Captured] = field(default_factory=dict, compare=False)

    def graph(self, weights: Weights, head: str, size: int) -> Captured:
        """Return the graph of a network, traced once for all targets."""
        key = (weights.path, head, size)
        if key not in self.graphs:
            self.graphs[key] = trace_detector(as_detector(weights, size, head))
        return self.graphs[key]


def prepare(size: Profile) -> Material:
    """Draw or read the data, check it, train or read the networks; what is there is used again.

    Raises:
        MissingPackageError: the extra is not installed.
        DataError: data or weights are missing or amiss; calibration pictures that are scored;
            weights and data name other classes.
        UnsupportedError: weights of another task.
    """
    library()  # before pictures are drawn for it
    data = dataset(size)
    chosen = data.calibration(size.calibration)
    data = data.only("calibration", chosen)
    data.check("calibration", "val", *([] if size.weights else ["train"]))
    files = size.weights or tuple(_trained(name, data, size) for name in size.trained)
    networks = tuple(read_weights(path) for path in files)
    for weights in networks:
        data.check_names(weights.names, weights.path)
    took = () if size.weights else tuple(map(training_time, files))
    known = tuple(time for time in took if time is not None)
    times = known if len(known) == len(took) else ()
    return Material(data, PictureFiles(chosen, size.size), networks, times)


def dataset(size: Profile) -> DetectionData:
    """The user's dataset, or the generated one."""
    return find_dataset(size.data or generate_shapes(folder(), size.shapes))


def _trained(name: str, data: DetectionData, size: Profile) -> Path:
    place = folder() / f"{data.yaml.parent.name}-{size.training.epochs}"
    place.mkdir(parents=True, exist_ok=True)
    return train(name, data, place / f"{name}.pt", size.training)
