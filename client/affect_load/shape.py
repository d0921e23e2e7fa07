"""The shape that locust asks each second: carries a plan out, and measures its stages."""

import time
from collections import defaultdict
from typing import Final

from locust import LoadTestShape
from locust.stats import RequestStats

from affect_load.counts import REFUSED, Counts
from affect_load.generator import Strain, worst
from affect_load.options import Options, options
from affect_load.resources import held
from affect_load.stages import Measured, Stage

_SETTLE_S: Final = 5.0
_SETTLE_SHARE: Final = 1 / 3


def by_sort(stats: RequestStats) -> dict[str, Counts]:
    """All that locust has counted, by the name of the request."""
    sorts: dict[str, Counts] = defaultdict(Counts)
    for (name, kind), entry in sorted(stats.entries.items()):
        if kind == REFUSED:
            sorts[name] += Counts(refused=entry.num_requests)
        else:
            sorts[name] += Counts(entry.num_requests - entry.num_failures, entry.num_failures, 0, entry.response_times)
    return sorts


def counted(stats: RequestStats) -> Counts:
    """All of that together."""
    return sum(by_sort(stats).values(), Counts())


class Planned(LoadTestShape):  # type: ignore[misc]
    """A plan's stages, one after the other; `measured` has those that are over."""

    def __init__(self) -> None:
        super().__init__()
        self.measured: list[Measured] = []
        self.strains: list[Strain] = []
        """Of all processes, as they come; those of a stage are taken when it is measured."""
        self._stage: Stage | None = None
        self._entered = 0.0
        self._began: tuple[float, Counts] | None = None

    def tick(self) -> tuple[int, float] | None:
        """How many users there should be now, and how many of them may appear in a second; None at the end."""
        now = time.monotonic()
        if self._stage is None:
            self._enter(now)
        elif self._began is None and now - self._entered >= min(_SETTLE_S, self._stage.seconds * _SETTLE_SHARE):
            self.strains.clear()
            self._began = now, self._counts
        elif self._began is not None and now - self._entered >= self._stage.seconds:
            self._measure(now, self._stage, *self._began)
            self._enter(now)
        if self._stage is None:
            return None
        return self._stage.users, float(self._stage.users)

    def _enter(self, now: float) -> None:
        self._stage = self._options.plan.next(self.measured)
        self._entered, self._began = now, None

    def _measure(self, now: float, stage: Stage, began: float, before: Counts) -> None:
        strain = worst(self.strains) if self.strains else Strain(0.0, 0.0)
        counts = self._counts.since(before)
        holds = held(self.runner.environment.host, self._options.ca)
        self.measured.append(Measured(stage, now - began, counts, strain, holds))

    @property
    def _options(self) -> Options:
        return options(self.runner.environment.parsed_options)

    @property
    def _counts(self) -> Counts:
        return counted(self.runner.stats)
