from __future__ import annotations

import io
from itertools import pairwise

import pytest
from PIL import Image

from qutils.errors import InvalidInputError
from tests.unit.lab.explorers.toy import Toy, numbers


def test_controls_that_are_not_named_keep_their_default():
    toy = Toy()
    assert toy.complete({"bits": 8}) == {"bits": 8, "shape": "affine", "pause": 0}
    assert numbers(toy) == numbers(toy, bits=4)


def test_more_bits_less_error_about_six_decibels_each():
    toy = Toy()
    steps = [numbers(toy, bits=b)["sqnr_db"] for b in (5, 6, 7, 8)]
    assert [b - a for a, b in pairwise(steps)] == pytest.approx([6.02] * 3, abs=0.3)


def test_an_unknown_control_is_refused():
    with pytest.raises(InvalidInputError, match="unknown control 'bitz': did you mean 'bits'"):
        Toy().view(bitz=4)


def test_frames_are_the_product_of_what_each_control_offers():
    found = list(Toy().frames())
    assert len(found) == 3 * 2
    assert found[1] == {"bits": 2, "shape": "symmetric", "pause": 0}


@pytest.mark.parametrize(("kind", "shown"), [("png", "PNG"), ("webp", "WEBP")])
def test_pictures_are_of_the_format_asked_for(kind, shown):
    toy = Toy()
    with Image.open(io.BytesIO(toy.picture(toy.view(), kind))) as picture:
        assert picture.format == shown
        assert picture.size == (600, 250)
