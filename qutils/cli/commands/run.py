"""``qutils run``: execute one notebook and publish its report."""

from __future__ import annotations

from pathlib import Path

import click

from qutils.cli.commands.values import given_values, parameter_options


@click.command("run")
@click.argument("notebook", type=click.Path(path_type=Path))
@click.argument("out", required=False, type=click.Path(path_type=Path))
@parameter_options
@click.option("--force", is_flag=True, help="Compute again what is cached.")
@click.pass_context
def command(
    ctx: click.Context,
    notebook: Path,
    out: Path | None,
    typed: tuple[tuple[str, str], ...],
    raw: tuple[tuple[str, str], ...],
    inline: tuple[str, ...],
    files: tuple[Path, ...],
    force: bool,
) -> None:
    """Run NOTEBOOK with parameters and publish its report in the folder OUT.

    Without OUT a run in the profile 'full' goes to reports/NAME, any other to
    reports/NAME-PROFILE, one with parameters of its own to reports/NAME-custom. An OUT that ends in
    .ipynb takes the executed notebook alone. If the notebook fails, the earlier report stays, with
    failed.html beside it.
    """
    from qutils.lab.runner.runner import run_notebook

    result = run_notebook(notebook, out, given_values(typed, raw, inline, files), refresh=force)
    if result.exit_code:
        click.echo(f"{notebook} failed: {result.message}", err=True)
    click.echo(result.shown)
    ctx.exit(result.exit_code)
