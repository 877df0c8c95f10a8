"""``qutils site``: the tutorial as pages that need neither server nor network."""

from __future__ import annotations

from pathlib import Path

import click

from qutils.cli.commands.values import given_values, parameter_options


@click.command("site")
@click.argument("out", default="site", type=click.Path(path_type=Path))
@parameter_options
@click.option("--force", is_flag=True, help="Compute again what is cached.")
@click.pass_context
def command(
    ctx: click.Context,
    out: Path,
    typed: tuple[tuple[str, str], ...],
    raw: tuple[tuple[str, str], ...],
    inline: tuple[str, ...],
    files: tuple[Path, ...],
    force: bool,
) -> None:
    """Run all tutorial notebooks and write their pages, sliders included, into the folder OUT.

    The pages can be opened from disk or put on any web server; they load nothing. Each is written
    as soon as its notebook ends, two of which run at a time. A notebook that fails has a page with
    its traceback.
    """
    from qutils.lab.site import site

    made = site.build(out, given_values(typed, raw, inline, files), refresh=force)
    for chapter in made.chapters:
        if chapter.failure:
            click.echo(f"{chapter.name} failed: {chapter.failure}", err=True)
        if chapter.lacking:
            click.echo(f"{chapter.name} did not run to its end: {chapter.lacking}", err=True)
    click.echo(made.index)
    ctx.exit(made.exit_code)
