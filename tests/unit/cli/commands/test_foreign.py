from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from qutils.cli.commands.foreign import FORMATS, foreign
from qutils.importers.onnx import load_onnx


@pytest.mark.parametrize("ending", FORMATS)
def test_a_file_of_another_format_is_told_how_to_convert_it(
    ending, tmp_path, monkeypatch, quantize
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"net{ending}").touch()
    np.savez("x.npz", inputs=np.zeros((4, 3, 8, 8), np.float32))
    result = quantize(f"net{ending}", "int8.onnx", "--data", "x.npz")
    assert result.exit_code == 2
    said = str(foreign(f"net{ending}"))
    assert said in result.output
    assert said.startswith(f"net{ending} is a")
    assert "{" not in said.replace("{'x': {0: 'N'}}", "")


def test_other_endings_are_none_of_its_business():
    assert foreign("net.onnx") is None
    assert foreign("resnet8") is None
    assert foreign("nets.py:Tiny") is None


def test_the_command_for_torchscript_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net).save("net.pt")
        command = re.search(r'python -c "(.*?)", with the shape', str(foreign("net.pt")))
        exec(command.group(1).replace("224", "8"))
    x = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(load_onnx("net.onnx")(x), net(x))


def test_the_way_for_weights_works(tmp_path, monkeypatch, quantize):
    monkeypatch.chdir(tmp_path)
    source = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(3, 4, 3))\n"
    (tmp_path / "weightless.py").write_text(source)
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 3)).state_dict(), "net.pth")
    np.savez("x.npz", inputs=np.random.default_rng(0).random((9, 3, 8, 8), np.float32))
    assert "Name the module as well: path/to/file.py:NAME --weights net.pth" in str(
        foreign("net.pth")
    )
    result = quantize(
        "weightless.py:net", "--weights", "net.pth", "--data", "x.npz", "--simulate-only"
    )
    assert result.exit_code == 0, result.output
