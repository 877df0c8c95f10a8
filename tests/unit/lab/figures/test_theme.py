from __future__ import annotations

import io
import itertools
import subprocess
import sys

import matplotlib as mpl
import matplotlib.image
import pytest
from matplotlib.figure import Figure

from qutils.errors import InvalidInputError
from qutils.lab.figures import theme
from qutils.numerics.observers import OBSERVERS


def empty() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [0, 1])
    return figure


@pytest.mark.parametrize("colors", [theme.OBSERVER_COLORS, theme.METHOD_COLORS])
def test_colors_differ_for_colour_blind_eyes(colors):
    """Any two differ by a good step in brightness or in a hue that dichromats see (blue-yellow)."""
    for (a, x), (b, y) in itertools.combinations(colors.items(), 2):
        (r1, g1, b1), (r2, g2, b2) = (mpl.colors.to_rgb(c) for c in (x, y))
        brightness = abs(0.3 * (r1 - r2) + 0.6 * (g1 - g2) + 0.1 * (b1 - b2))
        yellow = abs((r1 + g1) / 2 - b1 - (r2 + g2) / 2 + b2)
        assert max(brightness, yellow) > 0.1, (a, b)


@pytest.mark.parametrize("observer", OBSERVERS)
def test_every_observer_has_a_colour(observer):
    assert mpl.colors.is_color_like(theme.observer_color(observer))


def test_unknown_observers_are_told_with_those_that_are_known():
    with pytest.raises(InvalidInputError, match="unknown observer 'nosuch': choose from minmax"):
        theme.observer_color("nosuch")


def test_refined_methods_are_shades_of_their_family():
    plain, refined = theme.method_color("ptq"), theme.method_color("ptq-bias-correction")
    assert plain == theme.METHOD_COLORS["ptq"] != refined
    assert sum(mpl.colors.to_rgb(refined)) > sum(mpl.colors.to_rgb(plain))


@pytest.mark.slow(reason="imports in fresh processes")
def test_colours_are_the_same_in_every_process():
    code = "from qutils.lab.figures import theme; print(theme.method_color('qat-lsq'))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == theme.method_color("qat-lsq")


def test_unknown_method():
    with pytest.raises(InvalidInputError, match="fp32, ptq, qat"):
        theme.method_color("pruning")


def test_the_callers_settings_neither_matter_nor_change():
    draw = theme.themed(empty)
    with mpl.rc_context({"axes.facecolor": "red"}):
        figure = draw()
        assert mpl.rcParams["axes.facecolor"] == "red"
    assert mpl.colors.to_hex(figure.axes[0].get_facecolor()) == "#ffffff"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_save(tmp_path, suffix):
    path = theme.save(empty(), tmp_path / "new" / f"figure{suffix}")
    assert path.stat().st_size > 500
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_suffixes_are_refused_before_writing(tmp_path):
    with pytest.raises(InvalidInputError, match=r"\.png or \.svg"):
        theme.save(empty(), tmp_path / "figure.jpg")
    assert list(tmp_path.iterdir()) == []


def test_svg_repeats_itself():
    assert theme.to_svg(empty()) == theme.to_svg(empty())


def test_png_has_its_resolution():
    image = matplotlib.image.imread(io.BytesIO(theme.to_png(empty(), dpi=50)))
    assert image.shape[:2] == (50, 100)
