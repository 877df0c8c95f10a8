"""Reference graph -> ONNX in QDQ form: int8 weights and int32 biases as integers, no ballast."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from itertools import count
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from torch import nn

from qutils.backends.shared.limits import KEY, Limits
from qutils.backends.shared.onnx_integers import drop_unused, keep_integers
from qutils.backends.shared.translate import translate
from qutils.errors import UnsupportedError
from qutils.files import atomic_path
from qutils.graph.quiet import quiet
from qutils.graph.signature import Signature
from qutils.graph.wrappers import plain_copy, refuse_opaque
from qutils.quantize.convert import convert
from qutils.quantize.simulate import SimulatedModel


def export_onnx(sim: SimulatedModel, path: Path) -> Path:
    """Write a simulated model as an ONNX file that ONNX Runtime runs in integers.

    The file is checked by ``onnx.checker`` and replaces ``path`` only when it is whole.

    Raises:
        UnsupportedError: the target has no kernel for the recipe, or an operator no translation.
        DataError: the folder cannot be written.
    Source: ONNX QuantizeLinear / DequantizeLinear; ONNX Runtime's QDQ format.
    """
    sim.target.require_kernels(sim.recipe)
    return save(to_onnx(convert(sim), sim.captured.signature), path)


def export_float(model: nn.Module, inputs: tuple[int, ...] | Signature, path: Path) -> Path:
    """Write a float model (eval mode, batch dynamic) as ONNX, by the same route.

    The caller's model keeps its mode; wrappers around it (``DataParallel``, ``torch.compile``) are
    left out of the file.

    Args:
        inputs: shape of one sample, or what a captured graph takes and returns
            (``captured.signature``).
    """
    refuse_opaque(model)
    signature = inputs if isinstance(inputs, Signature) else Signature.of(*inputs)
    return save(to_onnx(plain_copy(model), signature), path)


def to_onnx(
    module: nn.Module,
    signature: Signature,
    rewrite: Callable[[GraphProto], None] = keep_integers,
) -> ModelProto:
    """Translate a module that takes and returns what ``signature`` says; compact the result.

    Args:
        rewrite: what the runtime needs changed; ONNX Runtime unless given.
    """
    try:
        with quiet(), contextlib.redirect_stdout(io.StringIO()):  # the exporter prints progress
            model = translate(module, signature)
    except UnsupportedError:
        raise
    except Exception as error:
        raise UnsupportedError(f"torch.onnx cannot translate the graph: {_root(error)}") from error
    compacted = compact(model, rewrite)
    if limits := _limits(signature, [one.name for one in model.graph.input]).dumps():
        compacted.metadata_props.add(key=KEY, value=limits)
    return compacted


def _limits(signature: Signature, names: list[str]) -> Limits:
    """What the inputs of a file, in its order, may hold at most."""
    most = {axis.name: axis.most for axis in signature.open_axes if axis.most is not None}
    found = [(names.index(spec.name), spec) for spec in signature.inputs if spec.name in names]
    sizes = (
        (place, index, most[axis])
        for place, spec in found
        for index, axis in enumerate(spec.axes)
        if isinstance(axis, str) and axis in most
    )
    rows = ((place, spec.table.rows) for place, spec in found if spec.table is not None)
    return Limits(tuple(sizes), tuple(rows))


def _root(error: BaseException) -> str:
    """First line of the error that started a chain of them."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def save(model: ModelProto, path: Path) -> Path:
    """Check a model and write it atomically."""
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(Path(path)) as temporary:
        onnx.save(model, temporary, format="protobuf")
    return Path(path)


def compact(model: ModelProto, rewrite: Callable[[GraphProto], None] = keep_integers) -> ModelProto:
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
    _settle_constants(model)
    rewrite(graph)
    drop_unused(graph)
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
    drop_unused(model.graph)
    _share_initializers(model)


def _settle_constants(model: ModelProto) -> None:
    """Biases drop their zero point (0 is the default); each reader of a weight gets its own.

    ONNX Runtime needs a weight's zero point to build integer kernels, and renames both when it
    widens int8 to uint8: a weight or zero point that two layers share makes loading fail.
    """
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    for node in list(graph.node):
        if node.op_type != "DequantizeLinear" or node.input[0] not in stored or len(node.input) < 3:
            continue
        if stored[node.input[0]].data_type == TensorProto.INT32:
            del node.input[2:]
            continue
        place = list(graph.node).index(node)
        for reader in [n for n in graph.node if node.output[0] in n.input]:
            graph.node.insert(place, _own_weight(graph, stored, node, reader))
        graph.node.remove(node)
    drop_unused(model.graph)


def _own_weight(
    graph: GraphProto, stored: dict[str, TensorProto], node: NodeProto, reader: NodeProto
) -> NodeProto:
    """A copy of the ``DequantizeLinear`` of a weight, constants included, for ``reader`` alone."""
    own = NodeProto()
    own.CopyFrom(node)
    own.output[0] = f"{node.output[0]}_for_{reader.output[0]}"
    for index in (0, 2):
        constant = graph.initializer.add()
        constant.CopyFrom(stored[node.input[index]])
        constant.name = own.input[index] = f"{index}_of_{own.output[0]}"
    reader.input[:] = [own.output[0] if n == node.output[0] else n for n in reader.input]
    return own


def _share_initializers(model: ModelProto) -> None:
    """One copy of equal initializers (scales and zero points repeat)."""
    graph = model.graph
    first: dict[bytes, str] = {}
    alias: dict[str, str] = {}
    for tensor in list(graph.initializer):
        kind = repr((tensor.data_type, tuple(tensor.dims))).encode()
        key = kind + onnx.numpy_helper.to_array(tensor).tobytes()
        alias[tensor.name] = first.setdefault(key, tensor.name)
    for node in graph.node:
        node.input[:] = [alias.get(name, name) for name in node.input]
    drop_unused(model.graph)


def _rename(model: ModelProto) -> None:
    """Short names for values; the graph's inputs and outputs keep theirs."""
    graph = model.graph
    keep = {v.name for v in (*graph.input, *graph.output)} | {""}
    names: dict[str, str] = {name: name for name in keep}

    unused = (number for n in count() if (number := f"{n:x}") not in keep)

    def short(name: str) -> str:
        if name not in names:
            names[name] = next(unused)
        return names[name]

    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for node in graph.node:
        node.input[:] = [short(n) for n in node.input]
        node.output[:] = [short(n) for n in node.output]
        node.name = ""
    model.producer_name, model.producer_version = "qutils", ""
