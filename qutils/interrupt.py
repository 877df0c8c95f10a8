"""Ctrl-C that waits for the end of a step, and Ctrl-C while nothing has begun."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Exit code of a command that Ctrl-C ended, and what it says.
INTERRUPTED, INTACT = 130, "Interrupted. What was there before is intact."


@contextmanager
def nothing_begun() -> Iterator[None]:
    """Ctrl-C ends the process at once: for imports, which an exception would leave half done.

    A module that is interrupted while it is imported raises whatever its author foresaw, and some
    catch the interruption. Only for blocks that write nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(signum: int, frame: FrameType | None) -> None:
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"\n{INTACT}\n".encode())
        os._exit(INTERRUPTED)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or before is None:  # in the background, say
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def ctrl_c() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that no step is left half done; the second raises.

    Signals reach the main thread only: elsewhere the event is never set.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def handler(signum: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
