"""Simplification of a translated ONNX graph: onnxscript's passes, in time linear in the graph."""

from __future__ import annotations

import onnx_ir
import onnxscript.optimizer
import onnxscript.rewriter
from onnx_ir.passes import common

#: Tried at each node against all others: minutes for a graph of a few thousand nodes. It joins two
#: slices into a split, which no backend needs.
_QUADRATIC = ("SlicesSplit",)
_ROUNDS = 2


def simplify(model: onnx_ir.Model) -> None:
    """Fold constants, apply onnxscript's rewrite rules and share what is equal, in place.

    The passes are those of ``onnxscript.optimizer.optimize_ir`` without its quadratic rule.
    """
    rules = [r for r in onnxscript.rewriter._DEFAULT_REWRITE_RULES if r.name not in _QUADRATIC]
    common.InlinePass()(model)
    for _ in range(_ROUNDS):
        folded = onnxscript.optimizer.fold_constants_ir(model, onnx_shape_inference=True)
        rewritten = onnxscript.rewriter.RewritePass(rules)(model)
        for tidy in (
            common.RemoveUnusedNodesPass(),
            common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]
            common.RemoveUnusedOpsetsPass(),
        ):
            tidy(model)
        if not (folded.modified or rewritten.modified):
            break
    for each in (
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    ):
        each(model)
