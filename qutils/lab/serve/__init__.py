"""Notebooks in a browser: JupyterLab and Voila, on this machine only, behind a token."""

from qutils.lab.serve.commands import app_command, lab_command
from qutils.lab.serve.server import Served, serving

__all__ = ["Served", "app_command", "lab_command", "serving"]
