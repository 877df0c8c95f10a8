from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper
from torch import nn

import qutils as q
from qutils.backends.onnxruntime.runtime import optimized_ops
from qutils.backends.shared.onnx_writer import export_float
from qutils.graph import capture
from qutils.importers.onnx import import_onnx, load_onnx
from tests.unit.graph.networks import NETWORKS
from tests.unit.importers.onnx.files import (
    channels_last,
    normal,
    save,
    small_network,
)

EXPORTERS = {
    "dynamo": {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)},
    "dynamo-batch-of-one": {"dynamo": True},
    "torchscript": {"dynamo": False, "dynamic_axes": {"x": {0: "n"}}},
    "torchscript-batch-of-one": {"dynamo": False},
}


def write(net: nn.Module, path: Path, exporter: str, shape: tuple[int, ...] = (3, 8, 8)) -> Path:
    """The file that PyTorch itself writes."""
    example = torch.zeros(1 if exporter.endswith("one") else 2, *shape)
    options = {"input_names": ["x"], "verbose": False, **EXPORTERS[exporter]}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (example,), str(path), **options)
    return path


def ort_outputs(path: Path, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_files_of_pytorch_become_the_network_they_came_from(exporter, tmp_path):
    net = small_network()
    imported = import_onnx(write(net, tmp_path / "net.onnx", exporter))
    x = torch.randn(5, 3, 8, 8)
    torch.testing.assert_close(imported.module(x), net(x), rtol=1e-4, atol=1e-5)
    assert imported.input_shape == (3, 8, 8)
    assert 0 < imported.difference < 1e-5
    weights = {n for n, _ in imported.module.named_parameters() if n.endswith("weight")}
    assert weights == {"first.weight", "depthwise.weight", "head.weight"}  # names survive


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript-batch-of-one"])
def test_quantized_like_the_network_it_came_from(exporter, tmp_path):
    net, x = small_network(), torch.randn(32, 3, 8, 8)
    imported = load_onnx(write(net, tmp_path / "net.onnx", exporter), x)
    ours, theirs = (q.calibrate(model, x, q.Recipe()) for model in (imported, net))
    torch.testing.assert_close(
        ours(x), theirs(x), rtol=0, atol=2e-3 * float(theirs(x).detach().abs().max())
    )
    assert ours.placement.float_nodes == ()
    files = [q.export(sim, tmp_path / f"{i}.onnx") for i, sim in enumerate((ours, theirs))]
    counts = [optimized_ops(file) for file in files]
    assert counts[0].counts == counts[1].counts
    assert counts[0].float_layers == ()


@pytest.mark.parametrize(
    "name",
    ["linear-3d", "conv1d", "clamp-min", "vgg", "shuffle-unit", "squeeze-expand"],
)
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript", "torchscript-batch-of-one"])
def test_networks_as_people_write_them(name, exporter, tmp_path):
    network = NETWORKS[name]
    net, x = network.make().eval(), network.inputs(16)
    imported = load_onnx(write(net, tmp_path / "net.onnx", exporter, network.shape), x)
    torch.testing.assert_close(imported(x), net(x), rtol=1e-4, atol=1e-5)
    assert q.calibrate(imported, x, q.Recipe()).placement.float_nodes == ()


def test_our_own_float_export_comes_back(tmp_path):
    net = small_network()
    file = q.export_float(net, (3, 8, 8), tmp_path / "float.onnx")
    x = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(load_onnx(file)(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("opset", "batch"), [(11, "unk__0"), (15, 1), (18, "unk__0"), (22, 3)])
def test_channels_last_networks_run_in_integers(opset, batch, tmp_path):
    file = channels_last(tmp_path / "keras.onnx", batch=batch, opset=opset)
    x = torch.from_numpy(normal(6, 16, 16, 3, seed=7))
    imported = import_onnx(file, x)
    pieces = x.numpy().reshape(-1, batch if batch in (1, 3) else 6, 16, 16, 3)
    expected = np.concatenate([ort_outputs(file, piece) for piece in pieces])
    np.testing.assert_allclose(imported.module(x).detach().numpy(), expected, atol=1e-5)
    sim = q.calibrate(imported.module, x, q.Recipe())
    assert {"stem.weight", "dw.weight", "pw.weight", "dense.weight"} <= {
        site.name for site in sim.placement.sites.values()
    }
    ops = optimized_ops(q.export(sim, tmp_path / "int8.onnx"))
    assert ops.float_layers == ()
    assert ops.counts["QLinearConv"] == 3
    assert ops.counts["QGemm"] == 1


def test_open_sides_are_those_of_the_data(tmp_path):
    file = channels_last(tmp_path / "keras.onnx", side="side")
    with pytest.raises(q.InvalidInputError, match=r"\[unk__0, side, side, 3\]: its open axes need"):
        load_onnx(file)
    for side in (16, 17):
        x = torch.from_numpy(normal(3, side, side, 3))
        imported = import_onnx(file, x)
        assert imported.input_shape == (side, side, 3)
        np.testing.assert_allclose(
            imported.module(x).detach().numpy(), ort_outputs(file, x.numpy()), atol=1e-5
        )


def test_tensors_in_a_file_beside_it(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    external = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    file = save(tmp_path / "m.onnx", [node], {"w": normal(8, 3, 3, 3)}, **external)
    x = torch.randn(2, 3, 8, 8)
    expected = nn.functional.conv2d(x, torch.from_numpy(normal(8, 3, 3, 3)), padding=1)
    torch.testing.assert_close(load_onnx(file)(x), expected)
    for data in (tmp_path / "w.bin").read_bytes()[:100], None:
        (tmp_path / "w.bin").unlink()
        if data is not None:
            (tmp_path / "w.bin").write_bytes(data)
        with pytest.raises(q.DataError, match=r"m\.onnx keeps tensors in files beside it that"):
            load_onnx(file)


def test_stored_tensors_that_old_files_list_as_inputs(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    file = save(tmp_path / "m.onnx", [node], {"w": normal(8, 3, 3, 3)}, opset=9)
    model = onnx.load(file)
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("w", 1, [8, 3, 3, 3]))
    onnx.save(model, file)
    assert isinstance(next(m for m in load_onnx(file).modules() if hasattr(m, "weight")), nn.Conv2d)


SETTINGS = {  # nodes "Op inputs > outputs", attributes; what PyTorch makes of it
    "max": (["Max zero x > y"], {}, torch.relu),
    "clip": (["Clip x '' six > y"], {}, lambda x: x.clamp(max=6)),
    "split": (
        ["Split x parts > a b", "Concat b a > y"],
        {"axis": 1},
        lambda x: torch.cat([x[:, 1:], x[:, :1]], 1),
    ),
    "slice": (["Slice x one far two two > y"], {}, lambda x: x[:, :, 1::2]),
    "squeeze": (["Unsqueeze x two > u", "Squeeze u two > y"], {}, lambda x: x),
    "resize": (
        ["Resize x '' scales > y"],
        {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
        lambda x: nn.functional.interpolate(x, scale_factor=2),
    ),
    "global max pool": (["GlobalMaxPool x > y"], {}, lambda x: x.amax((2, 3), keepdim=True)),
    "tile": (["Tile x repeats > y"], {}, lambda x: x.repeat(1, 2, 1, 1)),
    "expand": (
        ["GlobalAveragePool x > g", "Expand g wide > y"],
        {},
        lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 4, 4),
    ),
}
TENSORS = {
    "zero": np.float32(0),
    "six": np.float32(6),
    "parts": np.array([1, 2]),
    "one": np.array([1]),
    "two": np.array([2]),
    "far": np.array([2**63 - 1]),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "repeats": np.array([1, 2, 1, 1]),
    "wide": np.array([1, 1, 4, 4]),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_operators_with_settings_in_tensors_are_traced(name, tmp_path):
    lines, attributes, function = SETTINGS[name]
    nodes = []
    for line in lines:
        (op, *inputs), outputs = (part.replace("''", "-").split() for part in line.split(">"))
        inputs = ["" if i == "-" else i for i in inputs]
        nodes.append(helper.make_node(op, inputs, outputs, **attributes))
    used = {name for node in nodes for name in node.input}
    file = save(tmp_path / "m.onnx", nodes, {k: v for k, v in TENSORS.items() if k in used})
    x = torch.randn(4, 3, 8, 8)
    module = capture(load_onnx(file, x), x).module
    torch.testing.assert_close(module(x), function(x))


def test_training_goes_on_with_an_imported_network(tmp_path):
    net = load_onnx(channels_last(tmp_path / "keras.onnx"))
    x, y = torch.from_numpy(normal(64, 16, 16, 3)), torch.arange(64) % 10
    sim = q.calibrate(net, x, q.Recipe(weights=q.Scheme(4, granularity="per_channel")))
    trained = q.qat.finetune(sim, [(x, y)], epochs=2, progress=False)
    assert not torch.equal(trained(x), sim(x))


def test_a_number_added_to_one_output_is_the_bias(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["y"]),
    ]
    tensors = {"w": normal(6, 1), "b": np.array(0.5, np.float32)}
    file = save(tmp_path / "m.onnx", nodes, tensors, shape=("n", 6))
    x = torch.randn(4, 6)
    torch.testing.assert_close(load_onnx(file)(x), x @ torch.from_numpy(normal(6, 1)) + 0.5)


class Step(nn.Module):
    """Samples, a state ``[2, N, C]`` and a sample rate in; a score and the next state out."""

    def __init__(self) -> None:
        super().__init__()
        self.see, self.cell, self.out = nn.Linear(8, 8), nn.LSTMCell(8, 6), nn.Linear(6, 1)

    def forward(self, x, state, rate):
        h, c = self.cell(self.see(x).relu() * (rate / 16000), (state[0], state[1]))
        return {"speech": torch.sigmoid(self.out(h)), "next": torch.stack([h, c])}


def test_states_and_scalars_are_imported(tmp_path):
    torch.manual_seed(0)
    x = {"x": torch.randn(4, 8), "state": torch.randn(2, 4, 6), "rate": torch.tensor(8000)}
    captured = capture(Step().eval(), x)
    path = export_float(captured.module, captured.signature, tmp_path / "step.onnx")
    for example in (None, x):
        imported = import_onnx(path, example)
        found = [(one.shape, one.batch_axis) for one in imported.inputs]
        assert found == [((8,), 0), ((2, 6), 1), ((), None)]
    sim = q.calibrate(imported.module, x)
    runtime = q.runtimes.load(q.export(sim, tmp_path / "int8.onnx"))
    assert runtime.inputs == {"x": ("N", 8), "state": (2, "N", 6), "rate": ()}
    got = runtime.run({name: value.numpy() for name, value in x.items()})
    assert np.abs(got["speech"] - captured.module(*x.values())[0].detach().numpy()).max() < 0.02


class Scorer(nn.Module):
    """Words and their places under a mask: the length is in a table, a count and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 8), nn.Embedding(12, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, ids, mask):
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        share = (x @ x.transpose(1, 2)).masked_fill(mask[:, None] == 0, -1e4).softmax(-1)
        return self.head(share @ x).flatten(1).view(ids.shape[0], ids.shape[1], 3)


class Pyramid(nn.Module):
    """Two scales joined, flattened: the size is in a resize, a reshape and a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.c = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        y = self.a(x).relu()
        z = nn.functional.interpolate(self.b(y).relu(), size=y.shape[2:], mode="nearest")
        return self.c(torch.cat([y, z], 1)[:, 4:12]).flatten(2).permute(0, 2, 1)


def texts(n: int, length: int) -> dict[str, torch.Tensor]:
    mask = (torch.arange(length) < torch.randint(2, length + 1, (n, 1))).float()
    return {"ids": torch.randint(0, 20, (n, length)), "mask": mask}


ANY_SIZE = {
    "texts": (Scorer, texts(32, 7), texts(2, 11), {"ids": {1: "words"}, "mask": {1: "words"}}),
    "images": (
        Pyramid,
        {"x": torch.randn(4, 3, 32, 32)},
        {"x": torch.randn(2, 3, 64, 40)},
        {"x": {2: "height", 3: "width"}},
    ),
}


@pytest.mark.parametrize(("kind", "dynamo"), [("texts", True), ("images", False)])
def test_axes_stay_open_where_they_are_named(kind, dynamo, tmp_path):
    torch.manual_seed(0)
    make, example, other, dynamic = ANY_SIZE[kind]
    net, path = make().eval(), tmp_path / "net.onnx"
    axes = {name: {0: "n", **names} for name, names in dynamic.items()}
    open_axes = {"dynamic_axes": axes}
    if dynamo:
        sizes = {n: dict.fromkeys(a, torch.export.Dim.DYNAMIC) for n, a in axes.items()}
        open_axes = {"dynamic_shapes": sizes}
    options = {"input_names": list(example), "verbose": False, "dynamo": dynamo, **open_axes}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(net, tuple(example.values()), path, **options)
    imported = import_onnx(path, example, dynamic=dynamic)
    assert imported.inputs[0].open_axes == next(iter(dynamic.values()))
    sim = q.calibrate(imported.module, example, dynamic=dynamic)
    runtime = q.runtimes.load(q.export(sim, tmp_path / "int8.onnx"))
    got = runtime.run({name: x.numpy() for name, x in other.items()})
    wanted = net(**other).detach().numpy()
    assert got.shape == wanted.shape
    assert np.square(got - wanted).sum() < 1e-2 * np.square(wanted).sum()  # 20 dB


def test_axes_that_a_file_fixes_or_that_nothing_shows_are_not_opened(tmp_path):
    x = torch.randn(4, 3, 8, 8)
    path = write(small_network(), tmp_path / "net.onnx", "torchscript")
    with pytest.raises(q.InvalidInputError, match="opens axis 2 of x, which .*net.onnx fixes at 8"):
        import_onnx(path, x, dynamic={"x": {2: "height"}})
    with pytest.raises(q.InvalidInputError, match="whose sizes an example shows. Give one: load_"):
        import_onnx(path, dynamic={"x": {2: "height"}})
