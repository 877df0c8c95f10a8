"""``qutils check``: whether a quantized file is as a runtime wants it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import click

from qutils.backends import BACKENDS
from qutils.backends.backend import late
from qutils.cli.commands.choices import Registered
from qutils.interrupt import nothing_begun

#: The check of every backend that has rules.
CHECKS = {name: backend.rules for name, backend in BACKENDS.items() if backend.rules}
#: Number of nodes that a line names.
NAMED = 3
#: Names and numbers in a breach, in which findings of one kind differ.
_OWN = re.compile(r"'[^']*'|-?\d+(, -?\d+)*")
_TARGET = Registered("target", "qutils.cli.commands.check", "CHECKS")


class Breach(Protocol):
    """What a rule found at one node, and how to fix it."""

    @property
    def rule(self) -> str: ...
    @property
    def node(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def fix(self) -> str: ...


def findings(breaches: Sequence[Breach]) -> list[str]:
    """Return one line for each kind of breach, with the number of nodes and the first of them.

    Breaches of one rule that differ in names and numbers alone are of one kind.
    """
    kinds: dict[tuple[str, str], list[Breach]] = {}
    for breach in breaches:
        kinds.setdefault((breach.rule, _OWN.sub("", breach.what)), []).append(breach)
    return [_line(alike) for alike in kinds.values()]


def _line(alike: Sequence[Breach]) -> str:
    first, *others = alike
    if not others:
        return str(first)
    nodes = list(dict.fromkeys(breach.node for breach in alike))
    named = ", ".join(nodes[:NAMED])
    if len(nodes) > NAMED:
        named += f" and {len(nodes) - NAMED} more"
    differ = any((one.what, one.fix) != (first.what, first.fix) for one in others)
    what = f"of the first, {first.what}" if differ else first.what
    return f"{first.rule}: {len(alike)} times, {named}: {what}. Fix: {first.fix}"


@click.command("check", context_settings={"show_default": True})
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--target", type=_TARGET, default="tensorrt", help="What is to run the file.")
@click.pass_context
def command(ctx: click.Context, file: Path, target: str) -> None:
    """Check the ONNX file FILE, whoever made it, against what TensorRT asks of quantized files.

    The rules are TensorRT's alone: what its parser refuses or computes otherwise. ONNX Runtime and
    OpenVINO run in float what they have no integer kernel for, which `qutils explain FILE` shows
    for ONNX Runtime.

    Each kind of breach is printed once, with its rule, how many nodes break it, the first three of
    them, and the fix; the exit code is 1 if there is any. Nothing is run, and neither a GPU nor the
    runtime is needed.
    """
    with nothing_begun():
        from qutils.backends.shared.onnx_file import read_onnx
        from qutils.backends.shared.qdq_graph import integer_operators

        check = late(CHECKS[target])
    found = check(file)
    for line in findings(found):
        click.echo(line)
    if not found:
        click.echo(f"{file} keeps the rules of {target}")
        if not integer_operators(read_onnx(file, external=False)):
            click.echo("It holds no QuantizeLinear: it is a float file.")
        return
    rules = dict.fromkeys(violation.rule for violation in found)
    click.echo(f"{file}: {len(found)} breaches of {', '.join(rules)}", err=True)
    ctx.exit(1)
