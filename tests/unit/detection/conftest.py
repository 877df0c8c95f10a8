"""One training of one epoch on few pictures, for every test that needs weights."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from qutils import detection as d
from qutils.detection.miniature import architecture

#: As small as they can be: the tests are about files, not about what they find.
PLAN = d.ShapesPlan(train=16, calibration=8, val=8, size=64)
TRAINING = d.Training(size=64, epochs=1, batch=8)
#: The network of tests that do not need the real one, and its places in pictures of 64 pixels.
NETWORK, PLACES = "yolo11n-mini", 4 * 4 + 2 * 2


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
def shared(tmp_path_factory) -> Path:
    """A folder that all workers of a run share; what lies there is not to be changed."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "detection"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def data(yolo, shared):
    with FileLock(shared / "shapes.lock"):
        return d.read_detection_data(d.generate_shapes(shared / "shapes", PLAN))


@pytest.fixture(scope="session")
def trained(data, shared) -> Path:
    """Weights of a miniature after two steps; not to be changed, nor what lies beside them."""
    with FileLock(shared / "trained.lock"):
        return d.train(NETWORK, data, shared / "trained" / f"{NETWORK}.pt", TRAINING)


@pytest.fixture(scope="session")
def untrained(yolo, tmp_path_factory):
    """Weights files of networks with random weights, by name; made once."""
    folder, made = tmp_path_factory.mktemp("untrained"), {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = folder / f"{name}.pt"
            yolo(architecture(name, folder)).save(str(made[name]))
        return made[name]

    return make
