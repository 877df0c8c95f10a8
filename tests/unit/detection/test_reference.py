"""Training and exporting in a process of its own: files that load, folders left as they were."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch

from qutils import detection as d
from qutils.backends.runtimes import load
from qutils.detection import process
from qutils.errors import DataError, InvalidInputError, UnsupportedError
from tests.unit.detection.conftest import NETWORK, PLACES, TRAINING
from tests.unit.detection.tiny import write_data

pytestmark = pytest.mark.usefixtures("yolo")
SIZE = 64
#: What the package's exporters need, and we do not ship.
NEEDED = {
    ("onnxruntime", False): ("onnx", "onnxruntime"),
    ("onnxruntime", True): ("onnx", "onnxruntime"),
    ("openvino", False): ("openvino",),
    ("openvino", True): ("openvino", "nncf"),
    ("litert", False): ("litert_torch", "ai_edge_litert"),
    ("litert", True): ("litert_torch", "ai_edge_litert"),
}


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Training -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_leaves_weights_and_a_note(trained, data):
    names = [f"{NETWORK}.json", f"{NETWORK}.pt"]
    assert sorted(p.name for p in trained.parent.iterdir()) == names
    note = json.loads(trained.with_suffix(".json").read_text())
    made = note["made"]
    assert (made["network"], made["size"], made["epochs"]) == (NETWORK, SIZE, 1)
    took = d.training_time(trained)
    assert 0.5 < took.seconds < 600
    assert took.threads == torch.get_num_threads()  # as the tests' environment says
    weights = d.read_weights(trained)
    assert weights.names == data.names
    found = d.as_detector(weights, SIZE)(d.read_pictures(data.pictures("val"), SIZE))
    assert torch.isfinite(found).all()


def test_invalid_data_is_refused_before_training_or_exporting(tmp_path):
    data = d.read_detection_data(write_data(tmp_path / "set"))
    data.pictures("train")[0].write_bytes(b"no image")
    with pytest.raises(DataError, match="1 of 2 images of split 'train' are invalid"):
        d.train(NETWORK, data, tmp_path / "net.pt", TRAINING)
    assert not (tmp_path / "net.pt").exists()
    data.pictures("calibration")[1].write_bytes(b"no image")
    (tmp_path / "net.pt").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 2 images of split 'calibration' are invalid"):
        d.export_reference(tmp_path / "net.pt", "onnxruntime", tmp_path / "out", size=32, data=data)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_was_trained_is_not_trained_again(trained, data, monkeypatch):
    monkeypatch.setattr(process, "run", None)  # it would be called
    before = digest(trained)
    assert d.train(NETWORK, data, trained, TRAINING) == trained
    assert digest(trained) == before


@pytest.mark.slow
@pytest.mark.parametrize("changes", ["data", "training", "network"])
def test_another_training_is_another_one(trained, data, changes, tmp_path):
    """It starts, in place of the note's; here nothing is trained."""
    for path in (trained, trained.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    trained = tmp_path / trained.name
    network, training = NETWORK, TRAINING
    if changes == "data":
        data = data.only("train", data.pictures("train")[:8])
    elif changes == "training":
        training = d.Training(size=SIZE, epochs=1, batch=8, seed=1)
    else:
        network = "yolo26n"
    started = []
    before = digest(trained)
    with pytest.MonkeyPatch.context() as patched:

        def run(task, options, work, told):
            started.append(options)
            raise KeyboardInterrupt

        patched.setattr(process, "run", run)
        with pytest.raises(KeyboardInterrupt):
            d.train(network, data, trained, training)
    work = trained.with_suffix(".training")
    assert Path(started[0]["start"]).name == f"{network}.yaml"
    assert work.is_dir()
    assert digest(trained) == before


@pytest.mark.slow
def test_an_interrupted_training_goes_on(data, tmp_path, monkeypatch):
    """Ctrl-C in the second epoch, when the first one's weights are written."""
    out, training = tmp_path / "net.pt", d.Training(size=SIZE, epochs=4, batch=8)
    original, resumed, epochs = process.run, [], []

    def run(task, options, work, told):
        def heard(event):
            told(event)
            epochs.append(event["epoch"])
            if not options["resume"] and event["epoch"] == 2:
                raise KeyboardInterrupt

        resumed.append(options["resume"])
        return original(task, options, work, heard)

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(KeyboardInterrupt):
        d.train(NETWORK, data, out, training)
    assert epochs == [1, 2]
    work = out.with_suffix(".training")
    assert (work / "run" / "weights" / "last.pt").is_file()
    assert not out.exists()
    before = json.loads((work / "took.json").read_text())["seconds"]
    assert d.train(NETWORK, data, out, training) == out
    assert resumed == [False, True]
    assert epochs == [1, 2, 2, 3, 4]
    assert d.training_time(out).seconds > before > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.json", "net.pt"]


def test_weights_that_nobody_trained_here_have_no_time(untrained, tmp_path):
    assert d.training_time(untrained(NETWORK)) is None
    assert d.training_time(tmp_path / "gone.pt") is None
    (tmp_path / "own.pt").touch()
    for note in ("[1]", '{"seconds": 5.0}', '{"took": 5}', '{"took": {"seconds": 5}}'):
        (tmp_path / "own.json").write_text(note)
        assert d.training_time(tmp_path / "own.pt") is None


@pytest.mark.slow
@pytest.mark.nightly(reason="an export that fails says so by the same way")
def test_a_network_that_is_not_known_is_refused_in_the_packages_words(data, tmp_path):
    with pytest.raises(UnsupportedError, match=r"could not train \(exit code 1\): .*yolo00"):
        d.train("yolo00n", data, tmp_path / "net.pt", TRAINING)
    assert not (tmp_path / "net.pt").exists()


def test_weights_end_in_pt(data, tmp_path):
    with pytest.raises(InvalidInputError, match=r"written as \.pt, not net\.onnx"):
        d.train("yolo11n", data, tmp_path / "net.onnx", TRAINING)


@pytest.mark.parametrize(
    "changes", [{"size": 50}, {"size": 0}, {"epochs": 0}, {"batch": 0}, {"lr": 0.0},
                {"lr": float("nan")}], ids=str
)  # fmt: skip
def test_impossible_trainings_are_refused(changes):
    with pytest.raises(InvalidInputError, match="at least 1"):
        d.Training(**changes)


# Exporting ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runtime", "int8"),
    [
        pytest.param(
            *made,
            marks=()
            if made == ("litert", True)
            else pytest.mark.nightly(
                reason="the detection report makes, loads and scores this file in .ci/run"
            ),
            id=f"{made[0]}-{'int8' if made[1] else 'fp32'}",
        )
        for made in NEEDED
    ],
)
def test_the_packages_own_files_load_and_predict(runtime, int8, trained, data, tmp_path):
    for package in NEEDED[runtime, int8]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    before, listed = digest(trained), sorted(os.listdir(trained.parent))
    path = d.export_reference(trained, runtime, tmp_path, size=SIZE, data=data if int8 else None)
    assert path.is_file()
    assert tmp_path in path.parents
    assert ("int8" in str(path.relative_to(tmp_path))) == int8
    assert digest(trained) == before
    assert sorted(os.listdir(trained.parent)) == listed
    assert len(list(tmp_path.iterdir())) == 1  # nothing else is left
    x = d.read_pictures(data.pictures("val")[:2], SIZE)
    found = d.Prediction(load(path, runtime), d.normalized(runtime))(x)
    assert found.shape == (2, 4 + len(data.names), PLACES)
    exact = d.as_detector(d.read_weights(trained), SIZE)(x).detach()
    difference = (found - exact).abs()
    most = (8.0, 0.2) if int8 else (0.05, 1e-3)  # pixels, probability
    assert float(difference[:, :4].mean()) < most[0]
    assert float(difference[:, 4:].mean()) < most[1]
    stored = path.with_suffix(".bin") if runtime == "openvino" else path
    in_float = 4 * sum(p.numel() for p in d.read_weights(trained).network.parameters())
    assert (stored.stat().st_size < 0.5 * in_float) == int8


