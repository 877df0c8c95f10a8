from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from qutils import runtimes, zoo
from qutils.cli import main
from qutils.commands.inputs import Inputs, read_inputs
from qutils.commands.material import read_material
from qutils.commands.models import read_model
from qutils.commands.summary import Fidelity
from qutils.errors import DataError, InvalidInputError
from tests.unit.experiments.toy import snapshot

NETS = """
import torch
from torch import nn

def tiny():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4, 3))

instance = tiny()
number = 3

class Sine(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = tiny()
    def forward(self, x):
        return torch.sin(self.net(x))

class Branch(Sine):
    def forward(self, x):
        return self.net(x) if x.sum() > 0 else x

class Pair(Sine):
    def forward(self, x):
        return self.net(x), x

class Sick(Sine):
    def __init__(self):
        super().__init__()
        self.net[0].weight.data[0, 0, 0, 0] = float("nan")

def needs(argument):
    return argument
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a file of models, labelled data, and an output that is there already."""
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 1, 8, 8)).astype(np.float32)
    np.savez("data.npz", inputs=x, labels=rng.integers(0, 3, 40))
    np.save("data.npy", x)
    Path("old.onnx").write_bytes(b"earlier result")
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def quantize(*words: object):
    return CliRunner().invoke(main, ["quantize", *map(str, words)])


def percent(line: str, text: str) -> float:
    found = re.search(rf"^{re.escape(line)}: ([\d.]+) ", text, re.MULTILINE)
    assert found, text
    return float(found[1])


# --- what it does ---


def test_own_model_becomes_an_integer_file():
    result = quantize("nets.py:tiny", "old.onnx", "--data", "data.npz", "--observer", "mse")
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "nets.py:tiny: W8A8, per_channel weights, mse ranges of 32 inputs, PTQ" in text
    assert "weights: as nets.py:tiny makes them" in text
    assert "n = 8)" in text
    for way in ("FP32, float (torch)", "W8A8, simulated (torch)", "W8A8, integer (onnxruntime)"):
        percent(f"top-1 of {way}", text)
    assert percent("SQNR of the outputs, float to integer", text) > 20
    assert percent("same prediction, simulated and integer", text) == 100
    assert re.search(r"weights: FP32 192 bytes, INT8 48 bytes \(0.250\)", text)
    assert "QLinearConv" in text
    assert "Wrote old.onnx" in text
    assert "scoring" in result.stderr
    with np.load("data.npz") as data:  # the accuracy told is that of the file
        held = np.random.default_rng(0).permutation(40)[:8]
        logits = runtimes.load("old.onnx").run(data["inputs"][held])
        top1 = 100 * np.mean(logits.argmax(1) == data["labels"][held])
    assert percent("top-1 of W8A8, integer (onnxruntime)", text) == pytest.approx(top1)


def test_model_of_the_zoo_uses_its_own_data(monkeypatch):
    data = zoo.dataset("fashion_mnist")
    few = replace(data, calibration=data.calibration.take(32), test=data.test.take(64))
    monkeypatch.setitem(zoo.DATASETS, "fashion_mnist", lambda: few)
    result = quantize("resnet8", "--simulate-only")
    assert result.exit_code == 0, result.output
    assert "data: fashion_mnist (64 test pictures)" in result.stdout
    assert percent("top-1 of W8A8, simulated (torch)", result.stdout) > 80


def test_setting_without_kernels_is_simulated_and_says_so(folder):
    before = snapshot(folder)
    words = ("nets.py:instance", "--data", "data.npz", "--weight-bits", 4, "--simulate-only")
    result = quantize(*words)
    assert result.exit_code == 0, result.output
    percent("top-1 of W4A8, simulated (torch)", result.stdout)
    assert "integer (" not in result.stdout
    assert (
        "Nothing was exported. onnxruntime has no integer kernel for 4-bit weights" in result.stdout
    )
    assert {k: v for k, v in snapshot(folder).items() if "__pycache__" not in k} == before


