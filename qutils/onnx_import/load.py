"""From a float ONNX file to an ``nn.Module`` that can be captured, quantized and trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto
from torch import Tensor, nn

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph.quiet import quiet
from qutils.onnx_import.axes import settled_shape
from qutils.onnx_import.class_names import class_names
from qutils.onnx_import.names import name_nodes
from qutils.onnx_import.normal import normalized
from qutils.onnx_import.opset import refuse
from qutils.onnx_import.package import onnx2torch
from qutils.onnx_import.proof import difference, samples
from qutils.onnx_import.read import read
from qutils.onnx_import.settings import settle
from qutils.runtimes.onnxruntime import OnnxRuntime

_SPOKEN = 8


@dataclass(frozen=True)
class Imported:
    """A float network from a file, with how far it is from ONNX Runtime's reading of that file.

    ``difference`` is the largest difference of outputs over the largest output, of ``samples``
    inputs. ``names`` are those of the outputs, if the file says them.
    """

    module: nn.Module
    input_shape: tuple[int, ...]  # of one sample
    difference: float
    samples: int
    names: tuple[str, ...] | None = None


def load_onnx(path: str | Path, example: Tensor | None = None) -> nn.Module:
    """The float network of an ONNX file, as a module in eval mode; see ``import_onnx``."""
    return import_onnx(path, example).module


def import_onnx(path: str | Path, example: Tensor | None = None) -> Imported:
    """Turn a float ONNX file into a module ``[N, ...] -> [N, ...]`` and prove it on inputs.

    Args:
        example: inputs ``[N, ...]`` float32, on which the module is compared with ONNX Runtime
            (random ones otherwise); they settle axes that the file leaves open.

    Raises:
        DataError: the file, or one beside it, is missing, truncated or corrupt.
        InvalidInputError: the example does not fit, or is missing where axes are open.
        UnsupportedError: quantized already; several inputs or outputs; an operator, operator set or
            shape that cannot be imported (named); outputs that differ from ONNX Runtime's.
        MissingPackageError: onnx2torch is not installed.
    Source: the ``onnx2torch`` package; operators as in the ONNX specification.
    """
    file = Path(path)
    onnx2torch()
    model = read(file)
    runtime = OnnxRuntime.load(file)
    if example is not None and (not isinstance(example, Tensor) or not len(example)):
        raise InvalidInputError("an example is a tensor [N, ...] of at least one input")
    input_shape = settled_shape(file, model, None if example is None else example.shape)
    try:
        module = _module(normalized(model, input_shape))
    except UnsupportedError as error:
        raise UnsupportedError(f"{file}: {error}") from error
    x = samples(example, input_shape)
    apart = difference(module, runtime, x)
    return Imported(module, input_shape, apart, len(x), class_names(model))


def _module(model: ModelProto) -> nn.Module:
    """The modules and the graph of a file in normal form."""
    _refuse_unknown(model.graph.node, model)
    name_nodes(model)
    try:
        with quiet():
            converted = onnx2torch().convert(model)
    except Exception as error:
        raise _culprit(model, error) from error
    return settle(converted).eval()


def _refuse_unknown(nodes: Iterable[NodeProto], model: ModelProto) -> None:
    """Name every operator for which there is no converter."""
    onnx2torch()
    from onnx2torch.node_converters.registry import get_converter

    versions = {o.domain: o.version for o in model.opset_import}
    unknown: dict[str, str] = {}
    for node in nodes:
        try:
            get_converter(node.op_type, versions.get(node.domain, 1), node.domain)
        except NotImplementedError:
            unknown.setdefault(node.op_type, node.name or node.output[0])
    if unknown:
        named = [f"{op} (node {name})" for op, name in unknown.items()]
        more = f" and {len(named) - _SPOKEN} more" * (len(named) > _SPOKEN)
        raise UnsupportedError(
            f"operator{'s' * (len(named) > 1)} {', '.join(named[:_SPOKEN])}{more} cannot be "
            "imported: quantize the model that the file was exported from, or a part without them"
        )


def _culprit(model: ModelProto, error: Exception) -> UnsupportedError:
    """The node that fails to convert, found by converting one after the other."""
    from onnx2torch.node_converters.registry import get_converter
    from onnx2torch.onnx_graph import OnnxGraph

    graph: Any = OnnxGraph(model.graph)
    versions = {o.domain: o.version for o in model.opset_import}
    for node in graph.nodes.values():
        try:
            get_converter(node.operation_type, versions[node.domain], node.domain)(node, graph)
        except Exception as cause:
            return refuse(node.proto, _reason(cause))
    return UnsupportedError(f"onnx2torch cannot import the graph: {_reason(error)}")


def _reason(error: Exception) -> str:
    said = next(iter(str(error).strip().splitlines()), "")
    return (
        said.rstrip(".")
        if isinstance(error, NotImplementedError) and said
        else (f"{type(error).__name__}: {said}")
    )
