"""Datasets, models and the recipes that trained them: DATASETS, MODELS, RECIPES."""

from qutils.zoo.datasets import (
    DATASETS,
    Dataset,
    Split,
    data_folder,
    dataset,
    fashion_mnist,
    normalize,
)
from qutils.zoo.models import MODELS, ModelEntry, entry, load, load_weights, save
from qutils.zoo.recipes import RECIPES, SECOND_ROUNDS, train

__all__ = [
    "DATASETS",
    "MODELS",
    "RECIPES",
    "SECOND_ROUNDS",
    "Dataset",
    "ModelEntry",
    "Split",
    "data_folder",
    "dataset",
    "entry",
    "fashion_mnist",
    "load",
    "load_weights",
    "normalize",
    "save",
    "train",
]
