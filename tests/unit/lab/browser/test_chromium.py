from __future__ import annotations

import pytest

from qutils.errors import MissingPackageError
from qutils.lab.browser import chromium


def test_the_first_browser_found_is_taken(monkeypatch):
    there = {"google-chrome": "/opt/chrome", "chrome": "/opt/other"}
    monkeypatch.setattr(chromium.shutil, "which", there.get)
    assert chromium.executable() == "/opt/chrome"


def test_without_a_browser_the_command_that_installs_one_is_named(monkeypatch):
    pytest.importorskip("playwright")
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    with pytest.raises(MissingPackageError, match="apt install chromium"), chromium.launched():
        pass


@pytest.mark.parametrize(
    ("url", "strange"),
    [
        ("http://127.0.0.1:8888/x", False),
        ("data:image/png;base64,", False),
        ("file:///site/index.html", False),
        ("https://cdn.example.org/x.js", True),
        ("ws://example.org/", True),
    ],
)
def test_requests_to_other_machines_are_noted(url, strange):
    watched = chromium.Watched(page=None)
    chromium._ask(watched, url)
    assert watched.strangers == ([url] if strange else [])
