"""How pictures of ``--data`` become inputs of MODEL: what the model says, what options change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qutils import zoo
from qutils.cli.commands.models import is_onnx
from qutils.cli.commands.request import Request
from qutils.errors import InvalidInputError
from qutils.importers.onnx.read import batch_input, read, shape_of
from qutils.reading import read_text
from qutils.zoo import Preprocessing
from qutils.zoo.datasets import MEAN, STD

#: What ``--data`` calls the sample pictures of packages.
NATURAL = "natural_pictures"
_COLOUR: dict[str, Any] = {"mean": zoo.IMAGENET_MEAN, "std": zoo.IMAGENET_STD}
#: Of grey pictures where none are given: ImageNet's, averaged over the three colours.
_GREY: dict[str, Any] = {"mean": (0.449,), "std": (0.226,)}


@dataclass(frozen=True)
class Look:
    """How pictures become inputs, and the classes in the order of the network's outputs."""

    preprocessing: Preprocessing
    classes: Sequence[str] | None = None  # None: the model's, ImageNet's, or folders as sorted
    assumed: str = ""  # what neither the model nor an option said


#: Of pictures of which nothing is said.
AS_USUAL = Look(Preprocessing())


def look_of(request: Request) -> Look:
    """How pictures become inputs of the model asked for.

    Raises:
        InvalidInputError: options about pictures with data that is none; as ``preprocessing_of``.
        DataError: as ``preprocessing_of``.
    """
    pictures = request.data in (None, NATURAL) or zoo.holds_pictures(Path(request.data or ""))
    if not pictures:
        for option in ("size", "mean", "std", "classes"):
            if getattr(request, option) is not None:
                raise InvalidInputError(
                    f"--{option} says how pictures are read, and {request.data} holds none"
                )
        return AS_USUAL
    classes = None if request.classes is None else read_classes(request.classes)
    found = preprocessing_of(request.model, request.size, request.mean, request.std)
    return Look(found, classes, _assumed(request))


def read_classes(given: str) -> tuple[str, ...]:
    """Names of classes in the order of outputs: of a file, one a line, or ``a,b,c``.

    Raises:
        InvalidInputError: neither of both, or a name is empty.
        DataError: the file is no text.

    >>> read_classes("cat, dog")
    ('cat', 'dog')
    """
    path = Path(given)
    if path.is_file():
        lines = (
            read_text(path, "Save it as UTF-8 text, one class name a line", "utf-8-sig")
            .rstrip()
            .splitlines()
        )
    elif "," in given:
        lines = given.split(",")
    else:
        raise InvalidInputError(
            f"--classes {given} is neither a file nor a list. Give a file with one name a line, or "
            "names with commas between them."
        )
    names = tuple(line.strip() for line in lines)
    if not all(names):
        number = names.index("") + 1 if names else 1
        raise InvalidInputError(
            f"--classes {given}: name {number} is empty. Name the class of every output."
        )
    return names


def _assumed(request: Request) -> str:
    """Options that would say what is taken from ImageNet instead; empty if nothing is."""
    if request.model in (*zoo.MODELS, *zoo.PRETRAINED):
        return ""
    options = ["--mean"] * (request.mean is None) + ["--std"] * (request.std is None)
    if request.size is None and not is_onnx(request.model):
        options.insert(0, "--size")
    return f"as ImageNet's usually are: {', '.join(options)} say otherwise" if options else ""


def preprocessing_of(
    model: str,
    size: tuple[int, int] | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Preprocessing:
    """What the network wants, as far as its name or file says; what is given comes first.

    A network of the zoo has its own; an ONNX file says its size and whether it sees colour; a
    module says neither: 224x224, in colour. Mean and spread are ImageNet's but for the zoo's.

    Raises:
        InvalidInputError: figures that are no mean or spread of pixels in [0, 1].
        DataError: the ONNX file cannot be read.

    >>> preprocessing_of("nets.py:Tiny", size=(32, 32)).shape
    (3, 32, 32)
    >>> preprocessing_of("resnet8").shape
    (1, 28, 28)
    """
    known = _known(model)
    if size is not None:
        known = replace(known, size=size[0] if size[0] == size[1] else size, resize=None)
    given: dict[str, Any] = {"mean": mean, "std": std}
    given = {key: value for key, value in given.items() if value is not None}
    channels = {len(value) for value in given.values()}
    if channels and is_onnx(model) and channels != {len(known.mean)}:
        raise InvalidInputError(
            f"{model} takes pictures of {len(known.mean)} channels: give --mean and --std so many "
            "numbers"
        )
    if channels and channels != {len(known.mean)}:  # the other colours than the model's name says
        known = replace(known, **(_GREY if channels == {1} else _COLOUR))
    return replace(known, **given)


def _known(model: str) -> Preprocessing:
    if model in zoo.PRETRAINED:
        return zoo.PRETRAINED[model].preprocessing
    if model in zoo.MODELS:
        side = zoo.MODELS[model].input_shape[-1]
        return Preprocessing(side, side, mean=(MEAN,), std=(STD,))
    if is_onnx(model):
        return _of_onnx(Path(model))
    return Preprocessing()


def _of_onnx(path: Path) -> Preprocessing:
    """Size and colours of an ONNX file's input ``[N, C, H, W]``, as far as it states them."""
    axes = shape_of(batch_input(read(path)))
    channels = axes[1] if len(axes) == 4 else 0
    if isinstance(channels, int) and channels not in (1, 3):
        raise InvalidInputError(
            f"{path} takes inputs of shape [{', '.join(map(str, axes))}], which pictures "
            "[N, 1 or 3, H, W] are not: give --data as an .npz or .npy file"
        )
    colours = _GREY if channels == 1 else _COLOUR
    height, width = axes[2:]
    if not isinstance(height, int) or not isinstance(width, int):
        return Preprocessing(**colours)
    return Preprocessing(height if height == width else (height, width), **colours)
