from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from qutils.backends.shared.onnx_writer import export_float
from qutils.cli.commands.inputs import Inputs, read_inputs
from qutils.cli.commands.material import read_material
from qutils.quantize.calibration import observe

pytestmark = pytest.mark.usefixtures("folder")


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


@pytest.mark.parametrize("name", ["inputs", "input", ""], ids=["any", "forward", "none"])
def test_the_only_array_of_an_archive_goes_by_three_names(name, quantize):
    x = np.load("data.npy")  # tiny is a Sequential, whose forward takes ``input``
    np.savez("one.npz", **{name: x}) if name else np.savez("one.npz", x)
    result = quantize("nets.py:tiny", "--data", "one.npz", "--simulate-only")
    assert result.exit_code == 0, result.output


def test_another_name_is_refused_with_what_was_expected(quantize):
    np.savez("one.npz", imagez=np.load("data.npy"))
    words = ["nets.py:Sine", "old.onnx", "--data", "one.npz"]
    result = quantize(*words)
    assert result.exit_code == 2
    said = (
        "Expected an array 'x' in one.npz, got 'imagez'. Name it so, or 'inputs', which fits any "
        "network of one input."
    )
    assert said in " ".join(result.output.split())
    assert Path("old.onnx").read_bytes() == b"earlier result"
    np.savez("one.npz", x=np.load("data.npy"))
    assert quantize(*words).exit_code == 0


def test_the_only_array_has_the_name_of_an_onnx_input(quantize):
    graph = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    kept = observe(graph, torch.from_numpy(np.load("data.npy"))).captured
    export_float(kept.module, kept.signature, Path("float.onnx"))
    for name, code in (("input", 0), ("imagez", 2)):
        np.savez("one.npz", **{name: np.load("data.npy")})
        result = quantize("float.onnx", "--data", "one.npz", "--simulate-only")
        assert result.exit_code == code, result.output


def test_an_array_beyond_the_arguments_is_named_alone(quantize):
    x = np.load("data.npy")
    np.savez("two.npz", x=x, y=np.zeros(40, int))
    words = ["nets.py:Sine", "--data", "two.npz", "--simulate-only"]
    result = quantize(*words)
    assert result.exit_code == 2
    said = "y is not an input of Sine.forward(x). Leave it out, or name it as forward does."
    assert said in " ".join(result.output.split())
    np.savez("two.npz", x=x)
    assert quantize(*words).exit_code == 0


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


def test_few_inputs_are_all_used_and_nothing_is_scored(quantize):
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
        ("missing", 2, "bad.npy is missing: correct its path"),
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
        ("two arrays", 2, "does not take a, b: input missing; a, b unknown"),
        ("few labels", 2, "labels of shape [3]"),
        ("float labels", 2, "labels of float64: give whole numbers from 0 on"),
        ("large label", 2, "a label is 3, but nets.py:tiny tells 3 classes apart"),
    ],
)
def test_bad_data_is_named_and_leaves_the_output(name, code, message, quantize):
    result = quantize("nets.py:tiny", "old.onnx", "--data", bad_data(name))
    assert result.exit_code == code, result.output
    assert message in result.output
    assert Path("old.onnx").read_bytes() == b"earlier result"


def test_inputs_are_served_in_order_with_their_labels():
    inputs = Inputs(torch.arange(130.0).reshape(130, 1), torch.arange(130))
    batches = inputs.batches()
    assert [len(x) for x, _ in batches] == [64, 64, 2]
    assert torch.cat([y for _, y in batches if y is not None]).tolist() == list(range(130))
