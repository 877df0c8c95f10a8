from __future__ import annotations

import io

import pytest
from PIL import Image

from qutils.lab.figures import live
from qutils.lab.figures.live import LiveFigure


class Limits(LiveFigure):
    """A line that moves, in axes whose limits change; counts how often all is painted."""

    def __init__(self, named: bool) -> None:
        self.named, self.limit = named, 0.0
        self.painted = 0
        super().__init__(3, 2)
        draw = self._canvas.draw
        self._canvas.draw = lambda: (setattr(self, "painted", self.painted + 1), draw())

    def build(self, figure):
        self.axes = figure.subplots()
        (self.line,) = self.axes.plot([], [])
        self.move(self.line)

    def show(self, data):
        limit, y = data
        if limit != self.limit:
            self.limit = limit
            self.axes.set_xlim(0, limit)
            self.repaint(limit if self.named else None)
        self.line.set_data([0, limit], [0, y])


def pictures(figure, *shown):
    found = []
    for data in shown:
        figure.show(data)
        found.append(figure.image())
    return found


SHOWN = ((1, 0.5), (2, 0.5), (1, 0.5), (1, 0.7), (2, 0.5))


@pytest.mark.parametrize(("named", "painted"), [(False, 4), (True, 2)])
def test_what_was_painted_under_a_name_is_copied_and_the_pictures_are_the_same(named, painted):
    figure = Limits(named)
    found = pictures(figure, *SHOWN)
    assert figure.painted == painted
    assert found == [pictures(Limits(False), data)[0] for data in SHOWN]
    assert found[0] == found[2] != found[3]


def test_few_backgrounds_are_kept(monkeypatch):
    monkeypatch.setattr(live, "KEPT", 2)
    figure = Limits(named=True)
    pictures(figure, (1, 1), (2, 1), (3, 1), (1, 1))
    assert figure.painted == 4
    assert len(figure._kept) == 2


@pytest.mark.parametrize(("kind", "shown"), [("png", "PNG"), ("webp", "WEBP")])
def test_pictures_have_the_size_of_the_figure(kind, shown):
    figure = Limits(named=True)
    figure.show((1, 1))
    with Image.open(io.BytesIO(figure.image(kind))) as image:
        assert (image.format, image.size) == (shown, (300, 200))