@pytest.mark.parametrize(
    "options",
    [
        ["--weight-bits", 4],
        ["--activation-bits", 6],
        ["--affine"],
        ["--granularity", "per_group", "--group-size", 3],
    ],
    ids=str,
)
def test_setting_without_kernels_is_not_exported(options):
    result = quantize("nets.py:tiny", "old.onnx", "--data", "data.npz", *options)
    assert result.exit_code == 2
    assert "simulated, not exported" in result.output
    assert "--simulate-only" in result.output
    assert Path("old.onnx").read_bytes() == b"earlier result"


def test_training_with_labels_changes_the_model():
    common = ("nets.py:tiny", "--data", "data.npz", "--simulate-only")
    ptq, qat = quantize(*common), quantize(*common, "--qat-epochs", 2, "--seed", 1)
    assert qat.exit_code == 0, qat.output
    assert "QAT, 2 epochs" in qat.stdout
    line = "SQNR of the outputs, float to simulated"
    assert percent(line, qat.stdout) != percent(line, ptq.stdout)


def test_operator_without_kernel_is_kept_in_float_if_allowed():
    result = quantize("nets.py:Sine", "out.onnx", "--data", "data.npy", "--allow-float")
    assert result.exit_code == 0, result.output
    assert "kept in float: sin" in result.stdout
    assert "1 Sin" in result.stdout
    assert "top-1" not in result.stdout  # no labels


# --- where weights come from ---


def weights(offset: float) -> dict[str, torch.Tensor]:
    return {k: v + offset for k, v in read_model("nets.py:tiny").state_dict().items()}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "nested.pt"])
def test_weights_are_read(name):
    state = weights(1.0)
    if name.endswith(".safetensors"):
        save_file(state, name)
    else:
        torch.save({"state_dict": state} if name == "nested.pt" else state, name)
    loaded = read_model("nets.py:tiny", Path(name)).state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_weights_of_another_model_are_refused(name):
    state = {"0.weight": torch.zeros(4, 1, 5, 5)}
    torch.save(state, name) if name == "w.pt" else save_file(state, name)
    with pytest.raises(DataError, match="does not fit Sequential"):
        read_model("nets.py:tiny", Path(name))


class Harm:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("harm"),)


@pytest.mark.parametrize("write", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o, 2))])
def test_pickles_are_refused_and_not_executed(write):
    write({"0.weight": Harm()}, Path("w.pt"))
    result = quantize("nets.py:tiny", "old.onnx", "--data", "data.npz", "--weights", "w.pt")
    assert result.exit_code == 1
    assert "is refused" in result.output
    assert "torch.save(model.state_dict(), path)" in result.output
    assert not Path("harm").exists()
    assert Path("old.onnx").read_bytes() == b"earlier result"


def test_truncated_weights_are_named():
    torch.save(weights(0.0), "w.pt")
    Path("w.pt").write_bytes(Path("w.pt").read_bytes()[:500])
    with pytest.raises(DataError, match="w.pt is corrupt or truncated"):
        read_model("nets.py:tiny", Path("w.pt"))


# --- where data comes from ---


def test_folder_of_inputs_is_read_in_order_of_names():
    x = np.load("data.npy")
    Path("inputs").mkdir()
    for i in range(6):
        np.save(f"inputs/{i}.npy", x[i])
    np.save("inputs/labels.npy", np.arange(6) % 3)
    read = read_inputs(Path("inputs"))
    assert torch.equal(read.x, torch.from_numpy(x[:6]))
    assert read.y is not None
    assert read.y.tolist() == [0, 1, 2, 0, 1, 2]


def test_single_array_of_an_archive_needs_no_name():
    np.savez("one.npz", anything=np.ones((2, 3)), labels=np.array([0, 1]))
    assert read_inputs(Path("one.npz")).x.dtype == torch.float32


