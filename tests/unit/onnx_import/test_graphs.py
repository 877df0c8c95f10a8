"""Graphs as exporters write them: sizes computed from shapes, fixed batches, control flow."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import qutils as q
from qutils.graph import capture
from qutils.onnx_import import import_onnx, load_onnx
from tests.unit.onnx_import.files import normal, save
from tests.unit.onnx_import.test_operators import run

N = helper.make_node
CONV = N("Conv", ["x", "w"], ["a"], "stem/conv", pads=[1, 1, 1, 1])
WEIGHT = {"w": normal(8, 3, 3, 3)}


def lines(text: str) -> list[onnx.NodeProto]:
    """Nodes ``Op a b > y`` of one line each; ``_`` is an input that is left out."""
    nodes = []
    for line in text.strip().splitlines():
        (op, *inputs), outputs = (part.split() for part in line.split(">"))
        names = ["" if name == "_" else name for name in inputs]
        nodes.append(N(op, names, outputs, name=f"node/{outputs[0]}"))
    return nodes


INTEGERS = {
    "zero": np.int64(0),
    "first": np.array([0]),
    "one": np.array([1]),
    "two": np.array([2]),
    "last": np.array([-1]),
    "eight": np.array([8]),
    "four": np.array([4]),
    "far": np.array([2**63 - 1]),
    "half": np.array([2]),
    "step": np.int64(1),
}
#: What computes the sizes of a Reshape of ``a`` [N, 8, 8, 8] from shapes.
COMPUTED = {
    "sliced shape": "Shape a > s\nSlice s first two first > t\nConcat t last > sizes",
    "its own shape": "Shape a > sizes",
    "batch gathered": "Shape a > s\nGather s zero > t\nUnsqueeze t first > u\nConcat u four last > sizes",
    "all gathered": (
        "Shape a > s\nGather s first > n\nGather s one > c\nGather s two > h\nMul h h > hh\n"
        "Concat n c hh > sizes"
    ),
    "batch merged": "Shape a > s\nGather s first > n\nMul n eight > m\nConcat m last > sizes",
    "two axes open": (
        "Shape a > s\nGather s first > n\nGather s one > c\nMul n c > m\nConcat m eight last > sizes"
    ),
    "constant of shape": (
        "Shape one > r\nConstantOfShape r > zeros\nCast zeros > z\nShape a > s\nGather s one > c\n"
        "Concat z c last > sizes"
    ),
    "where equal": (
        "Shape a > s\nSlice s first two first > t\nEqual t eight > e\nWhere e last t > sizes"
    ),
    "expanded range": (
        "Shape a > s\nGather s zero > n\nRange zero step step > r\nExpand n one > m\n"
        "Concat m eight last > sizes"
    ),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_sizes_computed_from_shapes_are_settled(name, tmp_path):
    nodes = [CONV, *lines(COMPUTED[name]), N("Reshape", ["a", "sizes"], ["y"], "shape/reshape")]
    for node in nodes:
        if node.op_type == "Concat":
            node.attribute.append(helper.make_attribute("axis", 0))
        if node.op_type == "Cast":
            node.attribute.append(helper.make_attribute("to", TensorProto.INT64))
    used = {name for node in nodes for name in node.input}
    tensors = {name: value for name, value in INTEGERS.items() if name in used}
    file = save(tmp_path / "m.onnx", nodes, WEIGHT | tensors)
    x = torch.randn(6, 3, 8, 8)
    imported = load_onnx(file, x[:2])
    np.testing.assert_allclose(
        capture(imported, x[:2]).module(x).detach().numpy(), run(file, x.numpy())[0], atol=1e-5
    )


def test_one_computed_size_read_by_two(tmp_path):
    nodes = [
        CONV,
        N("Resize", ["a", "", "scales"], ["b"], mode="nearest"),
        *lines("Shape a > s\nGather s zero > n\nUnsqueeze n first > u"),
        N("Concat", ["u", "eight", "last"], ["sizes"], axis=0),
        N("Reshape", ["a", "sizes"], ["p"]),
        N("Reshape", ["b", "sizes"], ["q"]),
        N("Concat", ["p", "q"], ["y"], axis=2),
    ]
    tensors = {k: INTEGERS[k] for k in ("zero", "first", "eight", "last")}
    tensors["scales"] = np.float32([1, 1, 2, 2])
    file = save(tmp_path / "m.onnx", nodes, WEIGHT | tensors)
    x = torch.randn(6, 3, 8, 8)
    imported = load_onnx(file, x)
    np.testing.assert_allclose(imported(x).detach(), run(file, x.numpy())[0], atol=1e-5)
    assert q.calibrate(imported, x, q.Recipe()).placement.float_nodes == ()


def test_slices_of_every_second_pixel_stay_slices(tmp_path):
    """ONNX Runtime's optimizer would make a SpaceToDepth of them."""
    starts = [(0, 0), (1, 0), (0, 1), (1, 1)]
    nodes = [N("Slice", ["x", f"s{i}", "ends", "axes", "steps"], [f"p{i}"]) for i in range(4)]
    nodes.append(N("Concat", [f"p{i}" for i in range(4)], ["y"], axis=1))
    tensors = {f"s{i}": np.array(start) for i, start in enumerate(starts)}
    tensors |= {"ends": np.array([2**31] * 2), "axes": np.array([2, 3]), "steps": np.array([2, 2])}
    x = torch.randn(4, 3, 8, 8)
    imported = load_onnx(save(tmp_path / "m.onnx", nodes, tensors), x)
    expected = torch.cat([x[:, :, i::2, j::2] for i, j in starts], 1)
    torch.testing.assert_close(imported(x), expected)
    assert not [node for node in imported.graph.nodes if "SpaceToDepth" in str(node.target)]


