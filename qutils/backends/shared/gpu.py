"""Whether this machine has an NVIDIA GPU, asked of the driver itself: no package is needed."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@cache
def lacking_gpu() -> str:
    """Why no NVIDIA GPU can be used here, in a few words; empty if one can.

    Source: CUDA driver API, ``cuInit`` and ``cuDeviceGetCount``.
    """
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return f"no NVIDIA driver is installed ({_LIBRARY} is missing)"
    count = ctypes.c_int(0)
    for code in (driver.cuInit(0), driver.cuDeviceGetCount(ctypes.byref(count))):
        if code:
            return f"the NVIDIA driver reports CUDA error {code}"
    return "" if count.value else "the NVIDIA driver sees none"