def test_scored_inputs_are_used_for_nothing_else():
    x = np.arange(50, dtype=np.float32).reshape(50, 1)
    np.savez("n.npz", inputs=x, labels=np.zeros(50, int))
    material = read_material("n.npz", pictures=16)
    scored = set(material.test.x.flatten().tolist())
    trained = set(material.train.images.flatten().tolist())
    assert len(scored) == 10
    assert len(material.calibration) == 16
    assert set(material.calibration.flatten().tolist()) <= trained
    assert scored | trained == set(range(50))
    assert not scored & trained


def test_few_inputs_are_all_used_and_nothing_is_scored():
    np.save("few.npy", np.load("data.npy")[:3])
    result = quantize("nets.py:tiny", "--data", "few.npy", "--simulate-only")
    assert result.exit_code == 0, result.output
    assert "Not scored" in result.stdout


def bad_data(name: str) -> Path:
    """A file or folder that cannot be used."""
    x = np.load("data.npy")
    path = Path(f"bad.{'npz' if name in ARCHIVES else 'npy'}")
    if name == "missing":
        return path
    if name in ("text", "truncated", "pickled"):
        path.write_bytes(
            {
                "text": b"not an array",
                "truncated": Path("data.npy").read_bytes()[:2000],
                "pickled": pickle.dumps([1]),
            }[name]
        )
    elif name == "cut archive":
        path.write_bytes(Path("data.npz").read_bytes()[:3000])
    elif name in ARCHIVES:
        np.savez(path, **ARCHIVES[name](x))
    else:
        np.save(path, ARRAYS[name](x), allow_pickle=True)
    return path


def _with(x: np.ndarray, value: float) -> np.ndarray:
    x[7, 0, 0, 0] = value
    return x


ARRAYS = {
    "empty": lambda x: x[:0],
    "flat": lambda x: x.ravel(),
    "nan": lambda x: _with(x, np.nan),
    "inf": lambda x: _with(x, np.inf),
    "bytes": lambda x: x.astype(np.uint8),
    "objects": lambda x: np.array([{}, None], dtype=object),
    "wrong shape": lambda x: np.concatenate([x, x], axis=1),
}
ARCHIVES = {
    "cut archive": None,
    "two arrays": lambda x: {"a": x, "b": x},
    "few labels": lambda x: {"inputs": x, "labels": np.zeros(3, int)},
    "float labels": lambda x: {"inputs": x, "labels": np.zeros(40)},
    "large label": lambda x: {"inputs": x, "labels": np.full(40, 3)},
}


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("missing", 2, "neither a file nor a dataset"),
        ("text", 1, "not a sound NumPy file"),
        ("truncated", 1, "not a sound NumPy file (2,000 bytes)"),
        ("pickled", 1, "never unpickled"),
        ("objects", 1, "never unpickled"),
        ("cut archive", 1, "not a sound NumPy file"),
        ("empty", 2, "shape [0, 1, 8, 8]"),
        ("flat", 2, "as [N, ...]"),
        ("nan", 2, "NaN or Inf in 1 of 40 inputs, the first is number 7"),
        ("inf", 2, "NaN or Inf"),
        ("bytes", 2, "inputs of uint8: give floats"),
        ("wrong shape", 2, "cannot run inputs of shape [N, 2, 8, 8]"),
        ("two arrays", 2, "holds the arrays a, b"),
        ("few labels", 2, "labels of shape [3]"),
        ("float labels", 2, "labels of shape [40] and float64"),
        ("large label", 2, "a label is 3, but nets.py:tiny tells 3 classes apart"),
    ],
)
def test_bad_data_is_named_and_leaves_the_output(name, code, message):
    result = quantize("nets.py:tiny", "old.onnx", "--data", bad_data(name))
    assert result.exit_code == code, result.output
    assert message in result.output
    assert Path("old.onnx").read_bytes() == b"earlier result"


