"""Between the operator sets: old files are lifted, new ones brought down to what is imported.

``onnx2torch`` knows operators up to set 17. What came later differs little: operators take more
types, some take as an input what was an attribute. Those are rewritten here; a file that asks for
what set 17 cannot say is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from qutils.errors import UnsupportedError

NEWEST = 17
#: Sets below are lifted to this one, from which on inputs replaced most attributes.
OLDEST = 13
_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSumSquare"),
)
_Stored = Mapping[str, Any]  # arrays by name


def opset_of(model: ModelProto) -> int:
    """Version of the standard operator set that a model uses."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def lifted(model: ModelProto) -> ModelProto:
    """A model of at least set ``OLDEST``.

    Raises:
        UnsupportedError: the set is too old to be lifted; the reason is given.
    """
    version = opset_of(model)
    if version >= OLDEST:
        return model
    try:
        return onnx.version_converter.convert_version(model, OLDEST)
    except Exception as error:
        reason = str(error).strip().splitlines()[-1]
        raise UnsupportedError(
            f"operator set {version} is too old, and onnx cannot lift it to {OLDEST} ({reason}): "
            f"export the model with operator set {OLDEST} or newer"
        ) from error


def lower(model: ModelProto) -> None:
    """Bring a model down to set ``NEWEST``, in place.

    Raises:
        UnsupportedError: an operator is used in a way that set 17 cannot express.
    """
    if opset_of(model) > NEWEST:
        stored = {t.name: t for t in model.graph.initializer}
        arrays = {
            name: numpy_helper.to_array(stored[name])
            for node in model.graph.node
            if node.op_type in _REWRITES
            for name in node.input
            if name in stored
        }
        for node in model.graph.node:
            if not node.domain and node.op_type in _REWRITES:
                _REWRITES[node.op_type](node, arrays)
    used = {node.domain for node in model.graph.node}
    kept = [o for o in model.opset_import if o.domain and o.domain in used]
    version = min(opset_of(model) or NEWEST, NEWEST)
    del model.opset_import[:]
    model.opset_import.extend([onnx.helper.make_opsetid("", version), *kept])


def refuse(node: NodeProto, reason: str) -> UnsupportedError:
    """The error for a node that cannot be imported."""
    return UnsupportedError(
        f"operator {node.op_type} (node {node.name or node.output[0]}) cannot be imported: {reason}"
    )


def _attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def _drop(node: NodeProto, name: str) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def _require(node: NodeProto, name: str, default: Any) -> None:
    """Drop an attribute that set 17 does not know, if it has the value that changes nothing."""
    value = _attribute(node, name, default)
    if value != default and value != [1] * len(value if isinstance(value, list) else ()):
        raise refuse(node, f"{name}={value!r} has no counterpart")
    _drop(node, name)


def _reduce(node: NodeProto, arrays: _Stored) -> None:
    """Axes were an attribute."""
    axes = node.input[1] if len(node.input) > 1 else ""
    if axes and axes not in arrays:
        raise refuse(node, "its axes are computed")
    found = [int(axis) for axis in arrays[axes]] if axes else []
    if not found and _attribute(node, "noop_with_empty_axes", 0):
        raise refuse(node, "it reduces nothing")
    _drop(node, "noop_with_empty_axes")
    del node.input[1:]
    if found:
        node.attribute.append(onnx.helper.make_attribute("axes", found))


def _pad(node: NodeProto, arrays: _Stored) -> None:
    """Padding named all axes."""
    if len(node.input) > 3 and node.input[3]:
        raise refuse(node, "it pads some axes only")
    del node.input[3:]


def _split(node: NodeProto, arrays: _Stored) -> None:
    """Equal parts need no number; unequal ones are refused when the outputs are compared."""
    _drop(node, "num_outputs")


def _resize(node: NodeProto, arrays: _Stored) -> None:
    _require(node, "antialias", 0)
    _require(node, "keep_aspect_ratio_policy", b"stretch")
    if _attribute(node, "axes"):
        raise refuse(node, "it resizes some axes only")


def _average_pool(node: NodeProto, arrays: _Stored) -> None:
    _require(node, "dilations", [])


def _cast(node: NodeProto, arrays: _Stored) -> None:
    _drop(node, "saturate")  # of 8-bit floats, which are not imported


_REWRITES: dict[str, Callable[[NodeProto, _Stored], None]] = {
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Pad": _pad,
    "Resize": _resize,
    "Split": _split,
}
