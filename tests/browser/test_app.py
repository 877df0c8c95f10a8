"""The lab's explorer under Voila, and what its server lets nobody do."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import websocket
from playwright.sync_api import Browser

from qutils.lab.browser.chromium import Watched, tab
from qutils.lab.browser.explored import Explored
from qutils.lab.browser.notebooks import begin_app, end_app
from qutils.lab.explorers import lab_words
from qutils.lab.serve import Served, serving
from tests.browser import checks
from tests.browser.reference import Reference, shown_by
from tests.browser.test_dragging import kill_kernels

NOTEBOOK = Path(lab_words.NOTEBOOK).name


@dataclass(frozen=True)
class App:
    served: Served
    tab: Watched
    pairs: tuple[tuple[Explored, Reference], ...]


@pytest.fixture(scope="module")
def app(browser: Browser, copies: Path, private: dict[str, str]) -> Iterator[App]:
    with serving("app", copies / NOTEBOOK, extra=private) as served, tab(browser) as watched:
        begin_app(watched.page, served)
        wanted = shown_by(copies / NOTEBOOK)  # meanwhile
        pairs = tuple(zip(end_app(watched.page), wanted, strict=True))
        yield App(served, watched, pairs)


def test_every_control_moves_and_what_is_shown_is_right(app: App) -> None:
    for page, reference in app.pairs:
        checks.moves_and_is_right(page, reference)
    assert app.tab.errors == []


def test_nothing_is_asked_of_another_machine(app: App) -> None:
    assert app.tab.strangers == []


def test_no_frame_is_blank(app: App) -> None:
    for page, _ in app.pairs[:1]:
        checks.never_blank(page)


@pytest.mark.parametrize("width", [1280, 800])
def test_it_fits_is_legible_and_named(app: App, width: int) -> None:
    app.tab.page.set_viewport_size({"width": width, "height": 900})
    for page, _ in app.pairs:
        checks.fits(page)
        checks.legible(page)
        checks.reachable_and_named(page)


def fetch(app: App, path: str, token: bool) -> tuple[int, str]:
    """Status and the address where the answer came from in the end."""
    query = f"?token={app.served.token}" if token else ""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{app.served.port}{path}{query}") as answer:
            return answer.status, answer.url
    except urllib.error.HTTPError as error:
        return error.code, error.url or ""


@pytest.mark.parametrize("path", ["/", f"/voila/render/{NOTEBOOK}", "/api/kernels"])
def test_without_the_token_nothing_is_shown(app: App, path: str) -> None:
    status, address = fetch(app, path, token=False)
    assert status == 403 or "/login" in address


@pytest.mark.parametrize(
    "path",
    [f"/voila/files/{NOTEBOOK}", "/voila/files/toy.ipynb", "/voila/render/toy.ipynb",
     "/api/contents", "/voila/tree", "/voila/files/images/lab.webp"],
)  # fmt: skip
def test_nothing_but_the_notebook_is_served(app: App, path: str) -> None:
    status, _ = fetch(app, path, token=True)
    assert status in (403, 404)


def test_code_from_the_browser_is_refused(app: App, tmp_path: Path) -> None:
    page = app.tab.page
    config = json.loads(page.locator("#jupyter-config-data").text_content() or "{}")
    cookies = "; ".join(f"{c['name']}={c['value']}" for c in app.tab.context.cookies())
    address = f"ws://127.0.0.1:{app.served.port}/api/kernels/{config['kernelId']}/channels"
    evidence = tmp_path / "ran"

    def ask(kind: str, content: dict[str, object]) -> str:
        head = {"msg_id": uuid.uuid4().hex, "username": "", "session": uuid.uuid4().hex,
                "msg_type": kind, "version": "5.3"}  # fmt: skip
        line.send(json.dumps({"header": head, "parent_header": {}, "metadata": {},
                              "content": content, "channel": "shell", "buffers": []}))  # fmt: skip
        return str(head["msg_id"])

    def answered(asked: str) -> list[str]:
        kinds = []
        while not kinds or kinds[-1] != "kernel_info_reply":
            message = json.loads(line.recv())
            if message.get("parent_header", {}).get("msg_id") in (asked, last):
                kinds.append(message["header"]["msg_type"])
        return kinds

    line = websocket.create_connection(address, cookie=cookies, timeout=120)
    try:
        code = f"open({str(evidence)!r}, 'w').close()"
        asked = ask("execute_request", {"code": code, "silent": False, "store_history": False,
                                        "user_expressions": {}, "allow_stdin": False})  # fmt: skip
        last = ask("kernel_info_request", {})  # answered after it, had it been let through
        kinds = answered(asked)
    finally:
        line.close()
    assert "execute_reply" not in kinds
    assert not evidence.exists()


def test_a_killed_kernel_leaves_the_page_saying_so(app: App) -> None:
    """Last: the page is of no use after it."""
    page, _ = app.pairs[0]
    kill_kernels(app.served)
    control = page.controls[-1]
    page.input(control).focus()
    app.tab.page.keyboard.press("Home")
    app.tab.page.keyboard.press("ArrowDown" if control.menu else "ArrowRight")
    problem = page.root.locator(".problem")
    problem.wait_for(state="visible", timeout=20_000)
    assert "kernel" in problem.inner_text()
