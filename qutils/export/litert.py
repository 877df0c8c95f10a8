"""Reference graph -> ``.tflite`` for LiteRT: int8 activations and weights, int32 biases.

Operators are written one by one, so that scales and integers in the file are exactly those of the
reference graph. The file takes and gives float32 in PyTorch's order ``[N, C, ...]``: QUANTIZE
stands in front, DEQUANTIZE at the end, and between them everything is int8. Its batch size is open:
``resize_tensor_input`` sets it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.fx import GraphModule, Node

from qutils.convert import convert
from qutils.errors import UnsupportedError
from qutils.export.tflite import Grid
from qutils.export.tflite_layers import LAYERS, Emit
from qutils.export.tflite_moves import MOVES
from qutils.export.tflite_values import Value, Writer, unsupported
from qutils.files import atomic_path
from qutils.graph.nodes import argument, clip_range, is_float, op_name
from qutils.simulate import SimulatedModel

EMITTERS: dict[str, Emit] = {**LAYERS, **MOVES}
#: Results of these kernels have one grid only.
_FIXED = {
    "sigmoid": Grid((1 / 256,), -128),
    "softmax": Grid((1 / 256,), -128),
    "log_softmax": Grid((16 / 256,), 127),
}
_CLIPS = {(0.0, float("inf")): "RELU", (0.0, 6.0): "RELU6"}


def export_litert(sim: SimulatedModel, path: Path) -> Path:
    """Write a simulated model as a ``.tflite`` file that LiteRT runs in integers.

    The file replaces ``path`` only when it is whole.

    Raises:
        UnsupportedError: the target has no kernel for the recipe, or LiteRT none for an operator.
        MissingPackageError: ai-edge-litert is not installed.
        DataError: the folder cannot be written.
    Source: TensorFlow Lite 8-bit quantization specification; ``schema.fbs``, version 3.
    """
    sim.target.require_kernels(sim.recipe)
    data = to_tflite(convert(sim), sim.captured.input_shape)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def to_tflite(module: GraphModule, input_shape: tuple[int, ...]) -> bytes:
    """Translate a reference Q/DQ graph ``[N, *input_shape] -> [N, ...]``."""
    w = Writer(module, input_shape)
    inputs: list[int] = []
    for node in module.graph.nodes:
        op = op_name(node)
        if node.op == "placeholder":
            tensor = w.flat.tensor(w.shapes[node.name], "float32", name="input", open_axis=0)
            inputs.append(tensor)
        elif op.startswith("quantize_per"):
            w.values[node.name] = _quantized(w, node, inputs)
        elif op.startswith("dequantize_per"):
            if w.stored(node) is None:
                w.values[node.name] = w.read(node.args[0])
        elif node.op == "call_function" and is_float(node) and node.name not in w.values:
            _compute(w, node)
        elif node.op == "output":
            return w.flat.to_bytes(inputs, [_output(w, node.args[0])])
    raise AssertionError("a graph without output")


def _quantized(w: Writer, node: Node, inputs: list[int]) -> Value:
    """What a ``quantize`` gives: the input as int8, or what the operator in front wrote."""
    source: Any = node.args[0]
    grid = _grid(node)
    if source.op == "placeholder":
        shape = w.shapes[node.name]
        return w.emit("QUANTIZE", inputs, shape, grid, "QuantizeOptions")
    return w.requantized(w.read(source), grid)


def _compute(w: Writer, node: Node) -> None:
    """Write an operator with its result on the grid of the ``quantize`` behind it."""
    clips, last = [], node
    while len(last.users) == 1 and clip_range(user := next(iter(last.users)))[0] == 0:
        clips.append(user)
        last = user
    grids = {_grid(user) for user in last.users if op_name(user).startswith("quantize_per")}
    op = op_name(node)
    if len(grids) != 1 or len(grids) < len({op_name(user) for user in last.users}):
        raise unsupported(node, "its result stays in float; the file holds integer operators only")
    grid = grids.pop()
    if op not in EMITTERS:
        raise unsupported(node, "there is no integer kernel")
    if _FIXED.get(op, grid) != grid:
        raise unsupported(node, f"its result has scale {_FIXED[op].scale[0]} and no other")
    made = EMITTERS[op](w, node, grid)
    for clip in clips:
        made = _clipped(w, clip, made)
        w.values[clip.name] = made
    w.values[node.name] = made


def _clipped(w: Writer, node: Node, value: Value) -> Value:
    """An activation whose clipping the grid does not express."""
    code = _CLIPS.get(clip_range(node))
    if code is None:
        raise unsupported(node, f"it clips to {clip_range(node)}, where kernels know 0 and 6")
    return w.emit(code, (value.tensor,), value.shape, value.grid, last=value.last)


def _grid(node: Node) -> Grid:
    """The int8 grid of a ``quantize``; one of uint8 is moved down by 128, the same numbers."""
    scale, zero_point, qmin = (argument(node, place) for place in (1, 2, 3))
    return Grid((float(scale),), int(zero_point) - 128 * (qmin == 0))


def _output(w: Writer, node: Any) -> int:
    """DEQUANTIZE of the last value, in PyTorch's order."""
    if node.name not in w.values:
        raise UnsupportedError("LiteRT hands out integers: this graph ends in a float operator")
    value = w.arranged(w.read(node), last=False)
    tensor = w.flat.tensor(value.shape, "float32", name="output", open_axis=0)
    return w.flat.operator("DEQUANTIZE", (value.tensor,), tensor, "DequantizeOptions")
