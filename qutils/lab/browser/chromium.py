"""A real browser: the Chromium of this machine, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qutils.errors import MissingPackageError
from qutils.lab.serve.commands import LOOPBACK

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_LOCAL = ("data", "blob", "file", "about")


def executable() -> str | None:
    """Path of the first of ``NAMES`` that is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser without a window.

    Raises:
        MissingPackageError: Playwright or Chromium is not installed; names the command.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingPackageError(
            "playwright is not installed. Install it with: pip install -e '.[dev]'"
        ) from error
    path = executable()
    if path is None:
        raise MissingPackageError(
            f"no browser found ({', '.join(NAMES)}). On Debian or Ubuntu: apt install chromium"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A tab, what its console complained about, and what it asked of other machines."""

    page: Page
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    @property
    def context(self) -> BrowserContext:
        """The session that the tab belongs to."""
        return self.page.context


@contextmanager
def tab(
    browser: Browser, width: int = 1280, height: int = 900, offline: bool = False
) -> Iterator[Watched]:
    """A tab in a session of its own; ``offline`` cuts the network off."""
    context = browser.new_context(viewport={"width": width, "height": height}, offline=offline)
    page = context.new_page()
    watched = Watched(page)
    page.on("console", lambda message: _note(watched, message.type, message.text))
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.on("request", lambda request: _ask(watched, request.url))
    try:
        yield watched
    finally:
        context.close()


def _note(watched: Watched, kind: str, text: str) -> None:
    if kind == "error":
        watched.errors.append(text)


def _ask(watched: Watched, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in _LOCAL and parts.hostname != LOOPBACK:
        watched.strangers.append(url)
