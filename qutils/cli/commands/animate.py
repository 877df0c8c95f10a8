"""``qutils animate``: a short film of the lab's explorer, taken from the running app."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("animate")
@click.argument("notebook", required=False, type=click.Path(path_type=Path))
@click.argument("out", required=False, type=click.Path(path_type=Path))
def command(notebook: Path | None, out: Path | None) -> None:
    """Film the first explorer of NOTEBOOK (notebooks/08_lab.ipynb) while keys move its controls.

    OUT is an animated WebP, 800 pixels wide (notebooks/images/lab.webp). It needs Chromium.
    """
    from qutils.files import ROOT
    from qutils.lab.browser import film
    from qutils.lab.browser.chromium import launched

    path = out or ROOT / "notebooks" / "images" / "lab.webp"
    with launched() as browser:
        size = film.record(browser, notebook or ROOT / "notebooks" / "08_lab.ipynb", path)
    click.echo(f"{path}: {size:,} bytes")
