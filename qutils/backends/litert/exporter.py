"""Reference graph -> ``.tflite`` for LiteRT: int8 activations and weights, int32 biases.

Operators are written one by one, so that scales and integers in the file are exactly those of the
reference graph. The file takes and gives float32 in PyTorch's order ``[N, C, ...]``: QUANTIZE
stands in front, DEQUANTIZE at the end, and between them everything is int8, but for what placement
kept in float, which has a pair of its own around it. Its batch size is open:
``resize_tensor_input`` sets it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch.fx import GraphModule, Node

from qutils.backends.litert.spelled_out import spell_out
from qutils.backends.litert.tflite import Grid
from qutils.backends.litert.tflite_functions import FUNCTIONS
from qutils.backends.litert.tflite_integers import INTEGER_LAYERS, REAL_OF_INTEGERS, given
from qutils.backends.litert.tflite_layers import LAYERS, Emit
from qutils.backends.litert.tflite_moves import MOVES
from qutils.backends.litert.tflite_picks import RESAMPLES
from qutils.backends.litert.tflite_real import REAL_LAYERS
from qutils.backends.litert.tflite_values import Value, Writer, is_integral, unsupported
from qutils.backends.shared.forms import flatten_volumes
from qutils.files import atomic_path
from qutils.graph.nodes import argument, is_float, made_by, op_name, outputs_of
from qutils.graph.ops import OPS, clip_range
from qutils.graph.recurrent import RECURRENT
from qutils.graph.signature import Signature
from qutils.quantize.convert import convert
from qutils.quantize.simulate import SimulatedModel

EMITTERS: dict[str, Emit] = {**LAYERS, **FUNCTIONS, **MOVES}
#: Written in integers alone; in float they are spelled out.
_IN_INTEGERS = ("hardsigmoid",)
#: Results of these kernels have one grid only.
_FIXED = {
    "sigmoid": Grid((1 / 256,), -128),
    "tanh": Grid((1 / 128,), 0),
    "softmax": Grid((1 / 256,), -128),
    "log_softmax": Grid((16 / 256,), 127),
}
_QUANTIZES = ("quantize_per_tensor", "quantize_per_channel")
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
    signature = sim.captured.signature
    signature.require_batches()
    module = convert(sim)
    flatten_volumes(module)
    made = spell_out(module, lambda node: _is_known(node, sim.placement.float_nodes))
    data = to_tflite(module, signature, {*sim.placement.float_nodes, *made})
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(data)
    return Path(path)


_NO_KERNEL = (
    "the exporter has no kernel for it. ONNX Runtime runs it: calibrate for it with "
    "target='onnxruntime' (--target onnxruntime)"
)


def _is_known(node: Node, in_float: Collection[str]) -> bool:
    """Return True if an operator is written as it is, with these arguments."""
    op = op_name(node)
    if node.name in in_float and op in FUNCTIONS:
        return op not in _IN_INTEGERS and OPS[op].holds(node)
    return op in {*EMITTERS, *REAL_LAYERS, *RESAMPLES, *REAL_OF_INTEGERS}


def to_tflite(module: GraphModule, signature: Signature, in_float: Collection[str] = ()) -> bytes:
    """Translate a reference Q/DQ graph that takes and returns what ``signature`` says.

    Args:
        in_float: nodes that compute in float although there are integer kernels for them.
    """
    for node in module.graph.nodes:  # before what their layers need, such as states of zeros
        if op_name(node) in RECURRENT:
            raise unsupported(node, _NO_KERNEL)
    w = Writer(module, signature)
    inputs: list[int] = []
    for node in module.graph.nodes:
        op = op_name(node)
        if node.op == "placeholder":
            spec, shape = signature.inputs[len(inputs)], w.shapes[node.name]
            kind = str(spec.dtype).removeprefix("torch.")
            inputs.append(w.flat.tensor(shape, kind, name=spec.name, open_axis=0))
            w.values[node.name] = given(w, inputs[-1], shape, spec.dtype)
        elif op.startswith("quantize_per"):
            w.values[node.name] = w.requantized(w.read(node.args[0]), _grid(node))
        elif op.startswith("dequantize_per"):
            if w.stored(node) is None:
                w.values[node.name] = w.read(node.args[0])
        elif node.op == "call_function" and is_float(node) and node.name not in w.values:
            grid = None if node.name in in_float else _grid_behind(w, node)
            if grid is None:
                _compute_real(w, node)
            else:
                _compute(w, node, grid)
        elif node.op == "call_function" and is_integral(node):
            if node.name not in w.both or _repeats_stored(w, node):
                w.values[node.name] = _compute_integers(w, node)
        elif node.op == "output":
            results = zip(outputs_of(module), signature.outputs, strict=True)
            return w.flat.to_bytes(inputs, [_output(w, value, name) for value, name in results])
    raise AssertionError("a graph without output")


def _grid_behind(w: Writer, node: Node) -> Grid | None:
    """The grid of an integer kernel's result; None where an operand or the result is float."""
    grids = {_grid(user) for user in _clips(node)[-1].users if op_name(user) in _QUANTIZES}
    picks = op_name(node) == "index_select"  # by stored places, which are no operand
    operands = [n for n in node.all_input_nodes if is_float(n) or (is_integral(n) and not picks)]
    integers = all(_is_integer(w, n) for n in operands)
    return grids.pop() if len(grids) == 1 and integers else None


