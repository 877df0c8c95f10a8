"""``qutils quantize``: a float model in, an INT8 file and what became of its outputs out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from qutils.cli.commands.choices import (
    GRANULARITY,
    METHOD,
    OBSERVER,
    TARGET,
    Channels,
    Epochs,
    Sides,
)
from qutils.interrupt import nothing_begun
from qutils.numerics.schemes import MAX_BITS, MIN_BITS

_BITS = click.IntRange(MIN_BITS, MAX_BITS)
_FILE = click.Path(path_type=Path, dir_okay=False)
_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option("--weights", type=_FILE, help="Weights: .safetensors, or a state dict (.pt)."),
    click.option(
        "--data", help="A dataset of the zoo, .npz, .npy, or a folder of pictures or .npy files."
    ),
    click.option(
        "--pictures", type=click.IntRange(min=1), default=512, help="How many inputs give ranges."
    ),
    click.option("--size", type=Sides(), help="Of pictures: 224, or HEIGHTxWIDTH."),
    click.option("--mean", type=Channels(), help="Of pixels in [0, 1]: R,G,B, or one if grey."),
    click.option("--std", type=Channels(), help="Of pixels in [0, 1]: R,G,B, or one if grey."),
    click.option(
        "--classes",
        metavar="FILE|A,B,...",
        help="Class folders as outputs are ordered: a file, one a line, or a list.",
    ),
    click.option(
        "--outputs",
        multiple=True,
        metavar="NAME",
        help="End an ONNX network at this value; may be repeated.",
    ),
    click.option(
        "--dynamic",
        multiple=True,
        metavar="INPUT:AXIS=NAME",
        help="An axis of any size, as ids:1=sequence; NAME batch: the samples, none: no samples.",
    ),
    click.option(
        "--fix",
        multiple=True,
        metavar="INPUT=NUMBER",
        help="A number for an input of an ONNX network, as sampling_rate=16000; not in the data.",
    ),
    click.option("--weight-bits", type=_BITS, default=8),
    click.option("--activation-bits", type=_BITS, default=8),
    click.option("--observer", type=OBSERVER, default="minmax", help="How ranges are chosen."),
    click.option("--method", type=METHOD, default="ptq", help="What refines the calibrated model."),
    click.option("--granularity", type=GRANULARITY, default="per_channel", help="Of weights."),
    click.option("--group-size", type=click.IntRange(min=1), help="With --granularity per_group."),
    click.option(
        "--symmetric/--affine",
        default=None,
        show_default="symmetric weights, affine activations",
        help="Weights and activations alike.",
    ),
    click.option(
        "--saturation-safe/--no-saturation-safe",
        default=None,
        show_default="only where nothing else prevents it: openvino, inductor",
        help="Limit 8-bit weights so that x86 CPUs without VNNI compute the same.",
    ),
    click.option(
        "--target",
        type=TARGET,
        default=None,
        show_default="by the ending of OUT",
        help="What will run the file.",
    ),
    click.option("--strict", is_flag=True, help="Refuse operators without integer kernel."),
    click.option("--simulate-only", is_flag=True, help="Write no file; needs no OUT."),
    click.option("--save", type=_FILE, help="Keep the simulated model: .safetensors, any bits."),
    click.option(
        "--qat-epochs",
        type=Epochs(min=0),
        default=0.0,
        help="Train that long with the rounding on; needs labels.",
    ),
    click.option(
        "--seed", type=click.IntRange(min=0), default=None, show_default="0", help="Of QAT."
    ),
    click.option("--threads", type=click.IntRange(min=1), default=1),
)


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("quantize", context_settings={"show_default": True})
@click.argument("model")
@click.argument("out", required=False, type=_FILE)
@_options
def command(**given: Any) -> None:
    """Quantize MODEL and write the file OUT.

    Its ending says what will run it: .onnx ONNX Runtime, .tflite LiteRT, .pte ExecuTorch, .pt2
    PyTorch Inductor. For OpenVINO and TensorRT, which read .onnx as well, give --target.

    MODEL is a model of the zoo (`qutils train --help` names them), efficientnet_lite0 with its
    ImageNet weights, a float ONNX file (path/to/net.onnx), or path/to/file.py:NAME, where NAME is
    an nn.Module, or a class or function without arguments that makes one. A .py file is imported,
    which executes it: name only code that you trust. Weights and ONNX files are read without
    executing anything.

    --data for a model of one's own: an .npz file with 'inputs' [N, ...] in float32 (or called as
    MODEL calls it), prepared as in training, and perhaps 'labels' [N]; an .npy file of inputs; a
    folder of .npy files, one input each, and perhaps labels.npy. Make one with
    numpy.savez("data.npz", inputs=x, labels=y). For a network with several inputs, or integer ones
    such as token ids, an .npz file with one array for each, named as its forward (or the ONNX file)
    names them; state_0 and state_1 are the tuple that
    forward takes as state. A recurrent state may hold the samples along another axis, and a scalar
    has none. --dynamic names axes of any size, such as the length of a text. Or a folder of
    pictures (.jpg, .png, ...), or of folders of pictures named by class, as ImageNet has them; they
    are cropped and normalized as MODEL wants. What it does not say, --size, --mean and --std do:
    224x224, ImageNet's colours if not. Rotation marks of cameras are not applied. Folders as they
    are sorted, empty ones included, are the outputs of MODEL if there are as many, unless the model
    names its classes; --classes says it otherwise. Without an order, nothing is scored by label. A
    fifth is held back to score; the rest gives ranges and, with --qat-epochs, trains.

    A setting without integer kernels, such as 4 bits, can be simulated (--simulate-only) and kept
    (--save FILE.safetensors, which qutils.load opens), not exported.

    A file OUT that exists is replaced once the new one is whole.
    """
    from qutils.cli.commands.request import Request

    request = Request.of(given)
    request.check()  # before networks and pictures are read
    with nothing_begun():
        from qutils.cli.commands.quantization import quantize

    for line in quantize(request):
        click.echo(line)
