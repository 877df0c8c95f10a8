"""The overview of all reports: ``reports/index.html`` and ``reports/README.md``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from jinja2 import Template
from markupsafe import Markup

from qutils.errors import DataError
from qutils.files import write_text
from qutils.lab.results import compare, results
from qutils.lab.results.compare import Comparison
from qutils.lab.results.provenance import Provenance
from qutils.lab.results.results import Check, Results
from qutils.lab.results.reuse import Reuse, load_reuse
from qutils.lab.runner import timings
from qutils.lab.runner.plan import CUSTOM, reports_dir
from qutils.lab.runner.status import Status, load_status, readable_status
from qutils.lab.site import page


@dataclass(frozen=True)
class Picture:
    """A figure of a report: address relative to the reports folder, and what it shows."""

    address: str
    alt: str


@dataclass(frozen=True)
class Report:
    """One folder of ``reports/`` as the overview shows it.

    ``status`` is that of the last run; ``results`` are those that stand, perhaps of an earlier run.
    """

    name: str
    status: Status
    results: Results | None
    changes: Comparison | None
    pictures: tuple[Picture, ...]
    page: str | None
    failed_page: str | None
    full: Comparison | None = None
    reuse: Reuse | None = None

    @property
    def custom(self) -> bool:
        """Whether its parameters were others than the notebook's own."""
        return self.name.endswith(CUSTOM)

    @property
    def full_profile(self) -> bool:
        """Whether the results that stand (of the run if none do) are those of ``full``, whole."""
        made = self.results.provenance if self.results else self.status
        return made.profile == "full" and not self.custom


def build(folder: Path | None = None) -> Path:
    """Write ``index.html`` and ``README.md`` of a reports folder; returns the index.

    Same reports, same bytes: nothing in them depends on when they are built.
    """
    folder = Path(folder or reports_dir())
    reports = collect(folder)
    times = collect_times(folder, reports)
    for template, name in (("index.html.j2", "index.html"), ("README.md.j2", "README.md")):
        text = environment_for(template).render(reports=reports, times=times)
        write_text(folder / name, text)
    return folder / "index.html"


def collect(folder: Path) -> tuple[Report, ...]:
    """Every report below ``folder``; of one notebook, ``full`` comes first."""
    folders = sorted(path.parent for path in folder.glob("*/status.json"))
    found = [_report(path) for path in folders if not path.name.startswith(".")]
    full = {r.status.notebook: r for r in found if r.results and r.full_profile}
    paired = (_against(report, full.get(report.status.notebook)) for report in found)
    return tuple(sorted(paired, key=lambda r: (r.status.notebook, not r.full_profile, r.name)))


@dataclass(frozen=True)
class Times:
    """How long the project's commands take; ``measured`` names machine and code of most."""

    checks: tuple[Check, ...]
    measured: Provenance | None = None
    message: str = ""


def collect_times(folder: Path, reports: Iterable[Report]) -> Times:
    """What ``make timings`` measured, and the time that the ``full`` reports say they took."""
    full = [made for made in reports if made.results and made.full_profile]
    spans = {made.name: made.results.provenance.seconds for made in full if made.results}
    whole = timings.of_full(spans, [made.reuse for made in full if made.reuse])
    try:
        kept = timings.load(folder)
    except DataError as error:
        return Times(whole, message=str(error).replace(f"{folder}/", ""))
    return Times((*kept.checks, *whole), kept.provenance) if kept else Times(whole)


def environment_for(template: str) -> Template:
    """The template with autoescape on and the filters for Markdown."""
    made = page.environment()
    made.filters |= {"md": md, "urlpath": quote}
    return made.get_template(template)


def md(value: object) -> Markup:
    """Text that Markdown and HTML both show as it is, inside a table too.

    >>> md("a|b <i> *x* ptq_vs_qat")
    Markup('a&#124;b &#60;i&#62; &#42;x&#42; ptq_vs_qat')
    """
    text = " ".join(str(value).split())
    return Markup(re.sub(r"(?<!\w)_|_(?!\w)|[&<>|*\[\]`~\\\"']", _entity, text))


def _entity(match: re.Match[str]) -> str:
    return f"&#{ord(match.group())};"


def _report(folder: Path) -> Report:
    measured, changes, reuse = None, None, None
    try:
        if (folder / "results.json").is_file():
            measured = results.load(folder / "results.json")
            changes = compare.load(folder / "changes.json")
            reuse = load_reuse(folder)
        status = load_status(folder)
        assert status is not None  # collect() found the file
    except DataError as error:
        message = str(error).replace(f"{folder}/", "")
        earlier = readable_status(folder) or _unknown(folder, measured)
        status = replace(earlier, outcome="failed", message=message)
    return Report(
        name=folder.name,
        status=status,
        results=measured,
        changes=changes,
        pictures=tuple(_pictures(folder)),
        page=_existing(folder, "report.html"),
        failed_page=_existing(folder, "failed.html"),
        reuse=reuse,
    )


def _unknown(folder: Path, measured: Results | None) -> Status:
    """Status of a report whose own is damaged: what its name and its results tell."""
    stem = re.sub(f"(-smoke|-default|{CUSTOM})$", "", folder.name)
    made = measured.provenance if measured else None
    return Status(
        outcome="failed",
        title=stem,
        notebook=f"{stem}.ipynb",
        profile=made.profile if made else None,
        parameters=made.parameters if made else {},
        started=made.started if made else "",
        seconds=made.seconds if made else 0.0,
        commit=made.commit if made else None,
        dirty=made.dirty if made else None,
        exit_code=1,
    )


def _pictures(folder: Path) -> Iterable[Picture]:
    from PIL import Image  # comes with matplotlib

    for path in sorted((folder / "figures").glob("*.png")):
        try:
            with Image.open(path) as image:
                alt = str(image.info.get("Description", path.stem))
        except Exception:  # whatever a damaged image raises: it is not shown
            continue
        yield Picture(f"{folder.name}/figures/{path.name}", alt)


def _existing(folder: Path, name: str) -> str | None:
    return f"{folder.name}/{name}" if (folder / name).is_file() else None


def _against(report: Report, full: Report | None) -> Report:
    if full is None or full is report or not (report.results and full.results):
        return report
    return replace(report, full=compare.compare(full.results, report.results))
