"""``qutils explain``: why is this ONNX file not faster?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qutils.cli.commands.choices import Sizes
from qutils.interrupt import nothing_begun

if TYPE_CHECKING:
    from qutils.backends.shared.runtime import Arrays

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("explain", context_settings={"show_default": True})
@click.argument("file", type=_FILE)
@click.option("--float", "float_file", type=_FILE, help="The float file, to compare with.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    show_default="what the file fixes, or 1",
    help="Samples in a run.",
)
@click.option("--sizes", type=Sizes(), help="Of the other axes, if the file leaves them open.")
@click.option(
    "--data", type=_FILE, help="Inputs: .npz with an array for each input, or .npy of floats."
)
@click.option("--threads", type=click.IntRange(min=1), default=1)
@click.option("--runs", type=click.IntRange(min=5), default=30, help="Under the profiler.")
@click.option("--figure", type=_FILE, help="Also draw the time by operator: .png or .svg.")
def command(
    file: Path,
    float_file: Path | None,
    batch: int | None,
    sizes: tuple[int, ...] | None,
    data: Path | None,
    threads: int,
    runs: int,
    figure: Path | None,
) -> None:
    """Say what the time of FILE.onnx is spent on, and why INT8 is not faster.

    Any ONNX file, INT8 or float, whoever made it. It runs here, in ONNX Runtime: instructions of
    this CPU, operators in integers and in float and why, time of each operator type from the
    runtime's own profile, a ceiling measured on this machine, and what to change. Takes some
    seconds.

    A file with one input of floats runs on normal values; where it leaves axes open, --sizes
    3x224x224 gives those after the batch. Several inputs, or integers such as token ids, are read
    from --data: the first samples of an .npz file with one array for each input, by its name.
    """
    with nothing_begun():
        from qutils.errors import InvalidInputError
        from qutils.evaluate.explain import explain, lines

    if figure is not None and figure.suffix not in (".png", ".svg"):
        raise InvalidInputError(f"--figure writes .png or .svg: give {figure} that ending")
    if data is not None and sizes is not None:
        raise InvalidInputError("--sizes makes inputs up, --data gives them: leave one away")
    given = batch if data is None else _read(file, data, batch)
    found = explain(file, float_file, batch=given, sizes=sizes, threads=threads, runs=runs)
    for line in lines(found):
        click.echo(line)
    if figure is not None:
        from qutils.lab.figures import save, time_by_operator

        save(time_by_operator(found), figure)
        click.echo(f"Wrote {figure}")


def _read(file: Path, data: Path, batch: int | None) -> Arrays:
    """The first samples of ``data``, as many as the file fixes, or 1, unless ``batch`` says it."""
    from qutils.backends.onnxruntime.runtime import OnnxRuntime
    from qutils.cli.commands.inputs import INPUTS, read_inputs
    from qutils.cli.commands.named import NamedSamples
    from qutils.errors import InvalidInputError
    from qutils.evaluate.explain.samples import typed

    if data.suffix not in (".npz", ".npy"):
        raise InvalidInputError(f"Expected --data of .npz or .npy, got {data}. Give such a file.")
    inputs, runtime = read_inputs(data), OnnxRuntime.load(file)
    first = next((axes[0] for axes in runtime.inputs.values() if axes), 1)
    if batch is not None and batch > len(inputs.x):
        raise InvalidInputError(
            f"Expected at least {batch} samples in {data}, got {len(inputs.x)}. Give more, or a "
            "smaller --batch."
        )
    taken = inputs.x[: batch or (first if isinstance(first, int) else 1)]
    if isinstance(taken, NamedSamples):
        return typed(runtime, taken.numpy())
    return typed(runtime, {inputs.name or INPUTS: taken.numpy()})
