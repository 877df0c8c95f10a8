"""One training of one epoch on few pictures, for every test that needs weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from qutils import detection as d

#: As small as they can be: the tests are about files, not about what they find.
PLAN = d.ShapesPlan(train=16, calibration=8, val=8, size=64)
TRAINING = d.Training(size=64, epochs=1, batch=8)


@pytest.fixture(scope="session", autouse=True)
def _few_threads():
    """Trainings share the cores with the other workers: threads that wait for each other crawl."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
        yield


@pytest.fixture(scope="session")
def yolo():
    """The package, imported as qutils does; skips where it is not installed."""
    for package in ("ultralytics", "skimage"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: make detection")
    return d.ultralytics.library().YOLO


@pytest.fixture(scope="session")
def data(yolo, tmp_path_factory):
    return d.read_detection_data(d.generate_shapes(tmp_path_factory.mktemp("shapes"), PLAN))


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory) -> Path:
    """Weights of yolo11n after two steps; not to be changed."""
    out = tmp_path_factory.mktemp("trained") / "yolo11n.pt"
    return d.train("yolo11n", data, out, TRAINING)


@pytest.fixture(scope="session")
def untrained(yolo, tmp_path_factory):
    """Weights files of networks with random weights, by name; made once."""
    folder, made = tmp_path_factory.mktemp("untrained"), {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = folder / f"{name}.pt"
            yolo(f"{name}.yaml").save(str(made[name]))
        return made[name]

    return make
