"""Ultralytics' weights as detectors of ours, and scores as it gives them."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
import yaml

from qutils import detection as d
from qutils.backends.runtimes import load
from qutils.detection.labels import label_file
from qutils.errors import DataError, InvalidInputError, UnsupportedError
from qutils.numerics.schemes import Recipe
from tests.unit.detection.tiny import pictures, write_label

pytestmark = pytest.mark.usefixtures("yolo")
SIZE = 64
PLACES = 8 * 8 + 4 * 4 + 2 * 2
#: At which a miniature has about as many places.
LARGER = 128


class Foreign:
    """A class that no list of known ones holds."""


# Weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "second"), [("yolo11n", False), ("yolo26n", True)])
def test_weights_are_read(untrained, name, second):
    weights = d.read_weights(untrained(name))
    assert weights.path == untrained(name)
    assert len(weights.names) == 80
    assert weights.end_to_end == second
    assert not weights.network.training
    assert {p.dtype for p in weights.network.parameters()} == {torch.float32}


def test_weights_of_another_task_are_refused(untrained):
    with pytest.raises(UnsupportedError, match=r"weights for 'classify'.*only detection"):
        d.read_weights(untrained("yolo11n-cls"))


@pytest.mark.parametrize("content", [b"", b"no weights", "torn"], ids=["empty", "text", "torn"])
def test_a_damaged_file_is_refused(tmp_path, untrained, content):
    path = tmp_path / "bad.pt"
    whole = untrained("yolo11n").read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "torn" else content)
    with pytest.raises(DataError, match="holds no weights that can be read") as error:
        d.read_weights(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_pickle_of_unknown_classes_is_refused(tmp_path):
    path = tmp_path / "foreign.pt"
    torch.save({"model": Foreign()}, path)
    with pytest.raises(DataError, match="holds no weights that can be read"):
        d.read_weights(path)


class Runs:
    """Unpickled, it would make a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


