"""``qutils bench``: measure ratios of latency, size and memory, and publish them."""

from __future__ import annotations

from pathlib import Path

import click

from qutils.cli.commands.values import given_values, parameter_options


@click.command("bench")
@click.option("--profile", help="The same as -p profile; 'default' unless given.")
@parameter_options
@click.option("--force", is_flag=True, help="Compute again what is cached.")
@click.pass_context
def command(
    ctx: click.Context,
    profile: str | None,
    typed: tuple[tuple[str, str], ...],
    raw: tuple[tuple[str, str], ...],
    inline: tuple[str, ...],
    files: tuple[Path, ...],
    force: bool,
) -> None:
    """Run notebooks/reports/bench.ipynb and rebuild the overview of all reports.

    It measures on this machine what `qutils report` shows only in part: latency against the file
    that ONNX Runtime's own quantizer makes, file sizes, and the memory that calibration needs.
    """
    from qutils.files import ROOT
    from qutils.lab.results import reports
    from qutils.lab.runner.coercion import Text
    from qutils.lab.runner.runner import run_notebook

    values = given_values(typed, raw, inline, files)
    if profile is not None:
        values["profile"] = Text(profile)
    notebook = ROOT / "notebooks" / "reports" / "bench.ipynb"
    result = run_notebook(notebook, None, values, refresh=force)
    click.echo(reports.outcome("bench", result), err=bool(result.exit_code))
    click.echo(f"Overview: {reports.rebuild()}")
    ctx.exit(result.exit_code)
