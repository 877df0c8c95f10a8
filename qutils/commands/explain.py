"""``qutils explain``: why is this ONNX file not faster?"""

from __future__ import annotations

from pathlib import Path

import click

from qutils.commands.choices import Sizes
from qutils.interrupt import nothing_begun

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
@click.option("--threads", type=click.IntRange(min=1), default=1)
@click.option("--runs", type=click.IntRange(min=5), default=30, help="Under the profiler.")
@click.option("--figure", type=_FILE, help="Also draw the time by operator: .png or .svg.")
def command(
    file: Path,
    float_file: Path | None,
    batch: int | None,
    sizes: tuple[int, ...] | None,
    threads: int,
    runs: int,
    figure: Path | None,
) -> None:
    """Say what the time of FILE.onnx is spent on, and why INT8 is not faster.

    Any ONNX file of one input and one output, INT8 or float, whoever made it. It runs here, in ONNX
    Runtime: instructions of this CPU, operators in integers and in float and why, time of each
    operator type from the runtime's own profile, a ceiling measured on this machine, and what to
    change. Takes some seconds.
    """
    with nothing_begun():
        from qutils.errors import InvalidInputError
        from qutils.explain import explain, lines

    if figure is not None and figure.suffix not in (".png", ".svg"):
        raise InvalidInputError(f"--figure writes .png or .svg: give {figure} that ending")
    found = explain(file, float_file, batch=batch, sizes=sizes, threads=threads, runs=runs)
    for line in lines(found):
        click.echo(line)
    if figure is not None:
        from qutils.figures import save, time_by_operator

        save(time_by_operator(found), figure)
        click.echo(f"Wrote {figure}")
