"""Make an exported program functional, as ``run_decompositions`` does, in less than half the time.

``ExportedProgram.run_decompositions`` tells PyTorch's dispatcher for each of some 500 operators
that it is to be kept whole, at every call: 0.15 s, whatever the size of the network. Here only the
operators of the program are named. A program with operators that fall apart into others takes the
long way, as what they fall apart into may have to be kept whole as well.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.exported_program import _decompose_exported_program
from torch.fx import Node

from qutils.graph.attention import DECOMPOSITIONS

_aten = torch.ops.aten
#: Composite operators that PyTorch takes apart, into operators that are no composites.
_SIMPLE = {
    _aten.batch_norm.default,
    _aten.chunk.default,
    _aten.contiguous.default,
    _aten.dropout.default,
    _aten.expand_as.default,
    _aten.flatten.using_ints,
    _aten.reshape.default,
    _aten.to.dtype,
    _aten.unflatten.int,
}
#: Composite operators in what ``DECOMPOSITIONS`` give.
_GIVEN = (_aten.matmul.default, _aten.softmax.int, _aten.where.Scalar)


def decompose(program: ExportedProgram) -> ExportedProgram:
    """Return ``program.run_decompositions(DECOMPOSITIONS)``: no in-place operators, no attention.

    Raises:
        Exception: whatever ``torch.export`` raises.
    """
    kept = _kept_whole(program)
    if kept is None:
        found: ExportedProgram = program.run_decompositions(DECOMPOSITIONS)
        return found
    return _decompose_exported_program(  # type: ignore[no-any-return]
        program,
        cia_to_decomp=kept,
        python_decomp_table={},
        joint_loss_index=None,
        decompose_custom_triton_ops=False,
    )


def _kept_whole(program: ExportedProgram) -> dict[Any, Any] | None:
    """Return the composite operators of a program, each with its rule; None if more may arise."""
    from torch._export.utils import (
        _is_cia_op,
        _is_preservable_cia_op,
        _special_op_to_preserve_cia,
    )

    found: dict[Any, Any] = {}
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            target = node.target
            if not _is_operator(node):
                continue
            if not isinstance(target, torch._ops.OpOverload):
                return None
            if target in DECOMPOSITIONS:
                found |= dict.fromkeys(_GIVEN, _special_op_to_preserve_cia)
                found[target] = DECOMPOSITIONS[target]
            elif _is_preservable_cia_op(target):
                found[target] = _special_op_to_preserve_cia
            elif _is_cia_op(target) and target not in _SIMPLE:
                return None
    return found


def _is_operator(node: Node) -> bool:
    """Whether a node calls one of PyTorch's operators, not one of Python's on sizes."""
    return node.op == "call_function" and isinstance(node.target, torch._ops.OperatorBase)
