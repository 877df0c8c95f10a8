from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import qutils as q
from qutils.importers.onnx import import_onnx, load_onnx
from tests.unit.importers.onnx.files import normal, save
from tests.unit.importers.onnx.test_operators import run

N = helper.make_node
CONV = N("Conv", ["x", "w"], ["a"], "stem/conv", pads=[1, 1, 1, 1])
WEIGHT = {"w": normal(8, 3, 3, 3)}


def test_several_inputs_and_outputs_by_name(tmp_path):
    """Tokens and their mask, as a text encoder takes them."""
    shape = ["n", "s"]
    graph = helper.make_graph(
        [
            N("Gather", ["table", "ids:0"], ["e"]),
            N("Cast", ["mask"], ["m"], to=TensorProto.FLOAT),
            N("Unsqueeze", ["m", "axis"], ["u"]),
            N("Mul", ["e", "u"], ["hidden"]),
            N("ReduceMean", ["hidden"], ["pooled"], axes=[1], keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.INT64, shape) for n in ("ids:0", "mask")],
        [helper.make_tensor_value_info(n, 1, None) for n in ("hidden", "pooled")],
        [
            numpy_helper.from_array(normal(50, 8), "table"),
            numpy_helper.from_array(np.array([-1]), "axis"),
        ],
    )
    file = tmp_path / "m.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), file)
    ids, mask = torch.randint(0, 50, (3, 12)), torch.randint(0, 2, (3, 12))
    imported = import_onnx(file, {"ids:0": ids, "mask": mask})
    assert [(i.name, i.argument, i.shape, i.dtype) for i in imported.inputs] == [
        ("ids:0", "ids_0", (12,), torch.int64),
        ("mask", "mask", (12,), torch.int64),
    ]
    outputs = imported.module(ids_0=ids, mask=mask)
    expected = dict(zip(imported.outputs, run(file, ids.numpy(), mask.numpy()), strict=True))
    assert list(outputs) == ["hidden", "pooled"]
    for name, value in outputs.items():
        np.testing.assert_allclose(value.detach(), expected[name], atol=1e-6)
    assert isinstance(next(m for m in imported.module.children()), nn.Embedding)
    with pytest.raises(q.InvalidInputError, match=r"has the inputs ids:0, mask, got one tensor"):
        import_onnx(file, ids)
    with pytest.raises(q.InvalidInputError, match=r"has the inputs ids:0, mask, got mask\. Give"):
        import_onnx(file, {"mask": mask})
    assert load_onnx(file, [ids, mask], outputs=["pooled"])(ids, mask).shape == (3, 8)


def test_a_network_in_float16_is_lifted(tmp_path):
    node = N("Conv", ["x", "w"], ["y"])
    half = {"w": WEIGHT["w"].astype(np.float16)}
    kind = TensorProto.FLOAT16
    file = save(tmp_path / "m.onnx", [node], half, kind=kind, result=kind)
    x = torch.randn(3, 3, 8, 8)
    imported = import_onnx(file, x)
    assert imported.notes == ("computed in float32, the file in float16",)
    assert {p.dtype for p in imported.module.parameters()} == {torch.float32}
    expected = run(file, x.numpy().astype(np.float16))[0].astype(np.float32)
    np.testing.assert_allclose(imported.module(x).detach(), expected, atol=5e-3)


@pytest.mark.parametrize("kind", ["dequantized", "cast"])
def test_weights_stored_as_integers_or_halves_are_folded(kind, tmp_path):
    integers = np.random.default_rng(0).integers(-9, 9, (4, 3, 3, 3)).astype(np.int8)
    if kind == "dequantized":
        tensors = {"q": integers, "s": np.float32([0.1, 0.2, 0.3, 0.4])}
        before = N("DequantizeLinear", ["q", "s"], ["w"], axis=0)
    else:
        tensors = {"q": integers.astype(np.float16)}
        before = N("Cast", ["q"], ["w"], to=TensorProto.FLOAT)
    file = save(tmp_path / "m.onnx", [before, N("Conv", ["x", "w"], ["y"])], tensors)
    x = torch.randn(3, 3, 8, 8)
    imported = load_onnx(file)
    np.testing.assert_allclose(imported(x).detach(), run(file, x.numpy())[0], atol=1e-5)
    assert isinstance(next(imported.children()), nn.Conv2d)


def test_functions_of_the_file_are_written_out(tmp_path):
    file = save(tmp_path / "m.onnx", [CONV, N("Twice", ["a"], ["y"], domain="own")], WEIGHT)
    model = onnx.load(file)
    body = [N("Add", ["p", "p"], ["r"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Twice", ["p"], ["r"], body, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, file)
    x = torch.randn(3, 3, 8, 8)
    np.testing.assert_allclose(load_onnx(file)(x).detach(), run(file, x.numpy())[0], atol=1e-5)


def test_nodes_that_no_output_needs_are_left_out(tmp_path):
    nodes = [CONV, N("Det", ["x"], ["unread"], "unread"), N("Relu", ["a"], ["y"])]
    assert isinstance(load_onnx(save(tmp_path / "m.onnx", nodes, WEIGHT)), nn.Module)


def test_old_operator_sets_are_lifted(tmp_path):
    node = N("Upsample", ["x"], ["y"], mode="nearest", width_scale=2.0, height_scale=2.0)
    x = torch.randn(2, 3, 8, 8)
    imported = load_onnx(save(tmp_path / "m.onnx", [node], {}, opset=1))
    torch.testing.assert_close(imported(x), nn.functional.interpolate(x, scale_factor=2))
