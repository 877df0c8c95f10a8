"""Sample pictures of packages as a stand-in for photographs."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from qutils import zoo
from qutils.errors import InvalidInputError, MissingPackageError
from qutils.zoo import Preprocessing
from qutils.zoo.natural import FILES, MOST


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("skimage", reason="extra imagenet")


def test_every_call_gives_the_same_crops_in_the_same_order() -> None:
    few, many = zoo.natural_pictures(20), zoo.natural_pictures(MOST)
    assert len(many) == MOST >= 100
    assert few.members == many.members[:20]
    assert torch.equal(few[15:17], many[15:17])


def test_crops_are_different_pictures_of_the_networks_shape() -> None:
    pixels = zoo.natural_pictures(MOST, Preprocessing(32)).pixels()
    assert pixels.shape == (MOST, 3, 32, 32)
    assert len({one.numpy().tobytes() for one in pixels}) == MOST


def test_regions_are_a_quarter_at_least_and_inside() -> None:
    for one in zoo.natural_pictures(MOST).members:
        left, upper, right, lower = one.region
        assert 0 <= left < right <= 1
        assert 0 <= upper < lower <= 1
        assert (right - left) * (lower - upper) >= 0.249


def test_first_are_the_whole_pictures() -> None:
    assert [one.path.name for one in zoo.natural_pictures(len(FILES)).members] == [
        file.rpartition("/")[2] for _, file in FILES
    ]


@pytest.mark.parametrize("count", [0, MOST + 1])
def test_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(InvalidInputError, match=f"there are 1..{MOST}"):
        zoo.natural_pictures(count)


def test_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install -e '\.\[imagenet\]'"):
        zoo.natural_pictures(3)
