"""Names of layers: those of the network that the file was exported from, as far as it tells."""

from __future__ import annotations

import re

from onnx import ModelProto, NodeProto

_FUSED = re.compile(r"^Conv\w+Fusion_W_")  # what ONNX Runtime puts before a weight it merged
_SUFFIXES = (".weight", "/kernel", "/kernel:0", "_weight", "_W")


def name_nodes(model: ModelProto) -> dict[str, str]:
    """Return a dotted name for every node by its first output, none the beginning of another.

    A layer goes by its weight's name (``stage1.conv1.weight``), else by its node's
    (``/stage1/conv1/Conv``); other operators by their node's, or by their type.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    names = [_stem(node, stored) for node in model.graph.node]
    inner = {prefix for name in names for prefix in _prefixes(name)}
    taken: set[str] = set()
    paths: dict[str, str] = {}
    for node, name in zip(model.graph.node, names, strict=True):
        own = f"{name}.{node.op_type.lower()}" if name in inner else name
        count = 2
        while own in taken or own in inner:
            own, count = f"{name}_{count}", count + 1
        taken.add(own)
        paths[first_output(node)] = own
    return paths


def first_output(node: NodeProto) -> str:
    """Return the name of the first result of a node that has a name."""
    return next((name for name in node.output if name), "")


def _prefixes(name: str) -> list[str]:
    """Paths of the modules around one: ``a.b.c -> a, a.b``."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _stem(node: NodeProto, stored: set[str]) -> str:
    for name in node.input[1:2]:
        plain = _FUSED.sub("", name)
        suffix = next((s for s in _SUFFIXES if plain.endswith(s)), None)
        if name in stored and suffix and len(plain) > len(suffix):
            return dotted(plain.removesuffix(suffix))
    parts: list[str] = []
    for part in node.name.removeprefix("node_").split("/"):
        if parts and part.startswith(f"{parts[-1]}."):  # /layer1/layer1.0/conv1
            parts[-1] = part
        elif part:
            parts.append(part)
    if len(parts) > 1 and parts[-1].lower().startswith(node.op_type.lower()):
        parts.pop()
    return dotted("/".join(parts)) or node.op_type.lower()


def dotted(name: str) -> str:
    """Letters, digits and ``_`` between dots; every part begins with none of Python's surprises.

    >>> dotted("/features/0/conv1:0")
    'features.0.conv1_0'
    """
    parts = re.split(r"[/.]+", name.strip("/."))
    return ".".join(re.sub(r"\W", "_", part) for part in parts if part)
