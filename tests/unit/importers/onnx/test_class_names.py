"""Class names in an ONNX file's metadata, as exporters write them; text alone, never executed."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import nn

from qutils.backends.shared.onnx_writer import export_float
from qutils.cli.commands.models import class_names as names_of_model
from qutils.importers.onnx.class_names import class_names


def holding(**metadata: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, metadata)
    return model


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ({"names": "{0: 'cat', 1: 'dog'}", "task": "classify"}, ("cat", "dog")),
        ({"names": '["cat", "dog"]'}, ("cat", "dog")),
        ({"class_names": '{"1": "dog", "0": "cat"}'}, ("cat", "dog")),
        ({"names": "cat", "classes": "('cat',)"}, ("cat",)),
        ({"names": "{0: 'cat', 2: 'dog'}"}, None),
        ({"names": "[0, 1]"}, None),
        ({"names": "__import__('os').getcwd()"}, None),
        ({"names": ""}, None),
        ({}, None),
    ],
)
def test_names_are_read_as_a_literal(metadata, names):
    assert class_names(holding(**metadata)) == names


def test_an_imported_network_knows_its_classes(tmp_path):
    from qutils.cli.commands.models import read_model

    path = tmp_path / "net.onnx"
    export_float(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval(), (4,), path)
    assert names_of_model(read_model(str(path), example=torch.randn(2, 4))) is None
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"names": "{0: 'cat', 1: 'dog'}"})
    onnx.save(model, path)
    assert names_of_model(read_model(str(path), example=torch.randn(2, 4))) == ("cat", "dog")
