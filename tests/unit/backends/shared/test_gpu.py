from __future__ import annotations

import ctypes

import pytest

from qutils.backends.shared import gpu


class Driver:
    """CUDA's driver, as far as it is asked."""

    def __init__(self, error: int, count: int) -> None:
        self.error, self.count = error, count

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.error

    def cuDeviceGetCount(self, count) -> int:  # noqa: N802
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int))[0] = self.count
        return self.error


@pytest.fixture(autouse=True)
def asked_anew():
    gpu.lacking_gpu.cache_clear()
    yield
    gpu.lacking_gpu.cache_clear()


@pytest.mark.parametrize(
    ("error", "count", "told"),
    [
        (0, 2, ""),
        (0, 0, "the NVIDIA driver sees none"),
        (100, 0, "the NVIDIA driver reports CUDA error 100"),
    ],
    ids=["two", "none", "error"],
)
def test_the_driver_is_asked(error, count, told, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(error, count))
    assert gpu.lacking_gpu() == told


def test_a_missing_driver_is_told(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert "no NVIDIA driver is installed" in gpu.lacking_gpu()
