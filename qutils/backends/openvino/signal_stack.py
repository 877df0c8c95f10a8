"""The stack that signal handlers of a thread run on, kept as it was around a library that moves it.

A library that asks Linux for the use of AMX tiles has to offer a signal stack large enough for
their state. OpenVINO's CPU plugin installs one of just that size, and where two plugins are
unloaded in another order than loaded it leaves one behind that is freed. The next Ctrl-C then
ends the process (SIGSEGV): Python's handlers run on that stack.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class SignalStack(ctypes.Structure):
    """``stack_t`` of Linux: address, flags (2 = none is installed), size [bytes].

    Source: sigaltstack(2).
    """

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


def signal_stack() -> SignalStack:
    """The alternate signal stack of this thread, as the kernel knows it.

    Raises:
        OSError: the kernel does not tell.
    """
    stack = SignalStack()
    _sigaltstack(None, stack)
    return stack


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Put the alternate signal stack of this thread back at the end; does nothing off Linux.

    A stack that the kernel does not take back, as it is too small for AMX state, stays replaced.
    """
    if sys.platform != "linux":
        yield
        return
    before = signal_stack()
    try:
        yield
    finally:
        with suppress(OSError):
            _sigaltstack(before, None)


def _sigaltstack(new: SignalStack | None, old: SignalStack | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    pointers = [None if stack is None else ctypes.byref(stack) for stack in (new, old)]
    if libc.sigaltstack(*pointers) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"sigaltstack failed (errno {code})")
