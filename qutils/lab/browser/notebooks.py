"""Opening a notebook as its reader does: JupyterLab's menu, Voila's page, a page from disk."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from qutils.errors import QutilsError
from qutils.lab.browser.explored import Explored, explorers

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from qutils.lab.serve import Served

START = 120_000  # ms; a kernel's first import of torch on a busy machine takes many seconds
IDLE = 45_000  # ms for a kernel to start; the imports come with the cells
RUN = 300_000  # ms for all cells of a notebook
LOADS = 4  # of a page that does not begin to run
LOOK, BEGIN = 100, 10_000  # ms between two looks, and for a menu or the first cell to answer
_IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"
_RAN = r"""() => {
  const panel = document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden)");
  const prompts = [...panel.querySelectorAll(".jp-CodeCell .jp-InputArea-prompt")]; // if not folded
  return prompts.length > 0 && prompts.every((prompt) => /\[\d+\]/.test(prompt.textContent));
}"""
_PROMPT = ".jp-CodeCell .jp-InputArea-prompt"
_DIALOG = ".jp-Dialog"
_ERROR = '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]'


def open_in_lab(page: Page, served: Served, name: str) -> list[Explored]:
    """Open a notebook in JupyterLab, run all its cells from the menu; returns its explorers.

    Raises:
        QutilsError: a cell failed; holds the traceback.
    """
    begin_in_lab(page, served, name)
    return end_in_lab(page, name)


def begin_in_lab(page: Page, served: Served, name: str) -> None:
    """Open a notebook in JupyterLab and start to run all its cells.

    A server that has just started may answer the first page with a dialog (no kernel yet, say):
    the page is then loaded again.

    Raises:
        QutilsError: its cells do not begin to run; holds what the last dialog says.
    """
    said = "no cell began"
    for _ in range(LOADS):
        page.goto(served.url(name), timeout=START)
        said = _begun(page, served, name)
        if not said:
            return
    raise QutilsError(f"JupyterLab did not begin to run {name}: {said}")


def end_in_lab(page: Page, name: str) -> list[Explored]:
    """Wait until all cells have run; returns the explorers.

    Raises:
        QutilsError: a cell failed; holds the traceback.
    """
    failed = page.locator(_ERROR)
    page.wait_for_function(
        f"""() => document.querySelector('{_ERROR}') !== null || ({_RAN})()""", timeout=RUN
    )
    if not failed.count():
        page.wait_for_selector(_IDLE, timeout=START)  # folded cells too
    if failed.count():
        raise QutilsError(f"{name}: {failed.first.inner_text()[-2000:]}")
    return explorers(page)


def _begun(page: Page, served: Served, name: str) -> str:
    """Choose Run All Cells once the kernel listens; returns what stands in the way, if anything.

    The page alone would not do: its indicator says idle for a moment before it knows of a kernel.
    """
    from playwright.sync_api import TimeoutError as TooLong

    dialog, deadline = page.locator(_DIALOG), time.monotonic() + IDLE / 1000
    while not dialog.count() and not (served.listens(name) and page.locator(_IDLE).count()):
        if time.monotonic() > deadline:
            return f"its kernel was not idle within {IDLE // 1000} s"
        page.wait_for_timeout(LOOK)
    try:
        dialog.first.wait_for(state="detached", timeout=BEGIN)  # at once if there is none
        page.get_by_role("menuitem", name="Run", exact=True).click(timeout=BEGIN)
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click(timeout=BEGIN)
        prompts = page.locator(_PROMPT)
        prompts.get_by_text(re.compile(r"\[(\*|\d+)\]")).first.wait_for(timeout=BEGIN)
        prompts.get_by_text(re.compile(r"\[\d+\]")).first.wait_for(timeout=START)
    except TooLong as late:
        return " ".join(dialog.first.inner_text().split()) if dialog.count() else str(late)
    return ""


def open_app(page: Page, served: Served) -> list[Explored]:
    """Open the app's page and wait until its notebook has run; returns its explorers.

    Raises:
        QutilsError: a cell failed.
    """
    begin_app(page, served)
    return end_app(page)


def begin_app(page: Page, served: Served) -> None:
    """Ask for the app's page: its notebook begins to run."""
    page.goto(served.url(), wait_until="commit", timeout=RUN)


def end_app(page: Page) -> list[Explored]:
    """Wait until the notebook of the app has run; returns its explorers.

    A page that stays empty is asked for once more: ipykernel 7.2 can overlook a request that
    arrives while it replies (its issue 1554), and the notebook then stops.

    Raises:
        QutilsError: a cell failed.
    """
    from playwright.sync_api import TimeoutError as TooLong

    try:
        page.wait_for_selector("section.qx img[src]", timeout=RUN / 3)
    except TooLong:
        page.reload(wait_until="commit", timeout=RUN)
        page.wait_for_selector("section.qx img[src]", timeout=RUN)
    failed = page.locator(_ERROR)
    if failed.count():
        raise QutilsError(failed.first.inner_text()[-2000:])
    return explorers(page)


def open_page(page: Page, path: Path) -> list[Explored]:
    """Open a page of the site from disk; returns its explorers."""
    page.goto(path.resolve().as_uri())
    return explorers(page)


def with_profile(source: str, profile: str) -> str:
    r"""The source of a parameters cell with another default profile, in whatever shape it is.

    >>> with_profile('profile: Literal["a", "b"] = (\n    "b"  # size\n)', "a")
    'profile: Literal["a", "b"] = (\n    "a"  # size\n)'
    """
    pattern = r'(^profile\b[^=\n]*=\s*\(?\s*)"[^"]*"'
    return re.sub(pattern, rf'\g<1>"{profile}"', source, count=1, flags=re.MULTILINE)
