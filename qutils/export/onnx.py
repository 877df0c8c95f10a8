"""Reference graph -> ONNX: QDQ form, int8 weights and int32 biases stored as integers, no ballast."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxscript
import torch
from onnx import ModelProto, TensorProto
from torch import nn

from qutils.convert import convert
from qutils.errors import UnsupportedError
from qutils.files import atomic_path
from qutils.simulate import SimulatedModel

OPSET = 18


def export_onnx(sim: SimulatedModel, path: Path) -> Path:
    """Write a simulated model as an ONNX file that ONNX Runtime runs in integers.

    The file is checked by ``onnx.checker`` and replaces ``path`` only when it is whole.

    Raises:
        UnsupportedError: the target has no kernel for the recipe, or an operator no translation.
        DataError: the folder cannot be written.
    Source: ONNX QuantizeLinear / DequantizeLinear; ONNX Runtime's QDQ format.
    """
    sim.target.require_kernels(sim.recipe)
    return save(to_onnx(convert(sim), sim.captured.input_shape), path)


def export_float(model: nn.Module, input_shape: tuple[int, ...], path: Path) -> Path:
    """Write a float model (eval mode, batch dynamic) as ONNX, by the same route."""
    return save(to_onnx(model.eval(), input_shape), path)


def to_onnx(module: nn.Module, input_shape: tuple[int, ...]) -> ModelProto:
    """Translate a module ``[N, *input_shape] -> [N, ...]`` and compact the result."""
    example = torch.zeros(2, *input_shape)
    try:
        with _quiet():
            program = torch.onnx.export(
                module, (example,), dynamo=True, opset_version=OPSET, verbose=False,
                input_names=["input"], output_names=["output"], external_data=False,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), optimize=True,
                custom_translation_table=_translations(),
            )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnsupportedError(f"torch.onnx cannot translate the graph: {reason}") from error
    assert program is not None
    return compact(program.model_proto)


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
                f"flatten from axis {start_dim} to {end_dim}: ONNX export keeps the batch axis alone"
            )
        return onnxscript.opset18.Flatten(x, axis=1)

    return {
        torch.ops.aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
        torch.ops.aten.flatten.using_ints: flatten,
    }


def save(model: ModelProto, path: Path) -> Path:
    """Check a model and write it atomically."""
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(Path(path)) as temporary:
        onnx.save(model, temporary)
    return Path(path)


def compact(model: ModelProto) -> ModelProto:
    """Drop what no runtime reads: source traces, value types, identities, long names, zero points.

    Names matter in small models: 50 layers of four Q/DQ nodes carry some 20 kB of them. Input and
    output names stay; layer names survive in the names of the nodes.
    """
    graph = model.graph
    for holder in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del holder.metadata_props[:]
        holder.doc_string = ""
    del graph.value_info[:]
    _share_initializers(model)
    _fold_casts(model)
    _settle_zero_points(model)
    _rename(model)
    return model


def _fold_casts(model: ModelProto) -> None:
    """``Cast`` of an initializer becomes an initializer of that type."""
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    for node in [n for n in graph.node if n.op_type in ("Cast", "Identity")]:
        source = stored.get(node.input[0])
        if source is None or node.output[0] in {o.name for o in graph.output}:
            continue
        array = onnx.numpy_helper.to_array(source)
        if node.op_type == "Cast":
            kind = next(a.i for a in node.attribute if a.name == "to")
            array = array.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
        tensor = onnx.numpy_helper.from_array(array, node.output[0])
        graph.initializer.append(tensor)
        stored[tensor.name] = tensor
        graph.node.remove(node)
    _drop_unused(model)
    _share_initializers(model)


def _settle_zero_points(model: ModelProto) -> None:
    """Biases drop their zero point (0 is the default); each weight gets one of its own.

    ONNX Runtime needs a weight's zero point to build integer kernels, and renames it with the
    weight when it widens int8 to uint8: one that two weights share makes loading fail.
    """
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in stored or len(node.input) < 3:
            continue
        if stored[node.input[0]].data_type == TensorProto.INT32:
            del node.input[2:]
            continue
        own = TensorProto()
        own.CopyFrom(stored[node.input[2]])
        own.name = f"{node.output[0]}_zero_point"
        node.input[2] = own.name
        graph.initializer.append(own)
    _drop_unused(model)


def _share_initializers(model: ModelProto) -> None:
    """One copy of equal initializers (scales and zero points repeat)."""
    graph = model.graph
    first: dict[bytes, str] = {}
    alias: dict[str, str] = {}
    for tensor in list(graph.initializer):
        key = repr((tensor.data_type, tuple(tensor.dims))).encode() + onnx.numpy_helper.to_array(tensor).tobytes()
        alias[tensor.name] = first.setdefault(key, tensor.name)
    for node in graph.node:
        node.input[:] = [alias.get(name, name) for name in node.input]
    _drop_unused(model)


def _drop_unused(model: ModelProto) -> None:
    graph = model.graph
    used = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)


def _rename(model: ModelProto) -> None:
    """Short names for values; the graph's inputs and outputs keep theirs."""
    graph = model.graph
    keep = {v.name for v in (*graph.input, *graph.output)} | {""}
    names: dict[str, str] = {name: name for name in keep}

    def short(name: str) -> str:
        return names.setdefault(name, f"{len(names):x}")

    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for node in graph.node:
        node.input[:] = [short(n) for n in node.input]
        node.output[:] = [short(n) for n in node.output]
        node.name = ""
    model.producer_name, model.producer_version = "qutils", ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints progress to stdout and warns about its own internals."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
