import io
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from qutils.lab.runner.process import LineFilter, forward, stop_tree

WARNING = (
    "[IPKernelApp] WARNING | Kernel is running over TCP without encryption. All communication\n"
)


INTERRUPT = "[IPKernelApp] ERROR | KeyboardInterrupt caught in kernel\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_two_lines_are_dropped_however_they_are_cut(size):
    text = (
        f"[IPKernelApp] other\n{WARNING}Executing:  50%|# [00:01]\rExecuting: 100%|##{INTERRUPT}"
        "KeyboardInterrupt caught in kernel, says the notebook\n[IPKernelApp] held"
    )
    lines = LineFilter("running over TCP without encryption", "KeyboardInterrupt caught in kernel")
    shown = "".join(lines.feed(text[i : i + size]) for i in range(0, len(text), size))
    assert shown + lines.rest() == text.replace(WARNING, "").replace(INTERRUPT, "")


def test_progress_is_passed_on_at_once():
    lines = LineFilter("x")
    for text in ("\r 10 % [00:01<00:09]", "\r 20 %"):
        assert lines.feed(text) == text


@pytest.mark.parametrize("muted", [False, True])
def test_bytes_are_forwarded_as_text_unless_muted(muted):
    source, sink = os.pipe()
    os.write(sink, "bär\n".encode() + WARNING.encode() + INTERRUPT.encode() + b"end")
    os.close(sink)
    target, event = io.StringIO(), threading.Event()
    if muted:
        event.set()
    with os.fdopen(source, "rb") as stream:
        forward(stream, target, event)
    assert target.getvalue() == ("" if muted else "bär\nend")


def test_whole_tree_is_stopped_even_if_it_will_not():
    stubborn = "import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(60)"
    code = (
        "import subprocess, sys, time; "
        f"child = subprocess.Popen([sys.executable, '-c', {stubborn!r}]); "
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    time.sleep(0.5)  # until it ignores the interrupt
    stop_tree(parent.pid)
    parent.wait(timeout=10)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_stopping_what_has_ended_is_no_error():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    stop_tree(done.pid)
