"""Operators that cannot be imported: one error that names them all and proposes a cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from onnx import ModelProto, NodeProto

from qutils.errors import UnsupportedError
from qutils.importers.onnx import control
from qutils.importers.onnx.cut import Cut, around
from qutils.importers.onnx.fixed import deciding_inputs
from qutils.importers.onnx.operators import OPERATORS
from qutils.importers.onnx.opset import DOMAINS

_SPOKEN = 8
_KNOWN = frozenset({*OPERATORS, *control.INLINED, "Constant"})


class RefusedError(UnsupportedError):
    """Nodes cannot be imported."""

    def __init__(self, message: str, nodes: Sequence[NodeProto]) -> None:
        super().__init__(message)
        self.nodes = tuple(nodes)


def refuse_unknown(model: ModelProto, custom: bool = False) -> None:
    """Name every operator for which there is no converter.

    Args:
        custom: only if one is of a domain other than ONNX's, which ONNX Runtime may not load.
    """
    unknown = [
        node
        for node in model.graph.node
        if node.domain not in DOMAINS or node.op_type not in _KNOWN
    ]
    if unknown and not (custom and all(node.domain in DOMAINS for node in unknown)):
        raise RefusedError(f"{spoken(unknown)} cannot be imported", unknown)


def spoken(nodes: Sequence[NodeProto]) -> str:
    """Return operators with their nodes in words."""
    named = [f"{node.op_type} (node {node.name or node.output[0]})" for node in nodes]
    more = f" and {len(named) - _SPOKEN} more" * (len(named) > _SPOKEN)
    return f"operator{'s' * (len(named) > 1)} {', '.join(named[:_SPOKEN])}{more}"


@contextmanager
def with_advice(path: Path, model: ModelProto) -> Iterator[None]:
    """Name the file in errors, and say where it can be cut around the nodes that are refused."""
    try:
        yield
    except RefusedError as error:
        outputs = {name for node in error.nodes for name in node.output if name}
        cut = around(model, outputs)
        deciding = [
            name
            for node in error.nodes
            if node.op_type in control.INLINED
            for read in node.input[: 1 + (node.op_type == "Loop")]
            for name in deciding_inputs(model, read)
        ]
        raise UnsupportedError(f"{path}: {error}. {_advice(path, model, cut, deciding)}") from error
    except UnsupportedError as error:
        raise UnsupportedError(f"{path}: {error}") from error


def _advice(path: Path, model: ModelProto, cut: Cut, deciding: Sequence[str]) -> str:
    ends = [value.name for value in model.graph.output]
    if deciding:
        one = deciding[0]
        return (
            f"Fix the input that decides: --fix {one}=NUMBER, or load_onnx({str(path)!r}, "
            f"fixed={{{one!r}: NUMBER}}), and leave it out of the data."
        )
    if cut.before:
        others = f" (or {', '.join(cut.before[1:4])})" if len(cut.before) > 1 else ""
        return (
            f"Quantize the part before: --outputs {cut.before[0]}{others}, or "
            f"load_onnx({str(path)!r}, outputs=[{cut.before[0]!r}])."
        )
    if cut.after:
        part = path.with_name(f"{path.stem}_part.onnx")
        return (
            "Quantize the part after: onnx.utils.extract_model("
            f"{str(path)!r}, {str(part)!r}, {list(cut.after)}, {ends}, "
            "check_model=False)."
        )
    return "Quantize the model that the file was exported from."
