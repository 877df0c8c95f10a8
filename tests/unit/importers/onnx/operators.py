"""One-node models of every operator and operator set."""

from __future__ import annotations

from tests.unit.importers.onnx.cases_arranging import LAYOUTS, RESIZES
from tests.unit.importers.onnx.cases_computing import ELEMENTWISE, LAYERS, NORMS, POOLS, REDUCTIONS

CASES = {
    f"{kind} {name} {opset}": (case, opset)
    for kind, cases in {
        "elementwise": ELEMENTWISE,
        "layer": LAYERS,
        "pool": POOLS,
        "norm": NORMS,
        "reduce": REDUCTIONS,
        "layout": LAYOUTS,
        "resize": RESIZES,
    }.items()
    for name, case in cases.items()
    for opset in case.opsets
}
