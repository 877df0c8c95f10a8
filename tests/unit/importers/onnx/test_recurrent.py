from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import helper

from qutils.graph import capture
from qutils.importers.onnx import load_onnx
from tests.unit.importers.onnx.files import normal, save
from tests.unit.importers.onnx.test_operators import run

N = helper.make_node

RECURRENT = {
    f"{op} {direction} {'states' if states else 'zeros'} {reset}": (op, direction, states, reset)
    for op, resets in (("LSTM", (None,)), ("GRU", (0, 1)), ("RNN", (None,)))
    for direction in ("forward", "reverse", "bidirectional")
    for states in (False, True)
    for reset in resets
}


#: In both directions with states, and in one without: the others read parts of the same.
CORE = [name for name in RECURRENT if "bidirectional states" in name or "forward zeros" in name]
_OTHER = pytest.mark.slow(reason="one direction or no states; the core runs both with states")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in CORE else _OTHER) for name in RECURRENT]
)
def test_recurrent_layers(name, tmp_path):
    op, direction, states, reset = RECURRENT[name]
    gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 1 + (direction == "bidirectional")
    tensors = {
        "W": normal(ways, gates * 4, 5),
        "R": normal(ways, gates * 4, 4, seed=1),
        "B": normal(ways, gates * 8, seed=2),
    }
    inputs = ["t", "W", "R", "B", ""]
    if states:
        tensors |= {f"h{i}": normal(ways, 1, 4, seed=i) for i in range(2)}
        inputs += ["h0", "h1"][: 2 if op == "LSTM" else 1]
    options = {} if reset is None else {"linear_before_reset": reset}
    nodes = [
        N("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        N(op, inputs, ["o", "last"], "rnn", hidden_size=4, direction=direction, **options),
        N("Transpose", ["o"], ["p"], perm=[2, 0, 1, 3]),
        N("Transpose", ["last"], ["l"], perm=[1, 0, 2]),
        N("Unsqueeze", ["l", "axis"], ["u"]),
        N("Concat", ["p", "u"], ["y"], axis=1),
    ]
    tensors["axis"] = np.array([1])
    batch = 1 if states else "n"
    file = save(tmp_path / "m.onnx", nodes, tensors, (batch, 6, 5))
    x = torch.randn(4, 6, 5)
    pieces = [run(file, piece.numpy())[0] for piece in x.split(1)]
    module = capture(load_onnx(file, x), x).module
    np.testing.assert_allclose(module(x).detach(), np.concatenate(pieces), atol=1e-5)
