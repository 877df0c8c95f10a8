"""``qutils report``: make every report and their overview."""

from __future__ import annotations

from pathlib import Path

import click

from qutils.cli.commands.values import given_values, parameter_options


@click.command("report")
@click.option("--profile", help="The same as -p profile; 'default' unless given.")
@parameter_options
@click.option("--force", is_flag=True, help="Compute again what is cached.")
@click.option("--gallery-only", is_flag=True, help="Run nothing; rebuild the overview.")
@click.pass_context
def command(
    ctx: click.Context,
    profile: str | None,
    typed: tuple[tuple[str, str], ...],
    raw: tuple[tuple[str, str], ...],
    inline: tuple[str, ...],
    files: tuple[Path, ...],
    force: bool,
    gallery_only: bool,
) -> None:
    """Run all notebooks in notebooks/reports and write reports/index.html and README.md.

    Results that are still valid are reused. The page of a notebook that fails shows where.
    """
    from qutils.lab.results import reports
    from qutils.lab.runner.coercion import Text

    if gallery_only:
        click.echo(f"Overview: {reports.rebuild()}")
        return
    values = given_values(typed, raw, inline, files)
    if profile is not None:
        values["profile"] = Text(profile)
    overview = reports.make_reports(values, refresh=force)
    for name, run in overview.runs.items():
        click.echo(reports.outcome(name, run), err=bool(run.exit_code))
    for name, why in overview.skipped.items():
        click.echo(f"{name}: left as it is, {why}")
    click.echo(f"Overview: {overview.index}")
    ctx.exit(overview.exit_code)
