"""Monitor the load generator itself: a process that is busy or late measures itself, not the service."""

import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

_BUSY: Final = 0.9
"""Share of a core; locust warns above the same share."""
_LATE_SHARE: Final = 0.25
"""Share of the p95 target: answers read with a greater delay could decide the verdict."""
TICK_S: Final = 0.05


class GeneratorHealth(NamedTuple):
    """The load on the generator during a stage; for several processes, the worst values."""

    cpu_share: float
    """CPU time as a share of one core."""
    late_ms: float
    """95th percentile of the delay of wake-ups, in ms."""

    def is_bottleneck(self, p95_ms: float) -> bool:
        """Return whether the generator, not the service, may have missed a p95 target of ``p95_ms``."""
        return self.cpu_share >= _BUSY or self.late_ms >= _LATE_SHARE * p95_ms


class HealthMonitor:
    """Measures the load on this process: `run` in a greenlet measures, `collect` returns the values.

    Args:
        sleep: sleeps for some seconds, while other greenlets run.
    """

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep
        self._late_ms: list[float] = []
        self._began, self._began_cpu = time.perf_counter(), time.process_time()

    def run(self) -> None:
        """Measure the delay of wake-ups, for ever."""
        while True:
            due = time.perf_counter() + TICK_S
            self._sleep(TICK_S)
            self._late_ms.append((time.perf_counter() - due) * 1000)

    def collect(self) -> GeneratorHealth:
        """Return the values since the last call, and start anew."""
        now, cpu = time.perf_counter(), time.process_time()
        share = (cpu - self._began_cpu) / max(now - self._began, TICK_S)
        late = sorted(self._late_ms)
        self._late_ms = []
        self._began, self._began_cpu = now, cpu
        return GeneratorHealth(share, late[len(late) * 95 // 100] if late else 0.0)


def worst(reports: Iterable[GeneratorHealth]) -> GeneratorHealth:
    """Return the worst values of several processes or periods."""
    listed = list(reports)
    return GeneratorHealth(max(one.cpu_share for one in listed), max(one.late_ms for one in listed))
