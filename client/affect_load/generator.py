"""How hard the load generator itself is at work: a process that is late measures itself, and not the service."""

import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

_BUSY: Final = 0.9
"""Of a core; locust warns above the same."""
_LATE_SHARE: Final = 0.25
"""Of the target: answers that are read later than this after they came would decide the verdict."""
TICK_S: Final = 0.05


class Strain(NamedTuple):
    """Of a stage; of several processes the worst."""

    cpu_share: float
    """Of a core."""
    late_ms: float
    """95 of 100 wake-ups came no later than this after they were due."""

    def limits(self, p95_ms: float) -> bool:
        """Whether figures may be the generator's own, where the target is ``p95_ms``."""
        return self.cpu_share >= _BUSY or self.late_ms >= _LATE_SHARE * p95_ms


class Watch:
    """Of this process. `run` belongs into a greenlet; `take` gives what there was since it was last called.

    Args:
        sleep: lets the other greenlets run.
    """

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep
        self._late_ms: list[float] = []
        self._began, self._began_cpu = time.perf_counter(), time.process_time()

    def run(self) -> None:
        """Watch for ever."""
        while True:
            due = time.perf_counter() + TICK_S
            self._sleep(TICK_S)
            self._late_ms.append((time.perf_counter() - due) * 1000)

    def take(self) -> Strain:
        """Since the last time."""
        now, cpu = time.perf_counter(), time.process_time()
        share = (cpu - self._began_cpu) / max(now - self._began, TICK_S)
        late = sorted(self._late_ms)
        self._late_ms = []
        self._began, self._began_cpu = now, cpu
        return Strain(share, late[len(late) * 95 // 100] if late else 0.0)


def worst(strains: Iterable[Strain]) -> Strain:
    """Of several processes, or stretches."""
    several = list(strains)
    return Strain(max(one.cpu_share for one in several), max(one.late_ms for one in several))
