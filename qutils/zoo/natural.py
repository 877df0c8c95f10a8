"""Natural pictures that come with packages: to calibrate where one has no photographs."""

from __future__ import annotations

import importlib.util
from itertools import product
from pathlib import Path

import numpy as np

from qutils.errors import InvalidInputError, MissingPackageError
from qutils.zoo.photographs import Photograph, Photographs, Region
from qutils.zoo.preprocessing import Preprocessing

#: Packages and files inside them, none of which is downloaded: first those in colour.
FILES = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),  # a cat
    ("skimage", "data/coffee.png"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/motorcycle_left.png"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/retina.jpg"),
    ("skimage", "data/camera.png"),
    ("skimage", "data/coins.png"),
    ("skimage", "data/brick.png"),
    ("skimage", "data/grass.png"),
    ("skimage", "data/gravel.png"),
)
#: Regions of one picture overlap more the more there are.
MOST = 8 * len(FILES)


def natural_pictures(count: int = 64, preprocessing: Preprocessing | None = None) -> Photographs:
    """Crops of the sample pictures of scikit-image and Matplotlib, the same for every call.

    The first are whole pictures, the next regions of them: a quarter to all of the area, sides
    of 3:4 to 4:3, drawn once and for all as ``RandomResizedCrop`` draws them.

    They stand for photographs when a network is calibrated, and for nothing else: there are 13,
    and no labels.

    Raises:
        InvalidInputError: ``count`` is not in 1..104.
        MissingPackageError: scikit-image is not installed; names the command.
    Source: crops as in Szegedy et al. 2015, arXiv:1409.4842, section 6.
    """
    if not 1 <= count <= MOST:
        raise InvalidInputError(f"asked for {count} natural pictures; there are 1..{MOST}")
    rounds = product(range(MOST // len(FILES)), FILES)
    members = tuple(
        Photograph(_path(package, file), _region(turn, FILES.index((package, file))))
        for turn, (package, file) in rounds
    )
    return Photographs(members[:count], preprocessing or Preprocessing())


def _path(package: str, file: str) -> Path:
    spec = importlib.util.find_spec(package)
    path = Path(((spec and spec.submodule_search_locations) or [""])[0]) / file
    if not path.is_file():
        raise MissingPackageError(
            f"the natural pictures come with scikit-image, which is not installed (no {file}): "
            "pip install -e '.[imagenet]'"
        )
    return path


def _region(turn: int, number: int) -> Region:
    """Edges as shares of width and height; the whole picture in turn 0."""
    if turn == 0:
        return 0.0, 0.0, 1.0, 1.0
    draw = np.random.default_rng((turn, number))
    area, log_aspect = draw.uniform(0.25, 1.0), draw.uniform(-1.0, 1.0) * np.log(4 / 3)
    width = min(1.0, float(np.sqrt(area * np.exp(log_aspect))))
    height = min(1.0, float(np.sqrt(area / np.exp(log_aspect))))
    left, upper = draw.uniform(0.0, 1.0 - width), draw.uniform(0.0, 1.0 - height)
    return left, upper, left + width, upper + height
