"""Graphs as exporters write them: sizes computed from shapes, fixed batches, control flow."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import qutils as q
from qutils.graph import capture
from qutils.importers.onnx import load_onnx
from tests.unit.importers.onnx.files import normal, save
from tests.unit.importers.onnx.test_operators import run

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
    "batch gathered": (
        "Shape a > s\nGather s zero > t\nUnsqueeze t first > u\nConcat u four last > sizes"
    ),
    "all gathered": (
        "Shape a > s\nGather s first > n\nGather s one > c\nGather s two > h\nMul h h > hh\n"
        "Concat n c hh > sizes"
    ),
    "batch merged": "Shape a > s\nGather s first > n\nMul n eight > m\nConcat m last > sizes",
    "two axes open": (
        "Shape a > s\nGather s first > n\nGather s one > c\nMul n c > m\n"
        "Concat m eight last > sizes"
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
    "heads": (
        "Reshape a sizes > h\nReshape h back > y",
        {"sizes": ("B", 2, 4, 64), "back": ("B", 8, 8, 8)},
    ),
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
    nodes = [
        CONV,
        N("ReduceSum", ["a"], ["t"], keepdims=0),
        N("Cast", ["t"], ["b"], to=TensorProto.BOOL),
    ]
    nodes.append(N("If", ["b"], ["y"], "choice", **branches))
    file = save(tmp_path / "m.onnx", nodes, WEIGHT, (1, 3, 8, 8))
    with pytest.raises(q.UnsupportedError, match=r"over the samples .* --outputs a"):
        load_onnx(file)
    assert isinstance(load_onnx(file, outputs=["a"]), nn.Module)