FIXED = {  # nodes from ``a`` [B, 8, 8, 8] to y, sizes stored for the exporter's batch B
    "flatten": ("GlobalAveragePool a > p\nReshape p sizes > y", {"sizes": ("B", 8)}),
    "minus one after": ("Reshape a sizes > y", {"sizes": ("B", -1, 64)}),
    "rows and back": (
        "Reshape a rows > r\nMatMul r m > s\nReshape s sizes > y",
        {"rows": ("8B", 64), "sizes": ("B", 8, 5)},
    ),
    "minus one rows and back": (
        "Reshape a rows > r\nMatMul r m > s\nReshape s sizes > y",
        {"rows": (-1, 64), "sizes": ("B", -1, 5)},
    ),
    "heads": ("Reshape a sizes > h\nReshape h back > y", {"sizes": ("B", 2, 4, 64), "back": ("B", 8, 8, 8)}),
    "token in front": ("Reshape a sizes > h\nConcat token h > y", {"sizes": ("B", 8, 64)}),
    "expanded": ("GlobalAveragePool a > p\nExpand p wide > y", {"wide": ("B", 8, 4, 4)}),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_batch_is_opened(name, batch, tmp_path):
    text, sizes = FIXED[name]
    nodes = [CONV, *lines(text)]
    for node in nodes:
        if node.op_type == "Concat":
            node.attribute.append(helper.make_attribute("axis", 1))
    known = {"B": batch, "8B": 8 * batch}
    tensors = {k: np.array([known.get(size, size) for size in v]) for k, v in sizes.items()}
    tensors |= {"m": normal(64, 5)} if "m" in text.split() else {}
    tensors |= {"token": np.repeat(normal(1, 1, 64), batch, 0)} if "token" in text else {}
    file = save(tmp_path / "m.onnx", nodes, WEIGHT | tensors, (batch, 3, 8, 8))
    x = torch.randn(6, 3, 8, 8)
    expected = np.concatenate([run(file, piece.numpy())[0] for piece in x.split(batch)])
    module = capture(load_onnx(file, x), x).module
    for rows in (1, 6):
        outputs = module(x[:rows]).detach().numpy()
        np.testing.assert_allclose(outputs, expected[:rows], atol=1e-5)


def subgraph(name: str, nodes: list[onnx.NodeProto], inputs=(), outputs=()) -> onnx.GraphProto:
    values = [helper.make_tensor_value_info(n, kind, shape) for n, kind, shape in inputs]
    results = [helper.make_tensor_value_info(n, kind, shape) for n, kind, shape in outputs]
    return helper.make_graph(nodes, name, values, results)


@pytest.mark.parametrize("taken", [True, False])
def test_a_branch_that_is_known_is_written_out(taken, tmp_path):
    branches = {
        f"{name}_branch": subgraph(
            name, [N(op, ["a"], [f"{name}_y"])], outputs=[(f"{name}_y", TensorProto.FLOAT, None)]
        )
        for name, op in (("then", "Relu"), ("else", "Tanh"))
    }
    nodes = [
        CONV,
        *lines("Shape a > s\nGather s axis > side\nEqual side wanted > same"),
        N("If", ["same"], ["y"], "choice", **branches),
    ]
    tensors = {"axis": np.int64(2), "wanted": np.int64(8 if taken else 9)}
    file = save(tmp_path / "m.onnx", nodes, WEIGHT | tensors)
    x = torch.randn(3, 3, 8, 8)
    np.testing.assert_allclose(load_onnx(file)(x).detach(), run(file, x.numpy())[0], atol=1e-6)


def test_a_loop_of_known_length_is_written_out(tmp_path):
    body = subgraph(
        "body",
        [
            N("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            N("Add", ["state", "f"], ["sum"]),
            N("Relu", ["sum"], ["next"]),
            N("Identity", ["going"], ["again"]),
            N("ReduceMean", ["next"], ["seen"], axes=[2, 3], keepdims=0),
        ],
        [("i", TensorProto.INT64, []), ("going", TensorProto.BOOL, []), ("state", 1, None)],
        [("again", TensorProto.BOOL, []), ("next", 1, None), ("seen", 1, None)],
    )
    nodes = [CONV, N("Loop", ["steps", "", "a"], ["z", "all"], "loop", body=body)]
    nodes += [N("ReduceMean", ["all"], ["m"], axes=[0], keepdims=0), N("Identity", ["m"], ["y"])]
    file = save(tmp_path / "m.onnx", nodes, WEIGHT | {"steps": np.int64(3)})
    x = torch.randn(3, 3, 8, 8)
    np.testing.assert_allclose(load_onnx(file)(x).detach(), run(file, x.numpy())[0], atol=1e-6)


def test_a_branch_that_depends_on_the_input_is_refused_with_a_cut(tmp_path):
    branches = {
        f"{n}_branch": subgraph(n, [N(op, ["a"], [f"{n}_y"])], outputs=[(f"{n}_y", 1, None)])
        for n, op in (("then", "Relu"), ("else", "Tanh"))
    }
    nodes = [CONV, N("ReduceSum", ["a"], ["t"], keepdims=0), N("Cast", ["t"], ["b"], to=TensorProto.BOOL)]
    nodes.append(N("If", ["b"], ["y"], "choice", **branches))
    file = save(tmp_path / "m.onnx", nodes, WEIGHT, (1, 3, 8, 8))
    with pytest.raises(q.UnsupportedError, match=r"over the samples .* --outputs a"):
        load_onnx(file)
    assert isinstance(load_onnx(file, outputs=["a"]), nn.Module)


RECURRENT = {
    f"{op}-{direction}-{layout}-{'states' if states else 'zeros'}": (op, direction, layout, states)
    for op in ("LSTM", "GRU", "RNN")
    for direction in ("forward", "reverse", "bidirectional")
    for layout, states in ((0, False), (0, True))
}


@pytest.mark.parametrize("reset", [0, 1])
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers(name, reset, tmp_path):
    op, direction, _, states = RECURRENT[name]
    if reset and op != "GRU":
        pytest.skip("an attribute of GRU")
    gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 1 + (direction == "bidirectional")
    tensors = {
        "W": normal(ways, gates * 4, 5),
        "R": normal(ways, gates * 4, 4, seed=1),
        "B": normal(ways, gates * 8, seed=2),
    }
    inputs = ["t", "W", "R", "B", ""]
    if states:
        tensors |= {f"h{i}": np.repeat(normal(ways, 1, 4, seed=i), 1, 1) for i in range(2)}
        inputs += ["h0", "h1"][: 2 if op == "LSTM" else 1]
    options = {"linear_before_reset": reset} if op == "GRU" else {}
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
