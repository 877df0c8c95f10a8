"""The 1,000 classes of ImageNet in the order of networks' outputs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from qutils.files import data_dir, intact


def imagenet_wnids() -> tuple[str, ...]:
    """WordNet ids, sorted: what the folders of the usual layout are called.

    Raises:
        DataError: the list is missing, truncated or changed.
    Source: ILSVRC 2012, Russakovsky et al. 2015, arXiv:1409.0575.

    >>> imagenet_wnids()[:2], len(imagenet_wnids())
    (('n01440764', 'n01443537'), 1000)
    """
    return tuple(wnid for wnid, _ in _classes(data_dir() / "imagenet" / "classes.tsv"))


def imagenet_names() -> tuple[str, ...]:
    """The first English word of each class.

    Raises: as ``imagenet_wnids``.

    >>> imagenet_names()[:2]
    ('tench', 'goldfish')
    """
    return tuple(name for _, name in _classes(data_dir() / "imagenet" / "classes.tsv"))


@lru_cache(maxsize=2)
def _classes(path: Path) -> tuple[tuple[str, str], ...]:
    rows = [line.split("\t") for line in intact(path).read_text().splitlines()[1:]]
    return tuple((wnid, name) for _, wnid, name in rows)
