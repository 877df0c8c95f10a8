from __future__ import annotations

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.studies.coverage import ARCHITECTURES, choose, plan


def test_the_list_is_long_enough_and_names_each_once() -> None:
    idioms = [name for name in ARCHITECTURES if name.startswith("idiom/")]
    assert len(idioms) >= 20
    assert len(ARCHITECTURES) - len(idioms) >= 120
    assert len(set(ARCHITECTURES)) == len(ARCHITECTURES)


def test_every_profile_names_known_architectures() -> None:
    for profile in plan.PROFILES.values():
        assert set(profile.architectures) <= set(ARCHITECTURES)
    assert len(plan.PROFILES["smoke"].architectures) == 5


def test_idioms_take_the_place_of_missing_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_installed", lambda package: package == "onnxruntime")
    size = choose("smoke")
    assert size.missing == ("timm", "torchvision", "transformers")
    assert size.peers == ("quantize_static",)
    assert len(size.architectures) == 5
    assert all(name.startswith("idiom/") for name in size.architectures)
    assert choose("full").peers_missing == ("nncf", "torchao")


def test_unknown_names_are_refused_with_the_closest() -> None:
    with pytest.raises(InvalidInputError, match="timm/resnet10t"):
        choose("full", ["timm/resnet10"])
    with pytest.raises(InvalidInputError, match="nncf"):
        choose("full", peers=["nnfc"])
