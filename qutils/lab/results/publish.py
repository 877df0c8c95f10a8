"""What a report notebook calls: where its report goes, its results, its figures."""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qutils.errors import InvalidInputError
from qutils.files import atomic_path
from qutils.lab.results import provenance
from qutils.lab.results.results import Check, Results, Row
from qutils.lab.results.reuse import load_reuse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Set by the runner for the notebook it runs.
REPORT_DIR = "QUTILS_REPORT_DIR"
REPORT_PARAMETERS = "QUTILS_REPORT_PARAMETERS"
REPORT_STARTED = "QUTILS_REPORT_STARTED"
PNG_DPI = 144
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def report_dir() -> Path:
    """Folder of the report being made; a temporary one when the notebook is run by hand."""
    given = os.environ.get(REPORT_DIR)
    return Path(given) if given else _interactive_dir()


@lru_cache(maxsize=1)
def _interactive_dir() -> Path:
    return Path(tempfile.mkdtemp(prefix="qutils-report-"))


def write_results(rows: Iterable[Row], checks: Iterable[Check] = ()) -> None:
    """Write ``results.json`` into ``report_dir()``, with the provenance of this process.

    Raises:
        InvalidInputError: there are no rows, or a name repeats among the checks.
    """
    kept, figures = tuple(rows), tuple(checks)
    if not kept:
        raise InvalidInputError("no rows to write: every method or model was left out")
    names = [check.name for check in figures]
    if len(set(names)) < len(names):
        raise InvalidInputError(f"two checks have the same name: {sorted(names)}")
    parameters = json.loads(os.environ.get(REPORT_PARAMETERS, "{}"))
    made = provenance.collect(parameters, os.environ.get(REPORT_STARTED))
    reuse = load_reuse(report_dir())  # what ``Cache.announce`` said
    Results(made, kept, figures, reuse).save(report_dir() / "results.json")


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk; as the last value of a cell it shows itself, with its description.

    ``width`` is in CSS pixels, 96 to the inch: text is as large in a small figure as in a wide one.
    """

    png: Path
    svg: Path
    alt: str
    width: int

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        picture = base64.b64encode(self.png.read_bytes()).decode("ascii")
        about = {"alt": self.alt, "width": self.width}
        return {"image/png": picture, "text/plain": self.alt}, {"image/png": about}


def save_figure(figure: Figure, name: str, alt: str) -> SavedFigure:
    """Write ``figures/<name>.png`` and ``.svg``; ``alt`` says in words what the figure shows.

    The same figure gives the same bytes, so that an unchanged report is unchanged in git.

    Raises:
        InvalidInputError: ``name`` is no plain file name, or ``alt`` is empty.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInputError(f"figure name {name!r}: use lower case letters, digits, - and _")
    if not alt.strip():
        raise InvalidInputError(f"figure {name!r} needs alt: one sentence that says what it shows")
    import matplotlib as mpl  # slow to import; most notebooks' first use of publish is earlier
    from PIL import Image  # comes with matplotlib

    folder = report_dir() / "figures"
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    with mpl.rc_context({"svg.hashsalt": name}), atomic_path(svg) as path:
        figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")
    with atomic_path(png) as path:
        about = {"Description": alt, "Software": None}
        figure.savefig(path, format="png", dpi=PNG_DPI, bbox_inches="tight", metadata=about)
    with Image.open(png) as image:
        return SavedFigure(png, svg, alt, round(image.width * 96 / PNG_DPI))
