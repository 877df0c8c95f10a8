"""``qutils quantize`` on networks with several inputs, and on token ids."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from qutils.backends import runtimes
from qutils.cli.commands.named import NamedPairs, NamedSamples, named_samples
from qutils.errors import InvalidInputError

READERS = """
import torch
from torch import nn

class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.norm = nn.Embedding(20, 8), nn.LayerNorm(8)
        self.mix, self.score = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, ids, mask):
        states = self.norm(self.mix(self.words(ids))) * mask.unsqueeze(-1)
        return {"states": states, "score": self.score(states.mean(1))}

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.Embedding(20, 8), nn.Linear(8, 3)

    def forward(self, ids):
        return self.head(self.words(ids).mean(1))
"""


@pytest.fixture
def texts(folder):
    random = np.random.default_rng(0)
    (folder / "readers.py").write_text(READERS)
    ids, mask = random.integers(0, 20, (60, 6)), np.ones((60, 6), np.float32)
    np.savez(folder / "two.npz", ids=ids, mask=mask)
    np.savez(folder / "ids.npz", inputs=ids.astype(np.int32), labels=random.integers(0, 3, 60))
    return folder


def test_arrays_go_to_the_arguments_they_are_named_for(texts, quantize):
    result = quantize("readers.py:Reader", "net.onnx", "--data", "two.npz")
    assert result.exit_code == 0, result.output
    assert "data: two.npz (60 inputs, 12 of them held back to score); ids [N, 6], mask [N, 6]" in (
        result.stdout
    )
    for output in ("states", "score"):
        for pair in ("float to simulated", "float to integer", "simulated to integer"):
            assert f"SQNR of {output}, {pair}: " in result.stdout
    assert "same prediction" not in result.stdout  # states are no classes
    assert set(runtimes.load("net.onnx").inputs) == {"ids", "mask"}


def test_token_ids_called_inputs_go_to_the_only_argument(texts, quantize):
    result = quantize("readers.py:Tokens", "net.onnx", "--data", "ids.npz")
    assert result.exit_code == 0, result.output
    assert "top-1 of W8A8, integer (onnxruntime): " in result.stdout
    assert list(runtimes.load("net.onnx").inputs) == ["ids"]


def test_an_onnx_file_of_several_inputs_is_read(texts, quantize):
    assert quantize("readers.py:Reader", "int8.onnx", "--data", "two.npz").exit_code == 0
    from qutils.backends.shared.onnx_writer import export_float
    from qutils.cli.commands.models import read_model
    from qutils.quantize.calibration import observe

    model = read_model("readers.py:Reader")
    with np.load("two.npz") as data:
        samples = {name: torch.from_numpy(data[name]) for name in data}
    captured = observe(model, samples).captured
    export_float(captured.module, captured.signature, Path("float.onnx"))
    result = quantize("float.onnx", "again.onnx", "--data", "two.npz")
    assert result.exit_code == 0, result.output
    assert "imported: outputs differ" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["readers.py:Reader", "net.onnx", "--data", "ids.npz"],
            "does not take ids: mask missing. Name",
        ),
        (
            ["readers.py:Reader", "net.onnx", "--target", "tensorrt", "--data", "two.npz"],
            "Use target onnxruntime",
        ),
        (
            ["readers.py:Reader", "--simulate-only", "--data", "two.npz", "--qat-epochs", "1"],
            "need one",
        ),
    ],
    ids=["missing", "target", "training"],
)
def test_what_does_not_fit_is_refused(words, message, texts, quantize):
    before = sorted(texts.iterdir())
    result = quantize(*words)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert [p for p in sorted(texts.iterdir()) if p.name != "__pycache__"] == before


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"a": np.zeros((3, 2)), "b": np.zeros((2, 2))},
            r"data.npz: Inputs of one batch hold different .*: a \[3, 2\], b \[2, 2\]. Give as",
        ),
        ({"a": np.zeros((0, 2)), "b": np.zeros((0, 2))}, r"empty arrays: a \[0, 2\], b \[0, 2\]"),
        ({"a": np.full((3, 2), np.nan), "b": np.zeros((3, 2))}, "NaN or Inf in 'a'"),
        ({"a": np.array(["x", "y"]), "b": np.zeros(2)}, "in 'a'. Give floats, integers or bool"),
    ],
    ids=["unequal", "empty", "nan", "text"],
)
def test_arrays_that_are_no_samples(arrays, message):
    with pytest.raises(InvalidInputError, match=message):
        named_samples(arrays, Path("data.npz"))


def test_samples_are_cut_like_one_tensor():
    samples = NamedSamples({"a": torch.arange(100), "b": torch.zeros(100, 2)})
    assert len(samples) == 100
    assert len(samples[:3]) == 3
    assert samples[torch.tensor([5, 7])].tensors["a"].tolist() == [5, 7]
    assert [len(batch["a"]) for batch in samples] == [64, 36]


STEPS = """
import torch
from torch import nn