# --- what else can be amiss ---


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["resnet9", "o.onnx"], 2, "did you mean 'resnet8'?"),
        (["nets.py:tiny", "o.onnx"], 2, "needs --data"),
        (["nets.py", "o.onnx", "--data", "data.npz"], 2, "write nets.py:NAME"),
        (["nots.py:tiny", "o.onnx", "--data", "data.npz"], 2, "nots.py is missing"),
        (["nets.py:tini", "o.onnx", "--data", "data.npz"], 2, "did you mean 'tiny'?"),
        (["nets.py:number", "o.onnx", "--data", "data.npz"], 2, "is a int"),
        (["nets.py:needs", "o.onnx", "--data", "data.npz"], 2, "without arguments"),
        (["nets.py:Pair", "o.onnx", "--data", "data.npz"], 2, "returns a tuple"),
        (["nets.py:Sick", "o.onnx", "--data", "data.npz"], 2, "0.weight holds NaN"),
        (["nets.py:Sine", "o.onnx", "--data", "data.npz"], 1, "aten.sin in module"),
        (["nets.py:Branch", "o.onnx", "--data", "data.npz"], 1, "cannot trace Branch"),
        (["nets.py:tiny", "o.onnx", "--data", "data.npy", "--qat-epochs", "1"], 2, "needs labels"),
        (["nets.py:tiny", "--data", "data.npz"], 2, "--simulate-only"),
        (["nets.py:tiny", "o.onnx", "--data", "data.npz", "--simulate-only"], 2, "not both"),
        (["nets.py:tiny", "o.pt", "--data", "data.npz"], 2, "reads .onnx files"),
        (["nets.py:tiny", "nets.py/o.onnx", "--data", "data.npz"], 2, "cannot write into"),
        (["resnet8", "o.onnx", "--weight-bits", "9"], 2, "2<=x<=8"),
        (["resnet8", "o.onnx", "--observer", "mze"], 2, "did you mean 'mse'?"),
        (["resnet8", "o.onnx", "--target", "onnxruntim"], 2, "did you mean 'onnxruntime'?"),
        (["resnet8", "o.onnx", "--granularity", "per_group"], 2, "group_size goes with"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_refused(words, code, message):
    result = quantize(*words)
    assert result.exit_code == code, result.output
    assert message in result.output
    assert not Path("o.onnx").exists()


@pytest.mark.parametrize("source", ["import no_such_module", "def (", "raise SystemExit(3)"])
def test_file_that_cannot_be_imported_is_named(source):
    Path("broken.py").write_text(source)
    with pytest.raises(InvalidInputError, match="broken.py cannot be imported"):
        read_model("broken.py:net")


def test_file_may_import_what_lies_beside_it():
    Path("more_nets.py").write_text("from nets import tiny\nnet = tiny()\n")
    assert isinstance(read_model("more_nets.py:net"), torch.nn.Sequential)


def test_failure_at_the_very_end_leaves_the_output(folder, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise DataError("the disk is full")

    monkeypatch.setattr(runtimes, "load", fail)
    result = quantize("nets.py:tiny", "old.onnx", "--data", "data.npz")
    assert result.exit_code == 1
    assert "the disk is full" in result.output
    assert Path("old.onnx").read_bytes() == b"earlier result"
    assert not list(folder.glob(".tmp-*"))


def test_sqnr_and_agreement_follow_their_equations():
    fidelity = Fidelity()
    reference = np.array([[3.0, 4.0], [0.0, 5.0]], np.float32)
    fidelity.add(reference, reference + np.array([[0.0, 0.5], [0.0, 0.0]], np.float32))
    fidelity.add(reference[:1], np.array([[4.0, 4.0]], np.float32))
    assert fidelity.sqnr_db == pytest.approx(10 * np.log10(75 / 1.25))
    assert fidelity.agreement == pytest.approx(200 / 3)


def test_inputs_are_served_in_order_with_their_labels():
    inputs = Inputs(torch.arange(130.0).reshape(130, 1), torch.arange(130))
    batches = inputs.batches()
    assert [len(x) for x, _ in batches] == [64, 64, 2]
    assert torch.cat([y for _, y in batches if y is not None]).tolist() == list(range(130))
