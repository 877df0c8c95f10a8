"""Ctrl-C: at once while nothing has begun, between two steps afterwards."""

import os
import signal
import subprocess
import sys

import pytest

from qutils.interrupt import INTACT, INTERRUPTED, ctrl_c, nothing_begun

STUBBORN = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
from qutils.interrupt import nothing_begun
with nothing_begun():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        import time; time.sleep(5)
    except BaseException:
        raise ImportError("half imported")
"""


def test_an_interrupted_import_ends_the_process_with_one_line():
    done = subprocess.run(
        [sys.executable, "-c", STUBBORN], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == INTERRUPTED
    assert done.stderr.split("\n") == ["", INTACT, ""]


def test_ctrl_c_is_what_it_was_behind_the_imports():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with nothing_begun():
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with ctrl_c() as pressed:
            os.kill(os.getpid(), signal.SIGINT)
            assert pressed.is_set()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with nothing_begun():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
