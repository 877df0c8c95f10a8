"""YOLO26's second head is quantized, written and scored beside its first."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
import torch

from qutils import detection as d
from qutils.detection.miniature import architecture
from qutils.lab.studies import detection
from qutils.lab.studies.detection import heads
from tests.unit.lab.studies.detection.test_results import three

PLAN = d.ShapesPlan(train=8, calibration=8, val=8, size=64)


def material(network, folder):
    for package in ("ultralytics", "skimage"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: make detection")
    yolo = d.ultralytics.library().YOLO(architecture(network, folder))
    head = yolo.model.model[-1]
    for branch in getattr(head, "one2one_cv2", None) or ():  # untrained, a copy of the first
        torch.nn.init.normal_(branch[-1].bias)
    yolo.save(str(folder / f"{network}.pt"))
    data = d.read_detection_data(d.generate_shapes(folder, PLAN))
    pictures = d.PictureFiles(data.calibration(8), PLAN.size)
    return detection.Material(data, pictures, (d.read_weights(folder / f"{network}.pt"),))


def profile():
    return detection.choose("smoke", runtimes=["onnxruntime"], size=PLAN.size)


def test_a_network_of_one_head_has_no_second(tmp_path):
    assert heads.measure(material("yolo11n-mini", tmp_path), profile(), three()) == []


@pytest.mark.slow
def test_the_second_head_is_quantized_and_scored(tmp_path, monkeypatch):
    network = "yolo26n-mini"
    written = []

    def export(sim, path, names):
        written.append(sim.captured.module)
        return d.export_detector(sim, path, names)

    monkeypatch.setattr(heads, "export_detector", export)
    given = material(network, tmp_path)
    first = [replace(one, network=network, runtime="onnxruntime") for one in three()]
    found = heads.measure(given, profile(), first)
    assert [(one.head, one.runtime) for one in found] == [
        ("one2many", "onnxruntime"),
        ("one2one", "onnxruntime"),
    ]
    x = given.pictures[:1]
    with torch.no_grad():
        got = written[0](x)
        many, one = (d.as_detector(given.networks[0], PLAN.size, head)(x) for head in d.HEADS)
    torch.testing.assert_close(got, one, rtol=1e-3, atol=1e-2)
    assert (got - many).abs().max() > 0.1
    assert found[0].int8.map50_95 == 59.5
    assert found[1].fp32.pictures == found[1].int8.pictures == PLAN.val
    assert found[1].size_bytes > 2e5
    table = heads.head_table(found)
    assert list(table["suppression"]) == ["needed", "none"]
    assert table["lost [points]"][0] == "+0.50"
    rows = detection.rows(first, [], found, profile())
    assert [row.model for row in rows] == [network] * 3 + [f"{network}-one2one"]
