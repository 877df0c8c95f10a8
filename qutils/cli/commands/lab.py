"""``qutils lab``: the notebooks in JupyterLab, on this machine only."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click


@click.command("lab", context_settings={"ignore_unknown_options": True})
@click.argument("notebook", required=False, type=click.Path(path_type=Path))
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, notebook: Path | None, options: tuple[str, ...]) -> None:
    """Open NOTEBOOK (notebooks/00_start_here.ipynb) in JupyterLab; OPTIONS are passed on to it."""
    from qutils.files import ROOT
    from qutils.lab.serve import lab_command
    from qutils.lab.serve.commands import environment

    start = notebook or ROOT / "notebooks" / "00_start_here.ipynb"
    process = subprocess.Popen([*lab_command(start), *options], env=environment())
    while True:
        try:
            ctx.exit(process.wait())
        except KeyboardInterrupt:
            continue  # JupyterLab asks whether to stop