def _is_integer(w: Writer, node: Node) -> bool:
    if w.stored(node) is not None:
        return True
    return node.op != "get_attr" and w.values[node.name].grid is not None


def _clips(node: Node) -> list[Node]:
    """Return the node and the activations after it that a kernel can fuse."""
    found = [node]
    while len(found[-1].users) == 1:
        user = next(iter(found[-1].users))
        if clip_range(user)[0] != 0:
            break
        found.append(user)
    return found


def _compute(w: Writer, node: Node, grid: Grid) -> None:
    """Write an operator with its result on the grid of the ``quantize`` after it."""
    op = op_name(node)
    if op not in EMITTERS:
        raise unsupported(node, "there is no integer kernel")
    if _FIXED.get(op, grid) != grid:
        raise unsupported(node, f"its result has scale {_FIXED[op].scale[0]} and no other")
    made = w.values[node.name] = EMITTERS[op](w, node, grid)
    for clip in _clips(node)[1:]:
        made = w.values[clip.name] = _clipped(w, clip, made)


def _compute_real(w: Writer, node: Node) -> None:
    """Write an operator in float32."""
    emit = {**EMITTERS, **REAL_LAYERS, **RESAMPLES, **REAL_OF_INTEGERS}.get(op_name(node))
    if emit is None and clip_range(node) not in _CLIPS:
        raise unsupported(made_by(node), _NO_KERNEL)
    w.real = True
    try:
        made = emit(w, node, None) if emit else _clipped(w, node, w.read(node.args[0]))
    finally:
        w.real = False
    w.values[node.name] = made


def _repeats_stored(w: Writer, node: Node) -> bool:
    """Return True if stored integers are repeated for each sample."""
    return op_name(node) == "expand" and node.all_input_nodes[0].name in w.fixed


def _compute_integers(w: Writer, node: Node) -> Value:
    """Write an operator whose result is int32 or bool."""
    emit = INTEGER_LAYERS.get(op_name(node))
    if emit is None:
        raise unsupported(node, "no kernel of it for integers is known here")
    return emit(w, node, None)


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


def _output(w: Writer, node: Any, name: str) -> int:
    """The last value in PyTorch's order, dequantized where it is integers."""
    if not is_float(node):
        raise unsupported(node, "an output of integers; return the floats it is computed from")
    value = w.arranged(w.read(node), last=False)
    if value.grid is not None:
        tensor = w.flat.tensor(value.shape, "float32", name=name, open_axis=0)
        return w.flat.operator("DEQUANTIZE", (value.tensor,), tensor, "DequantizeOptions")
    return w.flat.expose(value.tensor, name)
