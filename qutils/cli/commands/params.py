"""``qutils params``: what a notebook lets one set."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("params")
@click.argument("notebook", type=click.Path(path_type=Path))
def command(notebook: Path) -> None:
    """List the parameters of NOTEBOOK: name, type, default, what it is."""
    from qutils.lab.runner.parameters import read_parameters

    rows = [("NAME", "TYPE", "DEFAULT", "")]
    rows += [(p.name, str(p.type), repr(p.default), p.help) for p in read_parameters(notebook)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True))
        click.echo("  ".join(cells).rstrip())
