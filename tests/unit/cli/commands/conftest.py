"""A folder with a file of models and labelled data, as users of ``qutils quantize`` have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from qutils.cli import main

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

class Exponential(Sine):
    def forward(self, x):
        return torch.exp(self.net(x))

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

class Half(Sick):
    def __init__(self):
        super().__init__()
        self.half()

class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.front, self.lstm = nn.Linear(8, 16), nn.LSTM(16, 16, batch_first=True)
        self.act, self.head = nn.GELU(), nn.Linear(16, 5)
    def forward(self, x):
        return self.head(self.act(self.lstm(self.front(x))[0].mean(1)))

def needs(argument):
    return argument
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
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


@pytest.fixture
def quantize(folder: Path) -> Callable[..., Result]:
    """Runs ``qutils quantize`` with these words, in the folder."""
    return lambda *words: CliRunner().invoke(main, ["quantize", *map(str, words)])
