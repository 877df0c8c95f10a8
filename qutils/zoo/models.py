"""The models that ship with their weights, and how weights are read and written; MODELS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from qutils.errors import DataError, unknown_name
from qutils.files import atomic_path, data_dir, intact
from qutils.zoo.mobilenetv2 import MobileNetV2
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
    """A model of the zoo in eval mode, with the shipped FP32 weights or freshly initialized.

    Raises:
        InvalidInputError: unknown name; suggests the closest registered one.
        DataError: the checkpoint is missing, corrupt, truncated or belongs to another model.

    >>> load("resnet8", pretrained=False)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    known = entry(name)
    model = known.build()
    if pretrained:
        load_weights(model, intact(known.checkpoint))
    return model.eval()


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy the tensors of a safetensors file into ``model``; nothing is copied if any is amiss.

    Raises:
        DataError: the file cannot be read, or its names or shapes are not those of ``model``.
    """
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} is not a readable safetensors file ({error}). Give a file that "
            f"qutils.zoo.save wrote."
        ) from error
    problems = _mismatches(model.state_dict(), tensors)
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise DataError(
            f"{path} does not fit {type(model).__name__}: {'; '.join(problems[:3])}{more}. "
            f"Give the checkpoint of this model, or build the model as it was trained."
        )
    model.load_state_dict(tensors)


def _mismatches(model: Mapping[str, Tensor], file: Mapping[str, Tensor]) -> list[str]:
    """What keeps the tensors of a file from being loaded, one phrase each."""
    problems = [f"{name} is missing in the file" for name in model if name not in file]
    problems += [f"{name} is not in the model" for name in file if name not in model]
    for name, tensor in model.items():
        if name in file and file[name].shape != tensor.shape:
            problems.append(
                f"{name} is {list(file[name].shape)} in the file, {list(tensor.shape)} in the model"
            )
    return problems


def save(model: nn.Module, path: Path) -> Path:
    """Write the weights of ``model`` as safetensors, atomically; returns ``path``.

    Raises:
        DataError: the folder cannot be written; an earlier file is intact.
    """
    path = Path(path)
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors))
    return path
