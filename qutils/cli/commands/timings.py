"""``qutils timings``: time the project's own commands and show the times among the reports."""

from __future__ import annotations

import click


@click.command("timings")
def command() -> None:
    """Time a reference workload, `make report` (twice), `make site` and `make test`.

    It takes a quarter of an hour on a fast machine. Durations are given in minutes and in multiples
    of the reference workload, so that machines can be compared.

    Reports and cache of these runs go to a temporary folder. The times are written to
    reports/timings.json and shown in the overview of all reports; if a command fails, nothing is
    written. Leave the machine alone meanwhile.
    """
    from qutils.lab.results import reports
    from qutils.lab.runner import staging, timings
    from qutils.lab.runner.plan import reports_dir

    staging.probe_write(reports_dir())
    found = timings.measure()
    found.save(reports_dir() / timings.FILE)
    for check in found.checks:
        aim = "" if check.target is None else f" (at most {check.target:g})"
        click.echo(f"{check.name}: {check.value:g} {check.unit}{aim}")
    click.echo(f"Overview: {reports.rebuild()}")
