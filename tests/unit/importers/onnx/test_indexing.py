"""Operators that read computed indices, as second input of the network."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

import qutils as q
from qutils.importers.onnx import import_onnx
from tests.unit.importers.onnx.files import normal
from tests.unit.importers.onnx.test_operators import run

N = helper.make_node
INTEGERS = np.random.default_rng(0).integers


def save(path, nodes: list[NodeProto], tensors, inputs, outputs):
    """A file of several inputs; their shapes are ``[n, ...]``."""
    values = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), ["n", *array.shape[1:]]
        )
        for name, array in inputs.items()
    ]
    results = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    stored = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "g", values, results, stored)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


FLOAT, INT = {"y": TensorProto.FLOAT}, {"y": TensorProto.INT64}
X = normal(4, 5, 6)
CASES = {  # nodes, stored tensors, inputs, outputs
    "gather elements": (
        [N("GatherElements", ["x", "i"], ["y"], axis=1)],
        {},
        {"x": X, "i": INTEGERS(-5, 5, (4, 3, 6))},
        FLOAT,
    ),
    "gather points": (
        [N("GatherND", ["x", "i"], ["y"], batch_dims=1)],
        {},
        {"x": X, "i": INTEGERS(0, 5, (4, 3, 2))},
        FLOAT,
    ),
    "rows of a table of three axes": (
        [N("Gather", ["t", "i"], ["y"], axis=0)],
        {"t": normal(7, 2, 3)},
        {"i": INTEGERS(-7, 7, (4, 3))},
        FLOAT,
    ),
    "columns by number": (
        [N("Gather", ["t", "i"], ["y"], axis=1)],
        {"t": normal(3, 9)},
        {"i": INTEGERS(0, 9, (4, 2))},
        FLOAT,
    ),
    "one of many": (
        [N("OneHot", ["i", "depth", "values"], ["y"], axis=1)],
        {"depth": np.array(5), "values": np.float32([-1, 2])},
        {"i": INTEGERS(-5, 5, (4, 3))},
        FLOAT,
    ),
    "scattered elements": (
        [N("ScatterElements", ["x", "i", "u"], ["y"], axis=2)],
        {},
        {"x": X, "i": INTEGERS(0, 6, (4, 5, 1)), "u": normal(4, 5, 1, seed=1)},
        FLOAT,
    ),
    "largest": (
        [N("TopK", ["x", "k"], ["y", "places"], axis=1)],
        {"k": np.array([2])},
        {"x": X},
        FLOAT | {"places": TensorProto.INT64},
    ),
    "sampled": (
        [N("GridSample", ["x", "i"], ["y"], mode="bilinear", align_corners=1)],
        {},
        {"x": normal(4, 2, 5, 6), "i": np.clip(normal(4, 3, 3, 2), -1, 1)},
        FLOAT,
    ),
    "two activations": (
        [N("Transpose", ["x"], ["t"], perm=[0, 2, 1]), N("MatMul", ["x", "t"], ["y"])],
        {},
        {"x": X},
        FLOAT,
    ),
    "contraction": (
        [N("Einsum", ["x", "z"], ["y"], equation="bij,bkj->bik")],
        {},
        {"x": X, "z": normal(4, 3, 6)},
        FLOAT,
    ),
    "chosen": (
        [N("Greater", ["x", "z"], ["g"]), N("Where", ["g", "x", "z"], ["y"])],
        {},
        {"x": X, "z": normal(4, 5, 6, seed=2)},
        FLOAT,
    ),
    "kind": ([N("Cast", ["x"], ["y"], to=TensorProto.INT64)], {}, {"x": 9 * X}, INT),
}


@pytest.mark.parametrize("name", CASES)
def test_operators_of_computed_operands(name, tmp_path):
    nodes, tensors, inputs, outputs = CASES[name]
    file = save(tmp_path / "m.onnx", nodes, tensors, inputs, outputs)
    expected = run(file, *inputs.values())
    example = {key: torch.from_numpy(value) for key, value in inputs.items()}
    found = import_onnx(file, example).module(*example.values())
    results = list(found.values()) if isinstance(found, dict) else [found]
    for ours, theirs in zip(results, expected, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=2e-6)


def test_the_largest_over_the_batch_is_refused(tmp_path):
    nodes = [N("ArgMax", ["x"], ["y"], "head/best", axis=0)]
    file = save(tmp_path / "m.onnx", nodes, {}, {"x": X}, INT)
    with pytest.raises(q.UnsupportedError, match=r"ArgMax \(node head/best\) .* of a batch"):
        import_onnx(file)
