"""Datasets, models, photographs, training: DATASETS, MODELS, PRETRAINED and others."""

from qutils.zoo.datasets import (
    DATASETS,
    Dataset,
    Split,
    data_folder,
    dataset,
    fashion_mnist,
    normalize,
)
from qutils.zoo.imagenet import imagenet_names, imagenet_wnids
from qutils.zoo.models import MODELS, ModelEntry, entry, load, load_weights, save
from qutils.zoo.natural import natural_pictures
from qutils.zoo.photographs import Photograph, Photographs
from qutils.zoo.picture_folder import class_folders, holds_pictures, read_photographs
from qutils.zoo.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from qutils.zoo.pretrained import PRETRAINED, PretrainedEntry, pretrained_entry
from qutils.zoo.quantized import QAT_CHECKPOINTS, QatCheckpoint, load_quantized
from qutils.zoo.recipes import train

__all__ = [
    "DATASETS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MODELS",
    "PRETRAINED",
    "QAT_CHECKPOINTS",
    "Dataset",
    "ModelEntry",
    "Photograph",
    "Photographs",
    "Preprocessing",
    "PretrainedEntry",
    "QatCheckpoint",
    "Split",
    "class_folders",
    "data_folder",
    "dataset",
    "entry",
    "fashion_mnist",
    "holds_pictures",
    "imagenet_names",
    "imagenet_wnids",
    "load",
    "load_quantized",
    "load_weights",
    "natural_pictures",
    "normalize",
    "pretrained_entry",
    "read_photographs",
    "save",
    "train",
]