@pytest.mark.slow
def test_a_second_export_replaces_the_first(trained, data, tmp_path):
    """A folder (OpenVINO) is replaced as a whole."""
    first = d.export_reference(trained, "openvino", tmp_path, size=SIZE)
    (first.parent / "foreign").touch()
    again = d.export_reference(trained, "openvino", tmp_path, size=SIZE)
    assert again == first
    assert not (again.parent / "foreign").exists()


@pytest.mark.slow
def test_what_cannot_be_exported_is_told_in_the_packages_words(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"no weights")
    with pytest.raises(UnsupportedError, match=r"could not export \(exit code 1\): .*bad\.pt"):
        d.export_reference(tmp_path / "bad.pt", "onnxruntime", tmp_path / "out", size=SIZE)
    assert not list((tmp_path / "out").iterdir())


def test_runtimes_without_a_format_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="unknown runtime of the exporter 'onnx'"):
        d.export_reference(tmp_path / "net.pt", "onnx", tmp_path, size=SIZE)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.pt is missing: give weights"):
        d.export_reference(tmp_path / "gone.pt", "onnxruntime", tmp_path, size=SIZE)


def test_the_process_ends_with_the_block(tmp_path):
    """Ctrl-C must not leave a training behind."""
    code = "import time; print('{}', flush=True); time.sleep(60)"
    with (
        (tmp_path / "log").open("w") as log,
        pytest.raises(KeyboardInterrupt),
        process._process([sys.executable, "-c", code], log, tmp_path) as started,
    ):
        started.stdout.readline()
        raise KeyboardInterrupt
    assert started.returncode == -signal.SIGKILL
