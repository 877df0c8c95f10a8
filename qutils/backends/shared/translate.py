"""ATen graph -> ONNX graph: PyTorch's translations, without tracing the graph three times.

``torch.onnx.export`` traces a module, decomposes the trace by tracing it again, and builds its
table of translations anew at each call. The graphs exported here are traced already and consist
of operators that the table knows. They are translated one by one; a graph with another operator
takes the long way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import onnxscript
import torch
from onnx import ModelProto
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Node

from qutils.backends.shared.onnx_passes import simplify
from qutils.backends.shared.rnn import rnn_translation
from qutils.errors import UnsupportedError
from qutils.graph.inputs import TensorSpec
from qutils.graph.nodes import argument, op_name
from qutils.graph.recurrent import OPEN, open_lengths
from qutils.graph.signature import Signature

OPSET = 18
_aten = torch.ops.aten
#: Operators that Python's ``&``, ``|`` and ``^`` call -> the same by its usual name.
_SYNONYMS: dict[Any, Any] = {
    _aten.__and__.Tensor: _aten.bitwise_and.Tensor,
    _aten.__or__.Tensor: _aten.bitwise_or.Tensor,
    _aten.__xor__.Tensor: _aten.bitwise_xor.Tensor,
}


def translate(module: nn.Module, signature: Signature) -> ModelProto:
    """Return the ONNX model of a module with the names and open axes of its signature.

    Raises:
        UnsupportedError: an operator or argument that ONNX does not have.
        Exception: whatever ``torch.export`` and ``torch.onnx`` raise.
    """
    example = tuple(spec.example(2, signature.sizes) for spec in signature.inputs)
    dynamic = tuple(_open_sizes(spec) for spec in signature.inputs)
    with open_lengths(module):
        program = torch.export.export(module, example, dynamic_shapes=dynamic)
    _check_pools(program)
    _use_common_names(program)
    if _is_translatable(program):
        return with_names(_directly(program, signature), signature)
    translated = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        verbose=False,
        input_names=signature.names,
        output_names=signature.outputs,
        external_data=False,
        optimize=True,
        custom_translation_table=_translations() | _opened_translations(),
    )
    assert translated is not None
    return with_names(translated.model_proto, signature)


def _open_sizes(spec: TensorSpec) -> dict[int, Any]:
    names = [place for place, axis in enumerate(spec.axes) if isinstance(axis, str)]
    return dict.fromkeys(names, torch.export.Dim.DYNAMIC)


def with_names(model: ModelProto, signature: Signature) -> ModelProto:
    """Name the open axes of inputs as the signature does, and those of outputs alike; in place."""
    names: dict[str, str] = {}
    for spec, value in zip(signature.inputs, model.graph.input, strict=True):
        for axis, size in zip(spec.axes, value.type.tensor_type.shape.dim, strict=True):
            if isinstance(axis, str):
                names.setdefault(size.dim_param, axis)
                size.dim_param = axis
    for value in model.graph.output:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in names:
                size.dim_param = names[size.dim_param]
    return model


def _directly(program: ExportedProgram, signature: Signature) -> ModelProto:
    """Translate node by node, as ``torch.onnx.export`` does after its decompositions."""
    from torch.onnx._internal.exporter import _core, _fx_passes

    _fx_passes.insert_type_promotion_nodes(program.graph_module)
    program._graph_module = _fx_passes.remove_assertion_nodes(program.graph_module)
    translated = _core._exported_program_to_onnx_program(program, registry=_registry())
    simplify(translated.model)
    _name_ends(translated.model.graph, signature)
    return translated.model_proto


def _name_ends(graph: Any, signature: Signature) -> None:
    """Name inputs and outputs (an ``onnxscript.ir.Graph``) and nothing else so.

    An output that is an input, a stored tensor or another output as well becomes a value of its
    own.
    """
    given = set(map(id, graph.inputs))
    for place, value in enumerate(graph.outputs):
        if value.producer() is None or id(value) in given:
            copy = onnxscript.ir.node("Identity", [value])
            graph.append(copy)
            graph.outputs[place] = value = copy.outputs[0]
        given.add(id(value))
    names = {*signature.names, *signature.outputs}
    for node in graph:
        for value in node.outputs:
            if value.name in names:
                value.name = f"{value.name}.inner"
    for value, name in zip(graph.inputs, signature.names, strict=True):
        value.name = name
    for value, name in zip(graph.outputs, signature.outputs, strict=True):
        value.name = name


def _use_common_names(program: ExportedProgram) -> None:
    """Call operators by the names that the table knows; drop assertions about types."""
    for node in list(program.graph.nodes):
        if node.target in _SYNONYMS:
            node.target = _SYNONYMS[node.target]
        elif node.target is torch.ops.aten._assert_tensor_metadata.default:
            program.graph.erase_node(node)


def _is_translatable(program: ExportedProgram) -> bool:
    """Whether the table has every operator of the graph, and none writes to its input."""
    known = _registry().functions
    for node in program.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        name: str = node.target.name()  # type: ignore[no-untyped-call]
        if name not in known or node.target._schema.is_mutable or _is_partial_norm(node):
            return False
    return True


def _is_partial_norm(node: Node) -> bool:
    """Whether a BatchNorm trains, or lacks its scale or shift, which ONNX's operator needs."""
    return op_name(node) == "batch_norm" and (None in node.args[1:5] or bool(argument(node, 5)))