@pytest.mark.slow(reason="imports the package in a process of its own")
@pytest.mark.parametrize(
    "first",
    [
        pytest.param("qutils", marks=pytest.mark.nightly(reason="the other order is the harder")),
        "ultralytics",
    ],
)
def test_code_in_a_pickle_is_not_executed_whoever_was_imported_first(tmp_path, first):
    """The package decides when it is imported whether it executes pickles."""
    trace, path = tmp_path / "trace", tmp_path / "runs.pt"
    torch.save({"model": Runs(trace)}, path)
    imported = "d.ultralytics.torchvision(); import ultralytics.nn.tasks"
    code = (
        "import os, qutils as q; d = q.detection; os.environ.pop('ULTRALYTICS_SAFE_LOAD', 0)\n"
        f"{imported if first == 'ultralytics' else ''}\n"
        f"try: d.read_weights({str(path)!r})\n"
        "except q.DataError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "refused" in done.stdout, done.stderr
    assert not trace.exists()


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_OFFLINE", "True")
    path = tmp_path / "gone.pt"
    with pytest.raises(DataError, match=re.escape(f"{path} is missing")):
        d.read_weights(path)


@pytest.mark.parametrize("name", ["yolo11n.onnx", "yolo11n", "yolo11n.yaml"])
def test_other_endings_are_refused(name):
    with pytest.raises(InvalidInputError, match=r"is no \.pt file: give weights of Ultralytics"):
        d.read_weights(name)


# Detectors ----------------------------------------------------------------------------------------


def stirred(weights: d.Weights, x: torch.Tensor | None = None) -> d.Weights:
    """Untrained networks hardly look at the picture: with statistics of their own they do."""
    norms = [m for m in weights.network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        weights.network.train()(pictures(8, (SIZE, SIZE)) if x is None else x)
    weights.network.eval()
    return weights


@torch.no_grad()
@pytest.mark.parametrize("size", [SIZE, (64, 96)], ids=["square", "wide"])
@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_a_detector_predicts_as_its_network(untrained, name, size):
    weights = stirred(d.read_weights(untrained(name)))
    x = pictures(2, (size, size) if isinstance(size, int) else size)
    head = weights.network.model[-1]
    if weights.end_to_end:
        head.end2end = False
    expected = weights.network(x)[0]
    found = d.as_detector(weights, size)(x)
    assert expected.shape == found.shape
    assert (expected[0] - expected[1]).abs().max() > 1  # it looks at the picture
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


@torch.no_grad()
def test_the_second_head_predicts_what_the_network_takes_its_best_boxes_from(untrained):
    weights = stirred(d.read_weights(untrained("yolo26n")))
    x = pictures(2, (SIZE, SIZE))
    head = weights.network.model[-1]
    head.end2end = True
    for branch in (*head.one2one_cv2, *head.one2one_cv3):  # untrained, it is a copy of the first
        branch[-1].bias += torch.randn(branch[-1].bias.shape)
    found = d.as_detector(weights, SIZE, "one2one")(x)
    best = weights.network(x)[0]  # [N, K, 6]: corners, probability, class
    assert best.shape[2] == 6
    x0y0, x1y1 = found[:, :2] - found[:, 2:4] / 2, found[:, :2] + found[:, 2:4] / 2
    corners = torch.cat([x0y0, x1y1], 1).transpose(1, 2)
    for i in range(2):
        distance = (best[i, :20, None, :4] - corners[i]).abs().amax(2)  # [K, A]
        at = distance.argmin(1)
        assert distance.amin(1).max() < 1e-3
        probability = found[i, 4 + best[i, :20, 5].long(), at]
        torch.testing.assert_close(probability, best[i, :20, 4], rtol=0, atol=1e-4)
    first = d.as_detector(weights, SIZE)(x)
    assert (found - first).abs().max() > 1e-2  # the other head says something else


@torch.no_grad()
def test_normalized_detectors_give_shares(untrained):
    weights = d.read_weights(untrained("yolo11n"))
    x = pictures(1, (64, 96))
    pixels, shares = (d.as_detector(weights, (64, 96), normalized=n)(x) for n in (False, True))
    unit = torch.tensor([96.0, 64, 96, 64])[:, None]
    torch.testing.assert_close(shares[:, :4] * unit, pixels[:, :4])


def test_the_weights_stay_as_they_are(untrained):
    weights = d.read_weights(untrained("yolo11n"))
    before = {name: value.clone() for name, value in weights.network.state_dict().items()}
    detector = d.as_detector(weights, SIZE)
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.zero_()
    assert all(torch.equal(v, before[k]) for k, v in weights.network.state_dict().items())


@pytest.mark.parametrize("size", [65, 0, -32, (64, 48)], ids=str)
def test_sizes_that_strides_do_not_divide_are_refused(untrained, size):
    with pytest.raises(InvalidInputError, match="give multiples of 32"):
        d.as_detector(d.read_weights(untrained("yolo11n")), size)


def test_heads_that_are_not_there_are_refused(untrained):
    weights = d.read_weights(untrained("yolo11n"))
    with pytest.raises(UnsupportedError, match="has no second head"):
        d.as_detector(weights, SIZE, "one2one")
    with pytest.raises(InvalidInputError, match="choose from one2many, one2one"):
        d.as_detector(weights, SIZE, "both")


# Scores -------------------------------------------------------------------------------------------


class Perfect:
    """Predicts the labels of the split's pictures, in the order of the loader."""

    def __init__(self, data: d.DetectionData, wrong_class: bool = False) -> None:
        self.pictures, self.classes = list(data.pictures("val")), len(data.names)
        self.wrong_class = wrong_class

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(len(x), 4 + self.classes, PLACES)
        for i in range(len(x)):
            lines = label_file(self.pictures.pop(0)).read_text().splitlines()
            for place, line in enumerate(lines):
                label, *box = map(float, line.split())
                found[i, :4, place] = torch.tensor(box) * SIZE
                found[i, 4 + (int(label) + self.wrong_class) % self.classes, place] = 0.9
        return found


@pytest.mark.parametrize("batch", [3, 16])
def test_perfect_predictions_score_a_hundred(data, batch):
    scores = d.score(Perfect(data), data, SIZE, batch=batch)
    assert scores.pictures == 8
    assert scores.map50 == pytest.approx(99.5, abs=0.6)  # its curve ends below 100
    assert scores.map50_95 == pytest.approx(99.5, abs=0.6)
    assert len(scores.per_class) == len(data.names)


def test_wrong_classes_score_nothing(data):
    assert d.score(Perfect(data, wrong_class=True), data, SIZE).map50 < 5


def test_boxes_without_suppression_score_the_same(data):
    """``[N, K, 6]`` of the same boxes, corners, probability and class."""
    perfect = Perfect(data)

    def corners(x):
        found = perfect(x)
        confidence, label = found[:, 4:].max(1)
        low, high = found[:, :2] - found[:, 2:4] / 2, found[:, :2] + found[:, 2:4] / 2
        return torch.cat([low, high, confidence[:, None], label[:, None]], 1).transpose(1, 2)

    scores = d.score(corners, data, SIZE, end_to_end=True)
    assert scores == d.score(Perfect(data), data, SIZE)


def test_suppressed_boxes_are_corners_with_confidence_and_class(data):
    found = d.suppressed(Perfect(data)(torch.zeros(8, 3, SIZE, SIZE)))
    for boxes, picture in zip(found, data.pictures("val"), strict=True):
        rows = [line.split() for line in label_file(picture).read_text().splitlines()]
        assert len(boxes) == len(rows)
        assert sorted(boxes[:, 5].int().tolist()) == sorted(int(row[0]) for row in rows)
        assert torch.all(boxes[:, 4] == 0.9)
        assert torch.all(boxes[:, :2] < boxes[:, 2:4])


def labelled_by(predict, data, folder) -> d.DetectionData:
    """The pictures of ``val`` with what a network finds there as labels: it finds them again."""
    for path in data.pictures("val"):
        picture = folder / "images" / "val" / path.name
        picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, picture)
        (boxes,) = d.suppressed(predict(d.read_pictures([path], LARGER)))
        corners = boxes[:6, :4].clamp(0, LARGER) / LARGER
        middle, extent = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        rows = torch.cat([boxes[:6, 5:], middle, extent], 1).tolist()
        text = "".join(f"{int(row[0])} {' '.join(f'{x:.6f}' for x in row[1:])}\n" for row in rows)
        write_label(picture, text)
    train = str(data.pictures("train")[0].parent)
    content = {"path": str(folder), "train": train, "val": "images/val"}
    (folder / "data.yaml").write_text(yaml.safe_dump({**content, "names": list(data.names)}))
    return d.read_detection_data(folder / "data.yaml")


def spread_out(weights, last, x) -> None:
    """Give a branch's last convolution logits of mean -4 and deviation 2: few places see a lot."""
    seen = []
    handle = last.register_forward_hook(lambda module, args, out: seen.append(out))
    weights.network(x)
    handle.remove()
    mean, deviation = seen[0].mean((0, 2, 3)), seen[0].std((0, 2, 3))
    last.weight *= (2 / deviation)[:, None, None, None]
    last.bias.copy_((last.bias - mean) * 2 / deviation - 4)


@pytest.fixture(scope="module")
def finding(data, trained):
    """Weights that find some boxes in the pictures of ``val``, and their graph."""
    x = d.read_pictures(data.pictures("val"), LARGER)
    with torch.no_grad():
        weights = stirred(d.read_weights(trained), x)
        head = weights.network.model[-1]
        for box, cls in zip(head.cv2, head.cv3, strict=True):
            spread_out(weights, cls[-1], x)
            box[-1].bias.view(4, -1)[:, 1] += 4.0  # about a stride to each side
    return weights, d.trace_detector(d.as_detector(weights, LARGER))


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        "onnxruntime",
        pytest.param("litert", marks=pytest.mark.nightly(reason="the note in a file is the same")),
    ],
)
def test_our_file_is_scored_as_ultralytics_scores_it(yolo, data, finding, tmp_path, target):
    """The package reads our file by its note, and ``yolo val`` finds what ``score`` finds."""
    pytest.importorskip({"litert": "ai_edge_litert"}.get(target, target))
    x = d.read_pictures(data.pictures("val"), LARGER)
    weights, graph = finding
    shares = d.normalized(target)
    detector = d.as_detector(weights, LARGER, normalized=shares)
    sim = d.observe_detector(detector, x, target, graph=graph).simulate(Recipe())
    ending = {"litert": ".tflite"}.get(target, ".onnx")
    path = d.export_detector(sim, tmp_path / f"ours{ending}", weights.names)
    data = labelled_by(d.as_detector(weights, LARGER), data, tmp_path / "labelled")
    ours = d.score(d.Prediction(load(path, target), shares), data, LARGER, batch=1)
    options = {"imgsz": LARGER, "batch": 1, "plots": False, "workers": 0}
    theirs = yolo(str(path), task="detect").val(
        data=str(data.yaml), device="cpu", project=str(tmp_path), verbose=False, **options
    )
    assert theirs.names == dict(enumerate(data.names))
    assert 5 < ours.map50_95 < ours.map50 < 95
    assert ours.map50 == pytest.approx(100 * theirs.box.map50, abs=0.01)
    assert ours.map50_95 == pytest.approx(100 * theirs.box.map, abs=0.01)


def test_the_packages_patches_of_other_libraries_are_taken_back(yolo):
    from PIL import Image

    assert Image.open.__module__ == "PIL.Image"
    assert torch.save.__module__ == "torch.serialization"


@pytest.mark.slow(reason="imports the package in a process of its own")
def test_processes_that_are_started_later_have_the_environment_that_was():
    code = (
        "import os; before = dict(os.environ)\n"
        "from qutils import detection as d; d.ultralytics.library()\n"
        "print([k for k in {*os.environ, *before} if os.environ.get(k) != before.get(k)])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    own = {"YOLO_AUTOINSTALL", "YOLO_VERBOSE", "ULTRALYTICS_SAFE_LOAD"}
    assert set(ast.literal_eval(done.stdout)) <= {*own, "TORCHINDUCTOR_CACHE_DIR"}  # torch's
