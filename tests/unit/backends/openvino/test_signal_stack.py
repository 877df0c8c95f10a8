"""The signal stack of a thread is read and put back."""

import ctypes
import sys
import threading

import pytest

from qutils.backends.openvino.signal_stack import SignalStack, signal_stack, signal_stack_kept

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the signal stack of Linux")
SIZE = 1 << 16


def in_a_thread(work):
    """A thread begins without a signal stack, and takes none along to others."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def test_it_is_put_back_behind_a_library_that_moves_it():
    memory = ctypes.create_string_buffer(SIZE)

    def work():
        with signal_stack_kept():
            moved = SignalStack(ctypes.addressof(memory), 0, SIZE)
            assert ctypes.CDLL(None).sigaltstack(ctypes.byref(moved), None) == 0
            inside = signal_stack()
        return inside.address == ctypes.addressof(memory), inside.size, signal_stack().flags

    moved, size, flags = in_a_thread(work)
    assert (moved, size) == (True, SIZE)
    assert flags == 2  # none installed, as before


def test_an_error_inside_is_handed_on():
    with pytest.raises(ZeroDivisionError), signal_stack_kept():
        raise ZeroDivisionError