@lru_cache(maxsize=1)
def _registry() -> Any:
    """PyTorch's table of translations, with ours in front."""
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  (registers the Q/DQ operators)
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    registry = ONNXRegistry.from_torchlib(OPSET)
    for operator, translation in _translations().items():
        registry.register_op(operator, translation)
    for original, opened in OPEN.items():
        registry.register_op(opened, registry.functions[original.name()][-1].onnx_function)
    return registry


def _opened_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Those of recurrent layers of any length."""
    known = _registry().functions
    return {opened: known[opened.name()][-1].onnx_function for opened in OPEN.values()}


def _check_pools(program: ExportedProgram) -> None:
    """ONNX's AveragePool knows no other divisor; the exporter would drop it without a word."""
    for node in program.graph.nodes:
        if op_name(node).startswith("avg_pool") and argument(node, 6) is not None:
            raise UnsupportedError(
                f"ONNX has no average pooling with divisor_override={argument(node, 6)}: leave it "
                "out, and put the factor into the next layer"
            )


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Operators whose usual translation falls apart into pieces without integer kernels."""

    def adaptive_avg_pool2d(x: Any, output_size: Sequence[int]) -> Any:
        if tuple(output_size) != (1, 1):
            raise UnsupportedError(
                f"ONNX has adaptive average pooling to 1x1 only, not {tuple(output_size)}"
            )
        return onnxscript.opset18.GlobalAveragePool(x)

    def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
        if start_dim != 1 or end_dim not in (-1, len(x.shape) - 1):
            raise UnsupportedError(
                f"flatten from axis {start_dim} to {end_dim}: the batch axis has to stay alone"
            )
        return onnxscript.opset18.Flatten(x, axis=1)

    def batch_norm(
        x: Any, scale: Any, shift: Any, mean: Any, var: Any,
        training: bool, momentum: float, eps: float, cudnn_enabled: bool,
    ) -> Any:  # fmt: skip
        return onnxscript.opset18.BatchNormalization(x, scale, shift, mean, var, epsilon=eps)

    def rms_norm(
        x: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None
    ) -> Any:
        op, eps = onnxscript.opset18, torch.finfo(torch.float32).eps if eps is None else eps
        axes: Any = op.Constant(value_ints=list(range(-len(normalized_shape), 0)))
        mean = op.ReduceMean(op.Mul(x, x), axes, keepdims=1)
        normal = op.Div(x, op.Sqrt(op.Add(mean, op.Constant(value_float=eps))))
        return normal if weight is None else op.Mul(normal, weight)

    return {
        torch.ops.aten.rms_norm.default: rms_norm,
        torch.ops.aten.batch_norm.default: batch_norm,
        torch.ops.aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
        torch.ops.aten.flatten.using_ints: flatten,
        torch.ops.aten.rnn_tanh.input: rnn_translation("Tanh"),
        torch.ops.aten.rnn_relu.input: rnn_translation("Relu"),
    }
