from __future__ import annotations

import os

import pytest

from qutils.errors import InvalidInputError, MissingPackageError
from qutils.lab.serve import commands


@pytest.fixture
def notebook(tmp_path):
    path = tmp_path / "08_lab.ipynb"
    path.write_text("{}")
    return path


@pytest.mark.parametrize(
    "command", [commands.lab_command, lambda notebook: commands.app_command(notebook, 8866)]
)
def test_servers_listen_on_loopback_alone_and_no_token_is_on_the_command_line(command, notebook):
    pytest.importorskip("jupyterlab")
    line = " ".join(command(notebook))
    assert "ip=127.0.0.1" in line
    assert "token" not in line.lower().replace("auto_token=true", "")


@pytest.mark.parametrize(
    "command", [commands.lab_command, lambda notebook: commands.app_command(notebook, 8866)]
)
def test_without_the_extra_the_command_that_installs_it_is_named(command, notebook, monkeypatch):
    monkeypatch.setattr(commands, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"make lab \(or pip install -e '.\[lab\]'\)"):
        command(notebook)


def test_a_notebook_that_is_not_there_is_refused(tmp_path):
    pytest.importorskip("jupyterlab")
    with pytest.raises(InvalidInputError, match="no notebook at"):
        commands.lab_command(tmp_path / "none.ipynb")


def test_the_environment_adds_to_what_the_user_has(monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "/mine")
    monkeypatch.delenv("JUPYTER_TOKEN", raising=False)
    given = commands.environment()
    assert given["JUPYTER_PATH"].split(os.pathsep)[1] == "/mine"
    assert "JUPYTER_TOKEN" not in given
    assert commands.environment("secret")["JUPYTER_TOKEN"] == "secret"


def test_the_address_has_the_token():
    assert commands.address(8866, "t") == "http://127.0.0.1:8866/?token=t"
