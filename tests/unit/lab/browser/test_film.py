from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from qutils.errors import DataError
from qutils.lab.browser import film


def pictures(count=4, height=60):
    generator = np.random.default_rng(0)
    for index in range(count):
        noise = generator.integers(0, 255, (height + index, 80, 3), dtype=np.uint8)
        yield Image.fromarray(noise)


def test_it_is_an_animation_that_lasts_as_long_as_asked(tmp_path):
    size = film.save(list(pictures()), tmp_path / "lab.webp", seconds=2.0)
    assert size == (tmp_path / "lab.webp").stat().st_size
    with Image.open(tmp_path / "lab.webp") as made:
        assert made.n_frames == 4
        assert made.size == (80, 63)  # the highest
        assert made.info["loop"] == 0
        made.seek(1)
        made.load()
        assert made.info["duration"] == 500


def test_quality_gives_way_before_the_limit_does(tmp_path, monkeypatch):
    best = film.save(list(pictures()), tmp_path / "a.webp")
    monkeypatch.setattr(film, "LIMIT", best - 1)
    assert film.save(list(pictures()), tmp_path / "b.webp") < best


def test_too_heavy_a_film_leaves_the_earlier_one(tmp_path, monkeypatch):
    path = tmp_path / "lab.webp"
    path.write_bytes(b"earlier")
    monkeypatch.setattr(film, "LIMIT", 100)
    with pytest.raises(DataError, match="more than 100: fewer pictures"):
        film.save(list(pictures()), path)
    assert path.read_bytes() == b"earlier"
