"""The pages of one build of the site, written one by one as their notebooks end."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from qutils.files import write_text
from qutils.lab.results.provenance import Provenance
from qutils.lab.runner.parameters import read_notebook
from qutils.lab.runner.status import Status, readable_status
from qutils.lab.site import page

#: Largest page [bytes]: it has to open quickly from a slow disk or a slow line.
PAGE_LIMIT = 3_000_000
#: Seconds that each notebook took, by its path: ``{"notebooks/00_start_here.ipynb": 31.5}``.
DURATIONS = "durations.json"
_TO_NOTEBOOK = re.compile(r'(<a href=")([0-9]{2}_\w+)\.ipynb((?:#[^"]*)?")')


@dataclass(frozen=True)
class Chapter:
    """One notebook of the tutorial on the site.

    ``failure`` is the cause if it failed, ``lacking`` the optional package for want of which it did
    not run to its end. ``parameters`` were given another value than the notebook declares.
    ``state`` is ``new`` for a page of this build, ``earlier`` for one of an earlier build, and
    ``missing`` if there is no page yet.
    """

    name: str
    title: str
    question: Markup
    seconds: float = 0.0
    failure: str = ""
    lacking: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    state: str = "new"

    @property
    def address(self) -> str:
        """Its page, relative to the index."""
        return f"{self.name}.html"


class Edition:
    """One build of the site in its folder.

    Every file is written atomically. Nothing changes until the first page is published, and pages
    of notebooks that have not run stay as an earlier build left them.
    """

    def __init__(
        self,
        folder: Path,
        notebooks: Sequence[Path],
        chapters: Sequence[Chapter],
        origin: Provenance,
    ) -> None:
        self.folder, self.origin = Path(folder), origin
        self._began = time.monotonic()
        self._notebooks = notebooks
        self._keys = [key(path) for path in notebooks]
        earlier = readable_status(self.folder)
        self._earlier = set(earlier.files) if earlier else set()
        self.durations = durations(self.folder)
        self.chapters = [
            self._awaited(each, k) for each, k in zip(chapters, self._keys, strict=True)
        ]

    def publish(self, place: int, chapter: Chapter, notebook: Any) -> Chapter:
        """Write the page of an executed notebook, then the index and the status.

        A page heavier than ``PAGE_LIMIT`` fails: the notebook's sources are published instead of
        it, with the cause on top. Returns the chapter as it was published.
        """
        html = self._html(place, chapter, notebook)
        if (size := len(html.encode())) > PAGE_LIMIT:
            heavy = (
                f"The page takes {size:,} bytes, more than {PAGE_LIMIT:,}. "
                "Offer fewer options to pages without a kernel (Control.frames)."
            )
            chapter = replace(chapter, failure=chapter.failure or heavy)
            html = self._html(place, chapter, read_notebook(self._notebooks[place]))
        write_text(self.folder / chapter.address, html)
        self.chapters[place] = chapter  # its state is ``new``
        self.durations[self._keys[place]] = round(chapter.seconds, 1)
        self._write_overview()
        return chapter

    def close(self) -> None:
        """Remove what earlier builds published and this one did not: every notebook has run."""
        for name in self._earlier - set(self._files()):
            path = self.folder / name
            if path.is_file():
                path.unlink()
        self._earlier = set()
        self.durations = {k: self.durations[k] for k in self._keys if k in self.durations}
        self._write_overview()

    def _awaited(self, chapter: Chapter, name: str) -> Chapter:
        there = (self.folder / chapter.address).is_file()
        seconds = self.durations.get(name, 0.0) if there else 0.0
        return replace(chapter, seconds=seconds, state="earlier" if there else "missing")

    def _html(self, place: int, chapter: Chapter, notebook: Any) -> str:
        ends = [None, *self.chapters, None]
        html = (
            page.environment()
            .get_template("chapter.html.j2")
            .render(
                chapter=chapter,
                before=ends[place],
                after=ends[place + 2],
                provenance=self.origin,
                **page.body(notebook, parameters=True),
            )
        )
        return _TO_NOTEBOOK.sub(r"\1\2.html\3", html)

    def _write_overview(self) -> None:
        index = page.environment().get_template("site.html.j2")
        html = index.render(chapters=self.chapters, provenance=self.origin)
        write_text(self.folder / "index.html", html)
        write_text(self.folder / DURATIONS, json.dumps(self.durations, indent=1) + "\n")
        self._status().save(self.folder)

    def _files(self) -> list[str]:
        pages = [each.address for each in self.chapters if each.state != "missing"]
        return sorted({*pages, "index.html", DURATIONS, "status.json"})

    def _status(self) -> Status:
        failed = [f"{each.name}: {each.failure}" for each in self.chapters if each.failure]
        waiting = [each.name for each in self.chapters if each.state != "new"]
        if waiting:
            failed.append(f"not run in this build: {', '.join(waiting)}")
        kept = {name for name in self._earlier if (self.folder / name).is_file()}
        return Status(
            outcome="failed" if failed else "ok",
            title="Tutorial",
            notebook="notebooks",
            profile=self.origin.profile,
            parameters=self.origin.parameters,
            started=self.origin.started,
            seconds=round(time.monotonic() - self._began, 1),
            commit=self.origin.commit,
            dirty=self.origin.dirty,
            exit_code=int(bool(failed)),
            message="; ".join(failed),
            files=tuple(sorted({*self._files(), *kept})),
        )


def key(notebook: Path) -> str:
    """Return the name of a notebook in ``durations.json``: its folder and its file name."""
    return f"{notebook.parent.name}/{notebook.name}"


def durations(folder: Path) -> dict[str, float]:
    """Return the seconds that each notebook took, as a build left them; empty without any."""
    try:
        found = json.loads((Path(folder) / DURATIONS).read_text(encoding="utf-8"))
        return {str(name): float(seconds) for name, seconds in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
