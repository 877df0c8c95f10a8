"""Whether the machine is idle enough for its times to mean something."""

from __future__ import annotations

import time
from dataclasses import dataclass

from qutils.evaluate.bench.latency import Latency

#: Seconds of computing by which the share of a core is measured.
_SECONDS = 0.1
#: Below this share of a core, or above this spread, times say more of others than of the file.
ENOUGH = 0.9
STEADY = 0.25


@dataclass(frozen=True)
class Load:
    """How much of one core this process got [0 to 1], and the spread of its calls.

    ``spread`` is the interquartile range of the latency over its median.
    """

    core: float
    spread: float

    @property
    def busy(self) -> bool:
        """Whether times measured now cannot be judged."""
        return self.core < ENOUGH or self.spread > STEADY

    def __str__(self) -> str:
        return (
            f"this process got {100 * self.core:.0f} % of a core, and the middle half of its calls "
            f"spreads over {100 * self.spread:.0f} % of the median"
        )


def share_of_core(seconds: float = _SECONDS) -> float:
    """Compute for some seconds and return CPU time over wall time: 1 where nobody else does.

    >>> 0 < share_of_core(0.01) <= 1
    True
    """
    start, used = time.perf_counter(), time.thread_time()
    while time.perf_counter() - start < seconds:
        pass
    return min(1.0, (time.thread_time() - used) / (time.perf_counter() - start))


def load_of(cores: tuple[float, ...], latency: Latency) -> Load:
    """Return the load of a measurement from shares of a core taken around it, the least counts."""
    return Load(min(cores), latency.iqr_ms / latency.median_ms if latency.median_ms else 0.0)
