"""The passes that simplify a translated graph."""

from __future__ import annotations

import onnxscript.rewriter

from qutils.backends.shared.onnx_passes import _QUADRATIC


def test_the_rule_that_is_left_out_exists():
    known = {rule.name for rule in onnxscript.rewriter._DEFAULT_REWRITE_RULES}
    assert set(_QUADRATIC) <= known
