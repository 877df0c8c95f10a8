"""The models that ship with their weights, and how weights are read and written; MODELS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from qutils.discovery import Discovered
from qutils.errors import unknown_name
from qutils.files import data_dir, intact
from qutils.numerics.tensors import read_tensors, write_tensors
from qutils.quantize.training import Plan
from qutils.zoo.pretrained import PRETRAINED, load_published


@dataclass(frozen=True)
class ModelEntry:
    """One model of the zoo: how to build it, what trained it on what, where its weights are.

    ``second_plan`` begins where ``plan`` ends, with a fresh optimizer and a lower learning rate (a
    warm restart: Loshchilov and Hutter 2017, arXiv:1608.03983). ``qat_bits`` are those of weights
    and activations of the networks after QAT that ship as well.
    """

    name: str
    build: Callable[[], nn.Module]
    dataset: str  # a name in DATASETS
    input_shape: tuple[int, ...]  # one picture: [C, H, W]
    description: str
    plan: Plan
    second_plan: Plan | None = None
    qat_bits: tuple[tuple[int, int], ...] = ()
    rank: int = 1000  # place in lists

    @property
    def checkpoint(self) -> Path:
        """``data/checkpoints/<name>.safetensors``; ``SHA256SUMS`` beside it has its checksum."""
        return data_dir() / "checkpoints" / f"{self.name}.safetensors"


#: Every model that ships with its weights, by name: ``MODEL`` of each module of this package.
MODELS: Mapping[str, ModelEntry] = Discovered("qutils.zoo", "MODEL")


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
