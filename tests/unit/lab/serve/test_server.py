"""What needs no notebook server: free ports, and that nothing goes through a proxy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.serve import Served, serving
from qutils.lab.serve.server import free_port


class Sessions(BaseHTTPRequestHandler):
    """Answers as JupyterLab does that has one idle kernel with a page."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        kernel = '{"execution_state": "idle", "connections": 1}'
        self.wfile.write(f'[{{"path": "a.ipynb", "kernel": {kernel}}}]'.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Sessions) as found:
        found.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def test_the_token_never_goes_to_a_proxy(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")  # nobody is there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    served = Served("lab", server.server_port, "secret", SimpleNamespace(pid=0))
    assert served.listens("a.ipynb")
    assert not served.listens("b.ipynb")
    assert server.asked == [("/api/sessions", "token secret")] * 2


def test_a_port_that_is_taken_is_refused_before_anything_starts(server, tmp_path):
    notebook = tmp_path / "a.ipynb"
    notebook.write_text("{}")
    with (
        pytest.raises(InvalidInputError, match=f"port {server.server_port} .*name another"),
        serving("app", notebook, port=server.server_port),
    ):
        pytest.fail("it was taken for our server")
    assert server.asked == []


def test_a_free_port_can_be_bound():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))
