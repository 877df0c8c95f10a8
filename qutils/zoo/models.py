"""The models that ship with their weights, and how weights are read and written; MODELS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from qutils.errors import unknown_name
from qutils.files import data_dir, intact
from qutils.tensors import read_tensors, write_tensors
from qutils.zoo.mobilenetv2 import MobileNetV2
from qutils.zoo.pretrained import PRETRAINED, load_published
from qutils.zoo.resnet8 import ResNet8


@dataclass(frozen=True)
class ModelEntry:
    """One model of the zoo: how to build it, what it was trained on, where its weights are."""

    name: str
    build: Callable[[], nn.Module]
    dataset: str  # a name in DATASETS
    input_shape: tuple[int, ...]  # one picture: [C, H, W]
    description: str

    @property
    def checkpoint(self) -> Path:
        """``data/checkpoints/<name>.safetensors``; ``SHA256SUMS`` beside it has its checksum."""
        return data_dir() / "checkpoints" / f"{self.name}.safetensors"


_ENTRIES = (
    ModelEntry(
        "resnet8",
        ResNet8,
        "fashion_mnist",
        (1, 28, 28),
        "the image-classification reference of MLPerf Tiny: plain convolutions, quantizes well",
    ),
    ModelEntry(
        "mobilenetv2",
        MobileNetV2,
        "fashion_mnist",
        (1, 28, 28),
        "depthwise convolutions, inverted residuals, ReLU6: the kind that breaks naive PTQ",
    ),
)
MODELS: dict[str, ModelEntry] = {entry.name: entry for entry in _ENTRIES}


def entry(name: str) -> ModelEntry:
    """The registered model of that name.

    Raises:
        InvalidInputError: unknown name; suggests the closest registered one.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]


def load(name: str, pretrained: bool = True) -> nn.Module:
    """A model of the zoo in eval mode, with its FP32 weights or freshly initialized.

    The models of ``MODELS`` ship with their weights; those of ``PRETRAINED`` have them from a
    package of their own.

    Raises:
        InvalidInputError: unknown name; suggests the closest registered one.
        DataError: the checkpoint is missing, corrupt, truncated or belongs to another model.
        MissingPackageError: the package of a published network is not installed.

    >>> import torch
    >>> load("resnet8", pretrained=False)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if name in PRETRAINED:
        model = PRETRAINED[name].build()
        if pretrained:
            load_published(model, PRETRAINED[name])
        return model.eval()
    if name not in MODELS:
        raise unknown_name("model", name, [*MODELS, *PRETRAINED])
    model = MODELS[name].build()
    if pretrained:
        load_weights(model, intact(MODELS[name].checkpoint))
    return model.eval()


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy the tensors of a safetensors file into ``model``; nothing is copied if any is amiss.

    Raises:
        DataError: the file cannot be read, or its names or shapes are not those of ``model``.
    """
    read_tensors(model, path)


def save(model: nn.Module, path: Path) -> Path:
    """Write the weights of ``model`` as safetensors, atomically; returns ``path``.

    Raises:
        DataError: the folder cannot be written; an earlier file is intact.
    """
    return write_tensors(model, path)
