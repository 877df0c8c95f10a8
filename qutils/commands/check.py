"""``qutils check``: whether a quantized file is as a runtime wants it."""

from __future__ import annotations

from pathlib import Path

import click

from qutils.backends import BACKENDS
from qutils.backends.backend import late
from qutils.commands.choices import Registered
from qutils.interrupt import nothing_begun

#: The check of every backend that has rules.
CHECKS = {name: backend.rules for name, backend in BACKENDS.items() if backend.rules}
_TARGET = Registered("target", "qutils.commands.check", "CHECKS")


@click.command("check", context_settings={"show_default": True})
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--target", type=_TARGET, default="tensorrt", help="What is to run the file.")
@click.pass_context
def command(ctx: click.Context, file: Path, target: str) -> None:
    """Check the ONNX file FILE, whoever made it, against what a runtime asks of quantized files.

    Each breach is told with its rule, its node and its mend; the exit code is 1 if there is any.
    Nothing is run, and neither a GPU nor the runtime is needed.
    """
    with nothing_begun():
        from qutils.backends.shared.onnx_file import read_onnx
        from qutils.backends.shared.qdq_graph import integer_operators

        check = late(CHECKS[target])
    found = check(file)
    for violation in found:
        click.echo(str(violation))
    if not found:
        click.echo(f"{file} keeps the rules of {target}")
        if not integer_operators(read_onnx(file, external=False)):
            click.echo("It holds no QuantizeLinear: it is a float file.")
        return
    rules = dict.fromkeys(violation.rule for violation in found)
    click.echo(f"{file}: {len(found)} breaches of {', '.join(rules)}", err=True)
    ctx.exit(1)
