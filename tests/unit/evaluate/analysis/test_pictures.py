from __future__ import annotations

import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.pictures import SOURCES
from qutils.zoo import Split, normalize


@pytest.fixture(scope="module")
def split() -> Split:
    """300 pictures of 3 classes; each is told by its first two pixels."""
    images = torch.randint(1, 256, (300, 1, 4, 4), dtype=torch.uint8)
    index = torch.arange(300)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = index // 20, index % 20
    return Split("toy", images, torch.arange(300) % 3)


def indices(split: Split, pictures: torch.Tensor) -> list[int]:
    """Which pictures of the split these are."""
    all_of_it = split.prepare(split.images)
    return [int((all_of_it == p).flatten(1).all(dim=1).nonzero()) for p in pictures]


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_repeats_with_its_seed_and_is_normalized(split, source):
    pictures = source.pictures(split, 50, seed=3)
    assert pictures.shape == (50, 1, 4, 4)
    assert torch.equal(pictures, source.pictures(split, 50, seed=3))
    if source.name != "black":
        assert not torch.equal(pictures, source.pictures(split, 50, seed=4))
    darkest, brightest = normalize(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    assert darkest <= pictures.min() <= pictures.max() <= brightest


def test_real_sources_draw_none_twice(split):
    found = {
        name: indices(split, SOURCES[name].pictures(split, 90, seed=1))
        for name in ("random", "sorted", "one_class")
    }
    assert all(len(set(index)) == 90 for index in found.values())
    assert sorted(found["sorted"]) == sorted(found["random"])
    labels = {name: split.labels[index] for name, index in found.items()}
    assert labels["sorted"].diff().min() == 0
    assert labels["random"].diff().min() < 0
    assert len(labels["one_class"].unique()) == 1


def test_seeds_draw_every_class(split):
    classes = set()
    for seed in range(30):
        first = SOURCES["one_class"].pictures(split, 1, seed)
        classes.add(int(split.labels[indices(split, first)]))
    assert classes == {0, 1, 2}


def test_shuffled_pixels_are_those_of_the_pictures(split):
    real = SOURCES["random"].pictures(split, 50).flatten().sort().values
    shuffled = SOURCES["shuffled"].pictures(split, 50)
    assert torch.equal(shuffled.flatten().sort().values, real)


def test_noise_takes_every_brightness_and_black_one(split):
    noise = SOURCES["noise"].pictures(split, 300)
    assert len(noise.unique()) == 256
    assert SOURCES["black"].pictures(split, 5).unique().numel() == 1


@pytest.mark.parametrize("count", [0, 301])
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_impossible_numbers_are_refused(split, source, count):
    with pytest.raises(InvalidInputError, match=r"1\.\.300"):
        source.pictures(split, count)


def test_a_class_with_too_few_pictures_is_named(split):
    with pytest.raises(InvalidInputError, match="'toy' has 100 pictures of class"):
        SOURCES["one_class"].pictures(split, 101)
