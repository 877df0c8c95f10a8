"""``qutils app``: the lab's explorer as a page, on this machine only."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("app")
@click.option("--port", type=click.IntRange(1024, 65535), help="A free one unless given.")
@click.argument("notebook", required=False, type=click.Path(path_type=Path))
def command(port: int | None, notebook: Path | None) -> None:
    """Serve NOTEBOOK (notebooks/08_lab.ipynb) with Voila on 127.0.0.1 and print what to open.

    Nothing but that notebook is served, no code is taken from the browser, and nothing is loaded
    from the network. Ctrl-C ends it.
    """
    from qutils.files import ROOT
    from qutils.lab.serve import serving

    with serving("app", notebook or ROOT / "notebooks" / "08_lab.ipynb", port=port) as served:
        click.echo(f"Open {served.url()}")
        click.echo("Ctrl-C ends it.", err=True)
        try:
            served.process.wait()
        except KeyboardInterrupt:
            return
    raise click.ClickException("the server ended by itself")
