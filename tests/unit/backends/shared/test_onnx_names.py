"""Names in ONNX files: outputs keep theirs, and nothing else has them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from qutils.backends.export import export
from qutils.backends.runtimes import load
from qutils.backends.shared.onnx_writer import compact
from qutils.quantize.calibration import calibrate


def test_constants_of_several_readers_have_names_of_their_own():
    """The second constant of one reader's copy must not be called as another reader's copy is."""
    stored = [
        numpy_helper.from_array(np.ones(3, np.int8), "w"),
        numpy_helper.from_array(np.float32(0.5), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["d"]),
        onnx.helper.make_node("Add", ["x", "d"], ["add"]),
        onnx.helper.make_node("Add", ["add", "d"], ["add_2"]),
    ]
    values = [onnx.helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in ("x", "add_2")]
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:], stored)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    onnx.checker.check_model(compact(model), full_check=True)


class Named(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.other = nn.Linear(6, 4), nn.Linear(6, 4)
        self.register_buffer("stored", torch.ones(2, 4))
        self.function = function

    def forward(self, x):
        return self.function(self, x)


OUTPUTS = {
    "names of operators": lambda m, x: {"mul": m.layer(x) * m.other(x), "add": m.layer(x).relu()},
    "twice": lambda m, x: dict.fromkeys(("a", "b"), m.layer(x)),
    "the input": lambda m, x: {"y": m.layer(x), "same": x},
}


@pytest.mark.parametrize("function", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_outputs_keep_their_names(function, tmp_path):
    model, x = Named(function).eval(), torch.randn(3, 6)
    path = export(calibrate(model, {"x": x}), tmp_path / "net.onnx")
    got = load(path).run({"x": x.numpy()})
    wanted = model(x)
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value.detach().numpy(), atol=0.1)
