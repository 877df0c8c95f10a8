"""Detectors quantized but for their decoding, and written as files that say what is in them."""

from __future__ import annotations

import ast
import hashlib
import json
import zipfile

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from qutils import detection as d
from qutils.backends.runtimes import load
from qutils.detection.quantize import FileNote
from qutils.errors import InvalidInputError
from qutils.numerics.schemes import Recipe
from tests.unit.detection.tiny import CLASSES, NAMES, PLACES, observed, pictures, tiny_detector

#: Runtime: its package, and the ending of its files.
RUNTIMES = {
    "onnxruntime": ("onnxruntime", ".onnx"),
    "openvino": ("openvino", ".onnx"),
    "litert": ("ai_edge_litert", ".tflite"),
}


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(request):
    pytest.importorskip(RUNTIMES[request.param][0], reason=f"extra {request.param}")
    return request.param


@pytest.fixture(scope="module")
def written(runtime, tmp_path_factory):
    """A simulated detector and its file; not to be changed."""
    sim = observed(runtime, d.normalized(runtime)).simulate(Recipe())
    path = tmp_path_factory.mktemp(runtime) / f"detector{RUNTIMES[runtime][1]}"
    assert d.export_detector(sim, path, NAMES) == path
    return sim, path


# Placement ----------------------------------------------------------------------------------------


def test_decoding_stays_in_float_and_convolutions_do_not(runtime):
    placement = observed(runtime, d.normalized(runtime)).placement
    assert d.DECODE in placement.keep_float
    assert placement.float_nodes
    sites = [site.name for site in placement.sites.values()]
    assert not [name for name in sites if name.startswith("decode")]
    convolutions = 5 - 1 + 2 * 2 * 2  # of the backbone, and two for each branch of a level
    assert len([name for name in sites if name.endswith("weight")]) == convolutions


def test_decode_names_every_float_node():
    observation = observed()
    nodes = {node.name: node for node in observation.captured.module.graph.nodes}
    where = [str(nodes[name].meta.get("nn_module_stack", "")) for name in
             observation.placement.float_nodes]  # fmt: skip
    assert where
    assert all("decode" in stack for stack in where)
    softmax = [name for name, node in nodes.items() if "softmax" in str(node.target)]
    assert set(softmax) <= set(observation.placement.float_nodes)
    assert len(softmax) == 1


def test_further_modules_may_stay_in_float():
    observation = d.observe_detector(tiny_detector(), pictures(2), keep_float=["box.0.1"])
    names = [site.name for site in observation.placement.sites.values()]
    assert "box.0.1.weight" not in names
    assert "box.1.1.weight" in names


@torch.no_grad()
def test_the_simulation_is_near_the_float_detector():
    x, exact = pictures(8), tiny_detector()
    found = observed().simulate(Recipe())(x)
    assert found.shape == (8, 4 + CLASSES, PLACES)
    difference = (found - exact(x)).abs()
    assert 0 < difference[:, :4].mean() < 0.5  # pixels
    assert 0 < difference[:, 4:].mean() < 0.05


@pytest.mark.parametrize("other", [nn.Conv2d(3, 8, 3), "yolo11n.pt", None], ids=repr)
def test_what_is_no_detector_is_refused(other):
    with pytest.raises(InvalidInputError, match="is no Detector: detection.as_detector"):
        d.observe_detector(other, pictures(2))


# Files --------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_file_predicts_as_simulated(runtime, written):
    """Some places are some steps of what the branches end in away, most are equal."""
    sim, path = written
    x = pictures(6)
    found = d.Prediction(load(path, runtime), d.normalized(runtime))(x)
    expected = d.Prediction(sim, d.normalized(runtime))(x)
    assert found.shape == expected.shape == (6, 4 + CLASSES, PLACES)
    step = {part: max(float(q.scale) for name, q in sim.quantizers.items()
                      if name.startswith(part) and q.site.role == "activation")
            for part in ("box", "cls")}  # fmt: skip
    difference = (found - expected).abs()
    # d sigmoid <= 1/4; d mean of bins <= half their spread, which is 3 bins of at most 8 pixels
    assert difference[:, 4:].max() <= 6 * step["cls"] / 4
    assert difference[:, :4].max() <= 6 * step["box"] * 8 * 3
    assert difference[:, 4:].mean() <= 0.1 * step["cls"]
    assert difference[:, :4].mean() <= 0.1 * step["box"] * 8


def test_convolutions_run_in_integers(runtime, written):
    kernels = load(written[1], runtime).kernels()
    assert kernels
    if runtime == "onnxruntime":
        assert kernels["QLinearConv"] == 12
        assert kernels["Conv"] <= 1  # the mean of the bins
    elif runtime == "litert":
        assert sum(n for op, n in kernels.items() if "CONV" in op and "int8" in op) == 12


def test_one_picture_is_computed_as_in_a_batch(runtime, written):
    loaded, x = load(written[1], runtime), pictures(3).numpy()
    np.testing.assert_allclose(loaded.run(x)[1:2], loaded.run(x[1:2]), rtol=1e-5, atol=1e-5)


def test_a_file_written_again_is_the_same(runtime, written, tmp_path):
    sim, path = written
    again = d.export_detector(sim, tmp_path / "again" / path.name, NAMES)
    assert again.read_bytes() == path.read_bytes()


def test_a_note_is_in_ultralytics_words():
    content = FileNote(("a", "b"), (32, 64)).content
    assert content["task"] == "detect"
    assert content["imgsz"] == [32, 64]
    assert content["names"] == {0: "a", 1: "b"}
    assert content["end2end"] is False


def test_a_file_says_what_it_finds(runtime, written):
    path = written[1]
    if runtime == "litert":
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == ["metadata.json"]
            stored = json.loads(archive.read("metadata.json"))
        names = {int(number): name for number, name in stored["names"].items()}
        size = stored["imgsz"]
    else:
        stored = {p.key: p.value for p in onnx.load(path).metadata_props}
        names, size = (ast.literal_eval(stored[key]) for key in ("names", "imgsz"))
    assert names == dict(enumerate(NAMES))
    assert size == [32, 32]
    assert stored["task"] == "detect"
    assert int(stored["stride"]) == 32


@pytest.mark.parametrize("fails", ["export", "onnx.save"])
def test_a_failing_export_leaves_the_earlier_file(tmp_path, monkeypatch, fails):
    sim = observed().simulate(Recipe())
    path = d.export_detector(sim, tmp_path / "net.onnx", NAMES)
    before = hashlib.sha256(path.read_bytes()).hexdigest()

    def failing(*arguments, **options):
        raise RuntimeError("no room")

    monkeypatch.setattr(f"qutils.detection.quantize.{fails}", failing)
    with pytest.raises(RuntimeError, match="no room"):
        d.export_detector(sim, path, ("other", "names", "here"))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert list(tmp_path.iterdir()) == [path]


def test_shares_are_for_litert_alone(runtime):
    assert d.normalized(runtime) == (runtime == "litert")
