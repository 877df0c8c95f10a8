"""Everything that touches Ultralytics (AGPL-3.0), an optional extra: imported nowhere else.

Training and exporting change global state, print pages and overwrite files beside the weights;
``qutils.detection.reference`` runs them in another process (``qutils.detection.tasks``).
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from qutils.detection.dataset import DetectionData
from qutils.detection.detector import Detector, Layer
from qutils.detection.links import write_yaml
from qutils.detection.torchvision import torchvision
from qutils.errors import (
    DataError,
    InvalidInputError,
    UnsupportedError,
    known_names,
    not_installed,
)

INSTALL = "make detection"
#: Which of the two heads of an end-to-end network is used; YOLO11 has the first alone.
HEADS = ("one2many", "one2one")
_MEND = "correct its path, or name published weights where there is a network"


@cache
def library() -> ModuleType:
    """The package, quiet, without unpickling weights and without installing anything itself.

    Raises:
        MissingPackageError: ultralytics or torchvision is not installed; names the command.
    """
    os.environ.setdefault("YOLO_AUTOINSTALL", "False")
    os.environ.setdefault("YOLO_VERBOSE", "False")
    os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "1")  # weights without pickled code
    try:
        torchvision()
        with _own_functions_kept():
            return importlib.import_module("ultralytics")
    except ImportError as error:
        raise not_installed("ultralytics", INSTALL, error) from error


@contextmanager
def _own_functions_kept() -> Iterator[None]:
    """Put back what the package replaces for the whole process when it is imported.

    Its ``Image.open`` wants to install a package where a file is no picture; its environment
    leaves one thread to every process that is started later.
    """
    opened, saved, printed = Image.open, torch.save, np.get_printoptions()
    environment = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        Image.open, torch.save = opened, saved
        np.set_printoptions(**printed)
        torch.set_printoptions(profile="default")  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Weights:
    """A detection network of a ``.pt`` file: what it finds, and the network itself."""

    path: Path
    names: tuple[str, ...]
    network: nn.Module

    @property
    def end_to_end(self) -> bool:
        """Whether it has a second head whose boxes need no suppression."""
        return getattr(self.network.model[-1], "one2one_cv2", None) is not None  # type: ignore[index]


def read_weights(path: str | Path) -> Weights:
    """Read a ``.pt`` file of Ultralytics; only classes on its list of known ones are made from it.

    Published weights (``yolo11n.pt``) that are not there are fetched by Ultralytics, if there is a
    network.

    Raises:
        MissingPackageError: the extra is not installed.
        DataError: the file is missing, damaged or holds something else.
        UnsupportedError: weights of another task than detection, or of another kind of head.
    """
    library()
    tasks: Any = importlib.import_module("ultralytics.nn.tasks")
    tasks.SAFE_LOAD = True  # also where the package was imported before us
    path = Path(path)
    if path.suffix != ".pt":
        raise InvalidInputError(f"{path} is no .pt file: give weights of Ultralytics")
    try:
        network, _ = tasks.load_checkpoint(str(path), device="cpu")
    except Exception as error:  # whatever torch and the package raise of a damaged file
        if not path.is_file():
            raise DataError(f"{path} is missing, and could not be fetched: {_MEND}") from error
        raise DataError(
            f"{path} holds no weights that can be read: {first_line(error)}. Give a .pt file that "
            "Ultralytics wrote."
        ) from error
    task = getattr(network, "task", None) or type(network).__name__
    head = network.model[-1] if hasattr(network, "model") else None
    if task != "detect" or type(head).__name__ != "Detect":
        raise UnsupportedError(
            f"{path} holds weights for {task!r} ({type(head).__name__}): only detection with a "
            "Detect head is quantized here, as of yolo11n.pt or yolo26n.pt"
        )
    names = tuple(network.names[i] for i in range(len(network.names)))
    # A file holds the moving average of a training, which is frozen whatever its owner froze.
    return Weights(path, names, network.float().eval().requires_grad_(True))


def first_line(error: BaseException) -> str:
    """The first line of a message of the package, without its pictogram."""
    first = next(iter(str(error).strip().splitlines()), "")
    return first.lstrip("\u274c\ufe0f ").rstrip(". ") or type(error).__name__  # no pictogram


def as_detector(
    weights: Weights,
    size: int | tuple[int, int],
    head: str = "one2many",
    *,
    normalized: bool = False,
) -> Detector:
    """The network as ``Detector`` for pictures of ``size``; the weights stay as they are.

    Args:
        size: height and width [pixels], multiples of the largest stride.
        head: ``one2one`` for the boxes of an end-to-end network that need no suppression.

    Raises:
        InvalidInputError: sizes that strides do not divide, an unknown head.
        UnsupportedError: the network has no second head.
    """
    height, width = (size, size) if isinstance(size, int) else size
    model: Any = weights.network
    *layers, detect = model.model
    strides = [int(stride) for stride in detect.stride]
    if min(height, width) < 1 or height % max(strides) or width % max(strides):
        raise InvalidInputError(
            f"pictures of {height}x{width} do not fit strides {strides}: give multiples of "
            f"{max(strides)}"
        )
    known_names("head", [head], HEADS)
    if head == "one2one" and not weights.end_to_end:
        raise UnsupportedError(f"{weights.path} has no second head: leave head at 'one2many'")
    prefix = "one2one_" if head == "one2one" else ""
    box, cls = (getattr(detect, f"{prefix}{name}") for name in ("cv2", "cv3"))
    return Detector(
        [Layer(module, _reads(module)) for module in layers],
        _reads(detect),
        box,
        cls,
        strides,
        int(detect.reg_max),
        (height, width),
        normalized,
    ).eval()


def _reads(module: Any) -> tuple[int, ...]:
    return (module.f,) if isinstance(module.f, int) else tuple(module.f)


# Scoring ------------------------------------------------------------------------------------------

#: Pictures ``[N, 3, H, W]`` in 0..1 -> ``[N, 4 + classes, A]``, boxes in pixels.
Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Scores:
    """Mean average precision [%] at an overlap of 50 %, and over 50..95 %; per class as well."""

    map50: float
    map50_95: float
    per_class: tuple[float, ...]  # map50_95 by number; of a class that no label names, the mean
    pictures: int


def score(
    predict: Predict,
    data: DetectionData,
    size: int,
    *,
    split: str = "val",
    end_to_end: bool = False,
    batch: int = 16,
) -> Scores:
    """Judge predictions as ``yolo val`` does: its loader, suppression and metrics.

    Args:
        end_to_end: predictions ``[N, K, 6]`` that need no suppression.

    Raises:
        DataError: a label is invalid, or the loader leaves a picture out.
    """
    library()
    val = importlib.import_module("ultralytics.models.yolo.detect.val")
    with tempfile.TemporaryDirectory() as folder:
        path = write_yaml(data.alone(split), Path(folder))
        options = {"data": str(path), "imgsz": size, "batch": batch, "plots": False, "rect": False}
        judge = val.DetectionValidator(
            args={**options, "workers": 0, "device": "cpu", "task": "detect", "mode": "val"},
            save_dir=Path(folder) / "val",
        )
        judge.data = importlib.import_module("ultralytics.data.utils").check_det_dataset(str(path))
        judge.device, judge.stride, judge.training = torch.device("cpu"), 32, False
        try:
            judge.dataloader = judge.get_dataloader(judge.data["val"], batch)
        except RuntimeError as error:  # it leaves out all of them
            raise DataError(f"Ultralytics reads no image of {data.yaml}: {error}") from error
        _refuse_left_out(judge.dataloader.dataset.im_files, data.pictures(split))
        judge.init_metrics(_Named(dict(enumerate(data.names)), end_to_end))
        for pictures in map(judge.preprocess, _read(judge.dataloader, data.pictures(split))):
            with torch.no_grad():
                found = predict(pictures["img"])
            judge.update_metrics(judge.postprocess(found), pictures)
        judge.get_stats()
    box = judge.metrics.box
    per_class = tuple(100 * float(ap) for ap in box.maps)
    return Scores(100 * float(box.map50), 100 * float(box.map), per_class, int(judge.seen))


def _read(batches: Iterable[Any], pictures: Sequence[Path]) -> Iterator[Any]:
    """Batches of the loader; raise DataError for a picture that OpenCV cannot decode."""
    try:
        yield from batches
    except FileNotFoundError as error:  # "Image Not Found" and the link, named by its number
        number = Path(str(error)).stem
        path = pictures[int(number)] if number.isdecimal() else error
        raise DataError(f"{path} cannot be decoded by OpenCV. Remove or replace it.") from error


def _refuse_left_out(read: Sequence[str], pictures: Sequence[Path]) -> None:
    """Raise DataError where the loader left pictures out; links are named by their number."""
    taken = {int(Path(path).stem) for path in read}
    left = [picture for number, picture in enumerate(pictures) if number not in taken]
    if left:
        raise DataError(
            f"Ultralytics leaves out {len(left):,} of {len(pictures):,} images that are scored, "
            f"the first is {left[0]}. Remove or replace them."
        )


@dataclass
class _Named:
    """What the validator asks of a model."""

    names: dict[int, str]
    end2end: bool


def suppressed(
    predictions: Tensor, confidence: float = 0.25, overlap: float = 0.45
) -> list[Tensor]:
    """Boxes to draw, ``[K, 6]`` a picture: left, top, right, bottom, confidence, class."""
    library()
    module = importlib.import_module("ultralytics.utils.nms")
    found: list[Tensor] = module.non_max_suppression(predictions, confidence, overlap)
    return found
