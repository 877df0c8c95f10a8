from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from qutils.errors import InvalidInputError
from qutils.lab.explorers import frames as module
from qutils.lab.explorers.frames import frames
from tests.unit.lab.explorers.toy import EVIL, Toy


@pytest.fixture(scope="module")
def made():
    return frames(Toy())


def test_there_is_a_frame_for_every_setting_that_is_offered(made):
    assert set(made["frames"]) == {f"{b},{s}" for b in range(3) for s in range(2)}
    assert [len(c["texts"]) for c in made["state"]["controls"]] == [3, 2]  # pause has but one
    assert made["state"]["setting"] == [1, 0]  # where the controls start


@pytest.mark.parametrize(
    ("start", "place"), [({"bits": 8}, 2), ({"bits": 3}, 1), ({"shape": "symmetric"}, 1)]
)
def test_the_page_starts_where_the_notebook_does_if_it_offers_that(start, place):
    setting = frames(Toy(), start)["state"]["setting"]
    assert setting == ([1, 1] if "shape" in start else [place, 0])


def test_each_frame_is_what_the_explorer_answers(made):
    toy = Toy()
    for key, (picture, text, alt) in made["frames"].items():
        at = [int(place) for place in key.split(",")]
        view = toy.view(bits=(2, 4, 8)[at[0]], shape=("affine", "symmetric")[at[1]])
        assert made["texts"][text] == view.html()
        assert alt == view.alt
        shown = Image.open(io.BytesIO(base64.b64decode(made["pictures"][picture])))
        assert shown.format == "WEBP"
        assert base64.b64decode(made["pictures"][picture]) == toy.picture(view, "webp")


def test_what_repeats_is_stored_once():
    still = Toy()
    still.plot.show = lambda data: None
    assert len(frames(still)["pictures"]) == 1


def test_it_is_json_also_with_hostile_text():
    assert json.loads(json.dumps(frames(Toy(note=EVIL))))["state"]["title"] == "Toy"


def test_too_many_bytes_are_refused_with_the_mend(monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 10_000)
    with pytest.raises(InvalidInputError, match=r"6 frames take .* more than 10,000: offer fewer"):
        frames(Toy())