class Step(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.see, self.cell, self.out = nn.Linear(8, 8), nn.LSTMCell(8, 6), nn.Linear(6, 2)

    def forward(self, x, state, rate):
        h, c = self.cell(self.see(x).relu() * (rate / 16000), (state[0], state[1]))
        return {"score": self.out(h), "state": torch.stack([h, c])}
"""


@pytest.mark.slow(reason="a recurrent network; test_open_axes.py has the steps")
def test_a_state_beside_a_scalar_and_an_axis_of_any_length(texts, quantize):
    (texts / "steps.py").write_text(STEPS)
    random = np.random.default_rng(0)
    np.savez(
        "steps.npz",
        x=random.normal(size=(50, 8)),
        state=random.normal(size=(2, 50, 6)),
        rate=np.array(16000),
    )
    result = quantize("steps.py:Step", "step.onnx", "--data", "steps.npz")
    assert result.exit_code == 0, result.output
    assert "(50 inputs, 10 of them held back to score); x [N, 8], state [2, N, 6], rate []" in (
        result.stdout
    )
    assert "The file computes what was simulated" in result.stdout
    axes = [word for name in ("ids", "mask") for word in ("--dynamic", f"{name}:1=words")]
    result = quantize("readers.py:Reader", "net.onnx", "--data", "two.npz", *axes)
    assert result.exit_code == 0, result.output
    assert runtimes.load("net.onnx").inputs == {"ids": ("N", "words"), "mask": ("N", "words")}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "ids=1",
            "Expected --dynamic INPUT:AXIS=NAME, got 'ids=1'. Name the input, count",
        ),
        (
            "idz:1=words",
            "dynamic names the input 'idz'; the inputs are ids, mask. Correct",
        ),
    ],
)
def test_axes_that_are_not_named_so(word, message, texts, quantize):
    result = quantize("readers.py:Reader", "net.onnx", "--data", "two.npz", "--dynamic", word)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.output.split())
    assert not Path("net.onnx").exists()


def test_texts_with_labels_train(texts, quantize):
    with np.load("ids.npz") as data:
        assert "labels" in data
    words = ["readers.py:Tokens", "--simulate-only", "--data", "ids.npz"]
    plain, trained = quantize(*words), quantize(*words, "--qat-epochs", 3)
    assert trained.exit_code == 0, trained.output
    assert re.search(r"QAT, 3 epochs of \d+ inputs, \d+ a step", trained.stdout)
    assert plain.stdout.split("SQNR")[1:] != trained.stdout.split("SQNR")[1:]


def test_a_tuple_is_read_from_numbered_arrays(folder, quantize):
    (folder / "tuples.py").write_text(TUPLES)
    random = np.random.default_rng(0)
    state = random.uniform(-1, 1, (2, 1, 40, 4)).astype(np.float32)
    x = random.normal(size=(40, 6)).astype(np.float32)
    np.savez("tuples.npz", x=x, state_0=state[0], state_1=state[1])
    result = quantize("tuples.py:Steps", "net.onnx", "--data", "tuples.npz")
    assert result.exit_code == 0, result.output
    assert "float to integer" in result.stdout
    assert list(runtimes.load("net.onnx").inputs) == ["x", "state_0", "state_1"]


TUPLES = """
import torch
from torch import nn

class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.leave = nn.LSTM(6, 4), nn.Linear(4, 3)

    def forward(self, x, state):
        y, _ = self.layer(x[None], state)
        return self.leave(y[0])
"""


def test_batches_come_in_another_order_each_time():
    samples = NamedSamples({"a": torch.arange(10)})
    pairs = NamedPairs(samples, torch.arange(10), batch_size=4, seed=1)
    first, second = ([(x["a"].tolist(), y.tolist()) for x, y in pairs] for _ in range(2))
    assert len(pairs) == len(first) == 2
    assert first != second
    assert all(x == y for x, y in first + second)
    again = NamedPairs(samples, torch.arange(10), batch_size=4, seed=1)
    assert [(x["a"].tolist(), y.tolist()) for x, y in again] == first
