"""How JupyterLab and Voila are started: on loopback, nothing loaded from elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from qutils.errors import InvalidInputError, MissingPackageError
from qutils.files import ROOT

LOOPBACK = "127.0.0.1"
#: Both servers read their token from it; on a command line every user of the machine could read it.
TOKEN = "JUPYTER_TOKEN"
#: Extensions of the page: others of the user's, made for another version, may break it.
_EXTENSIONS = [
    "@voila-dashboards/widgets-manager8",
    "@jupyter-widgets/jupyterlab-manager",
    "anywidget",
]
_JUPYTER = Path(__file__).parent / "jupyter"


def lab_command(notebook: Path) -> list[str]:
    """JupyterLab at ``notebook``, whose folder is the one it shows.

    Raises:
        InvalidInputError: there is no such notebook.
        MissingPackageError: the extra ``lab`` is not installed.
    """
    path = _checked(notebook, "jupyterlab")
    return [
        *(sys.executable, "-m", "jupyterlab", str(path)),
        *(f"--ServerApp.ip={LOOPBACK}", f"--ServerApp.root_dir={path.parent}"),
        "--LabApp.extension_manager=readonly",  # the other one asks a package index
        *_as_root("ServerApp"),
    ]


def app_command(notebook: Path, port: int) -> list[str]:
    """Voila with ``notebook`` alone: no other file is served, no code is taken from the browser.

    Raises:
        InvalidInputError: there is no such notebook.
        MissingPackageError: the extra ``lab`` is not installed.
    """
    path = _checked(notebook, "voila")
    return [
        *(sys.executable, "-m", "voila", str(path), "--no-browser", "--template=qutils"),
        *(f"--Voila.ip={LOOPBACK}", f"--Voila.port={port}", "--Voila.port_retries=0"),
        *("--Voila.auto_token=True", "--Voila.log_level=WARN"),
        "--VoilaConfiguration.file_denylist=['.*']",
        "--VoilaConfiguration.allow_template_override=NO",
        f"--VoilaConfiguration.extension_allowlist={_EXTENSIONS}",
    ]


def environment(token: str | None = None) -> dict[str, str]:
    """What the servers need: our Voila template, a JupyterLab that does not ask for news, a token.

    The token is one of its own if none is given.
    """
    given = dict(os.environ)
    given["JUPYTER_PATH"] = _joined(_JUPYTER, given.get("JUPYTER_PATH"))
    given["JUPYTER_CONFIG_PATH"] = _joined(_JUPYTER / "config", given.get("JUPYTER_CONFIG_PATH"))
    if (ROOT / "pyproject.toml").is_file():
        given["PYTHONPATH"] = _joined(ROOT, given.get("PYTHONPATH"))
    given["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a warning about the debugger, which is not used
    return given | ({TOKEN: token} if token else {})


def address(port: int, token: str, path: str = "/", query: Mapping[str, str] | None = None) -> str:
    """What to open: ``http://127.0.0.1:8866/?token=...``."""
    extra = "".join(f"&{name}={value}" for name, value in (query or {}).items())
    return f"http://{LOOPBACK}:{port}{path}?token={token}{extra}"


def _checked(notebook: Path, package: str) -> Path:
    if find_spec(package) is None:
        raise MissingPackageError(
            f"{package} is not installed. Install it with: make lab (or pip install -e '.[lab]')"
        )
    path = Path(notebook).resolve()
    if not path.is_file():
        raise InvalidInputError(f"no notebook at {path}; run this from a checkout")
    return path


def _as_root(app: str) -> list[str]:
    """Jupyter refuses root, who is the only user of many a container."""
    return [f"--{app}.allow_root=True"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def _joined(first: Path, rest: str | None) -> str:
    return os.pathsep.join([str(first), *([rest] if rest else [])])
