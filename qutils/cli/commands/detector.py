"""``qutils detector``: a YOLO network of Ultralytics in, an INT8 file of ours out."""

from __future__ import annotations

from pathlib import Path

import click

from qutils.cli.commands.choices import HEAD, OBSERVER, TARGET, Epochs
from qutils.interrupt import nothing_begun

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("detector", context_settings={"show_default": True})
@click.argument("weights", type=_FILE)
@click.argument("out", type=_FILE)
@click.option("--data", required=True, help="YAML in YOLO's format, its folder, or coco8.yaml.")
@click.option("--size", type=click.IntRange(min=32), default=640, help="Of pictures [pixels].")
@click.option(
    "--head",
    type=HEAD,
    default="one2many",
    help="Of YOLO26; of one2one no box needs suppression.",
)
@click.option("--pictures", type=click.IntRange(min=1), default=128, help="That give ranges.")
@click.option("--observer", type=OBSERVER, default="mse", help="How ranges are chosen.")
@click.option(
    "--target",
    type=TARGET,
    default=None,
    show_default="by the ending of OUT",
    help="What will run the file.",
)
@click.option(
    "--qat-epochs", type=Epochs(min=0), default=0.0, help="Then train it to predict as FP32 does."
)
@click.option("--keep-float", multiple=True, help="A module that stays in float: box.0.2")
@click.option("--score/--no-score", default=True, help="FP32 and the file, on the 'val' pictures.")
def command(
    weights: Path,
    out: Path,
    data: str,
    size: int,
    head: str,
    pictures: int,
    observer: str,
    target: str | None,
    qat_epochs: float,
    keep_float: tuple[str, ...],
    score: bool,
) -> None:
    """Quantize WEIGHTS (.pt of YOLO11 or YOLO26, detection) and write the file OUT.

    OUT ends in .tflite for LiteRT, in .onnx for ONNX Runtime (or OpenVINO, with --target). Both
    are read by Ultralytics as its own: YOLO("out.onnx").predict(...). (If importing it fails for
    torchvision::nms, a torchvision of another build: YOLO = qutils.detection.ultralytics.library()
    .YOLO mends that.)

    Ranges are taken from the 'calibration' pictures of the dataset, or, if it names none, from
    'train'; never from those that are scored. Images and labels are found as Ultralytics finds
    them; what is left out, or read otherwise than it is written, is printed. Needs Ultralytics,
    which is licensed under AGPL-3.0: make detection.
    """
    with nothing_begun():
        from qutils.cli.commands.detecting import Asked, quantize_detector

    asked = Asked(
        weights, out, data, size, head, pictures, observer, target, qat_epochs, keep_float
    )
    for line in quantize_detector(asked, score=score):
        click.echo(line)
