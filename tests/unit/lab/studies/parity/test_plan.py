from __future__ import annotations

import pytest

from qutils.backends import Backend
from qutils.backends.runtimes import RUNTIMES
from qutils.errors import InvalidInputError, MissingPackageError
from qutils.lab.studies.parity import PROFILES, choose
from qutils.lab.studies.parity.words import of_missing
from qutils.zoo import MODELS


def absent(name: str) -> Backend:
    return Backend(name, "Absent", ".x", "", "", "no_such_package", command="pip install it")


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_runtime_that_is_here_runs(profile):
    here = tuple(name for name, entry in RUNTIMES.items() if entry.installed)
    assert choose(profile).runtimes == here
    assert "onnxruntime" in here


@pytest.mark.parametrize("profile", ["default", "full"])
def test_profiles_that_are_published_compare_every_model(profile):
    assert set(choose(profile).models) == set(MODELS)


def test_full_takes_all_test_pictures():
    assert choose("full").pictures == 10_000


def test_a_runtime_that_is_missing_is_told_with_its_command(monkeypatch):
    monkeypatch.setattr("qutils.lab.studies.parity.plan.RUNTIMES", {"absent": absent("absent")})
    size = choose("smoke")
    assert (size.runtimes, size.missing) == ((), (("absent", "pip install it"),))
    assert "`absent` (`pip install it`)" in of_missing(size)
    with pytest.raises(MissingPackageError, match="pip install it"):
        choose("smoke", runtimes=["absent"])


def test_fewer_pictures_than_layers_would_take():
    size = choose("default", pictures=10)
    assert (size.pictures, size.layer_pictures) == (10, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "ful"}, "did you mean 'full'"),
        ({"profile": "smoke", "models": ["resnet9"]}, "did you mean 'resnet8'"),
        ({"profile": "smoke", "runtimes": ["onnxruntim"]}, "did you mean 'onnxruntime'"),
        ({"profile": "smoke", "runtimes": []}, "at least one runtime"),
        ({"profile": "smoke", "pictures": 0}, "at least 1"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InvalidInputError, match=message):
        choose(**options)
