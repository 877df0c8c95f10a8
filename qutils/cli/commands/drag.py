"""``qutils drag``: measure how quickly explorers follow the keys, in a real browser."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from qutils.errors import unknown_name

REPORT = "browser_latency"
MOVES = 60


@click.command("drag")
@click.argument("names", nargs=-1, metavar="[EXPLORER]...")
@click.option("--moves", type=click.IntRange(20, 1000), default=MOVES, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder, see above.")
def command(names: tuple[str, ...], moves: int, out: Path | None) -> None:
    """Measure the time from key press to changed picture of every EXPLORER, in JupyterLab.

    Writes results.json with median, 95th percentile and maximum, and the machine they were
    measured on, to reports/browser_latency; if only some are measured, or with other moves, to
    reports/browser_latency-custom. It needs Chromium, and a machine that does nothing else.
    """
    from qutils.lab.browser.chromium import launched
    from qutils.lab.browser.latency import measure
    from qutils.lab.explorers.registry import EXPLORERS
    from qutils.lab.results import provenance
    from qutils.lab.results.results import Check, Results
    from qutils.lab.runner.plan import CUSTOM, reports_dir
    from qutils.lab.runner.status import Status

    for name in names:
        if name not in EXPLORERS:
            raise unknown_name("explorer", name, EXPLORERS)
    started, clock = provenance.now(), time.monotonic()
    checks: list[Check] = []
    with tempfile.TemporaryDirectory(prefix="qutils-drag-") as work, launched() as browser:
        for found in measure(browser, Path(work), names, moves):
            click.echo(
                f"{found.name:14} median {found.median_ms:6.1f} ms, "
                f"95th percentile {found.p95_ms:6.1f} ms of {found.moves} key presses"
            )
            note = f"{found.title}: median {found.median_ms} ms, longest {found.max_ms} ms, "
            note += f"{found.moves} key presses in JupyterLab"
            name = f"{found.name}: key press to picture, 95th percentile"
            call = f"qutils drag {found.name}"
            limit = found.target_ms
            checks.append(
                Check(name, found.p95_ms, "ms", limit, "<=", call, note, execution="measured")
            )
        version = browser.version
    parameters = {"moves": moves, "browser": f"Chromium {version}", "explorers": list(names)}
    origin = provenance.collect(parameters, started, time.monotonic() - clock)
    whole = moves == MOVES and set(names) in (set(), set(EXPLORERS))
    folder = out or reports_dir() / (REPORT if whole else REPORT + CUSTOM)
    Results(origin, (), tuple(checks)).save(folder / "results.json")
    Status(
        "ok", "Key press to picture: how quickly explorers follow", "explorers", None, parameters,
        origin.started, origin.seconds, origin.commit, origin.dirty, 0, "",
        ("results.json", "status.json"),
    ).save(folder)  # fmt: skip
    click.echo(folder / "results.json")
