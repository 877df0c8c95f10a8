from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch

from qutils.importers.onnx import import_onnx
from tests.unit.importers.onnx.files import save
from tests.unit.importers.onnx.operators import CASES


def run(path, *arrays):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))


@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_onnx_runtime_computes(name, tmp_path):
    case, opset = CASES[name]
    file = save(
        tmp_path / "m.onnx", case.nodes(), case.tensors(), case.shape, opset, result=case.kind
    )
    x = case.inputs()
    pieces = np.split(x, len(x)) if case.shape[0] == 1 else [x]
    expected = np.concatenate([run(file, piece)[0] for piece in pieces])
    imported = import_onnx(file, torch.from_numpy(x[:2]))
    traced = torch.export.export(
        imported.module,
        (torch.from_numpy(x[:2]),),
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
    ).module()
    outputs = traced(torch.from_numpy(x)).detach().numpy()
    assert outputs.dtype == expected.dtype
    scale = float(np.abs(expected).max()) if expected.dtype.kind == "f" else 0
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=2e-6 * scale)
