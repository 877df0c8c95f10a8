from __future__ import annotations

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.studies.benchmark import PROFILES, choose
from qutils.numerics.observers import OBSERVERS
from qutils.zoo import MODELS


@pytest.mark.parametrize("profile", list(PROFILES))
def test_a_profile_left_alone_is_itself(profile):
    assert choose(profile) == PROFILES[profile]


@pytest.mark.parametrize("profile", ["default", "full"])
def test_profiles_that_are_published_measure_everything(profile):
    size = PROFILES[profile]
    assert set(size.models) == set(MODELS)
    assert set(size.observers) == set(OBSERVERS)
    assert (size.batches, size.threads) == ((1, 32), 1)
    assert (size.memory_pictures, size.step_batch) == ((256, 4096), 128)


def test_what_is_given_replaces_what_the_profile_says():
    size = choose("default", ["resnet8"], [4, 4, 1], ["mse"], repeats=7, threads=2)
    assert (size.models, size.batches, size.observers) == (("resnet8",), (4, 1), ("mse",))
    assert (size.repeats, size.threads) == (7, 2)
    assert size.memory_models == ("resnet8",)  # the profile's own is not among the models


@pytest.mark.parametrize(
    ("profile", "options", "message"),
    [
        ("fulll", {}, "did you mean 'full'"),
        ("smoke", {"models": ["resnet9"]}, "did you mean 'resnet8'"),
        ("smoke", {"models": []}, "at least one model"),
        ("smoke", {"observers": ["msee"]}, "did you mean 'mse'"),
        ("smoke", {"batches": []}, "at least 1"),
        ("smoke", {"batches": [0]}, "at least 1"),
        ("smoke", {"repeats": 4}, "at least 5"),
        ("smoke", {"threads": 0}, "threads"),
    ],
)
def test_bad_settings(profile, options, message):
    with pytest.raises(InvalidInputError, match=message):
        choose(profile, **options)
