"""Inputs that fit a file and that its network cannot compute: one error, whatever runs it."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.backends.shared.limits import KEY, Limits
from qutils.backends.shared.named_runtime import require_alike
from qutils.errors import InvalidInputError
from qutils.quantize.calibration import calibrate


class Reader(nn.Module):
    """At most 16 token ids below 50."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.places = nn.Embedding(50, 8), nn.Embedding(16, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, ids):
        return self.head((self.words(ids) + self.places.weight[: ids.shape[1]]).mean(1))


def ids(samples: int, length: int, low: int = 0, high: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, (samples, length))


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def file(request, tmp_path_factory):
    if not runtimes.RUNTIMES[request.param].installed:
        pytest.skip(f"{request.param} is not installed")
    x = {"ids": torch.from_numpy(ids(16, 10))}
    sim = calibrate(Reader().eval(), x, target=request.param, dynamic={"ids": {1: "length"}})
    path = export(sim, tmp_path_factory.mktemp(request.param) / "reader.onnx")
    return path, request.param


def test_what_is_beyond_the_network_is_refused_with_the_limit(file):
    path, name = file
    runtime = runtimes.load(path, name)
    for batch, said in (
        (ids(2, 20), "at most 16 along axis 1 of 'ids', got [2, 20]. Cut or split longer inputs."),
        (ids(2, 8, 50, 60), "'ids' from 0 to 49, got 59. Use the vocabulary that the model was"),
        (ids(2, 8, -3, 0), "'ids' from 0 to 49, got -3. Use the vocabulary that the model was"),
    ):
        with pytest.raises(InvalidInputError, match=f"^{re.escape(f'{path} takes {said}')}"):
            runtime.run({"ids": batch})
    assert runtime.run({"ids": ids(2, 16)}).shape == (2, 3)  # the advice works


def test_without_known_limits_the_runtime_refuses_in_the_same_words(file, tmp_path):
    path, name = file
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    runtime = runtimes.load(tmp_path / "foreign.onnx", name)
    said = r"foreign\.onnx cannot run ids \[2, 20\]: .*\. Give values and sizes that the network"
    with pytest.raises(InvalidInputError, match=said):
        runtime.run({"ids": ids(2, 20)})
    assert runtime.run({"ids": ids(2, 16)}).shape == (2, 3)


def test_a_file_without_limits_holds_no_word_of_them(tmp_path):
    sim = calibrate(nn.Linear(4, 2), torch.randn(8, 4))
    assert KEY not in {
        one.key for one in onnx.load(export(sim, tmp_path / "a.onnx")).metadata_props
    }
    assert Limits.loads(None) == Limits.loads("") == Limits()


def test_unequal_numbers_of_samples():
    require_alike({"a": 2, "b": 2})
    with pytest.raises(InvalidInputError, match=r"numbers of samples: a 2, b 3\. Give as many"):
        require_alike({"a": 2, "b": 3})
