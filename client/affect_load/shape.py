"""The load shape that locust polls every second: it carries out a plan, and measures its stages."""

import time
from collections import defaultdict
from typing import Final

from locust import LoadTestShape
from locust.stats import RequestStats

from affect_load.generator_health import GeneratorHealth, worst
from affect_load.options import Options, options
from affect_load.process_resources import read_process_resources
from affect_load.request_counts import REFUSED, Counts
from affect_load.stages import Measured, Stage

_SETTLE_S: Final = 5.0
_SETTLE_SHARE: Final = 1 / 3


def counts_by_name(stats: RequestStats) -> dict[str, Counts]:
    """Return locust's statistics as counts, by the name of the request."""
    counts: dict[str, Counts] = defaultdict(Counts)
    for (name, kind), entry in sorted(stats.entries.items()):
        if kind == REFUSED:
            counts[name] += Counts(refused=entry.num_requests)
        else:
            counts[name] += Counts(entry.num_requests - entry.num_failures, entry.num_failures, 0, entry.response_times)
    return counts


def total_counts(stats: RequestStats) -> Counts:
    """Return the counts of all requests together."""
    return sum(counts_by_name(stats).values(), Counts())


class PlannedShape(LoadTestShape):  # type: ignore[misc]
    """Runs the stages of a plan one after the other; `measured` holds those that are over."""

    def __init__(self) -> None:
        super().__init__()
        self.measured: list[Measured] = []
        self.health_reports: list[GeneratorHealth] = []
        """Reports of all processes since the current stage has settled."""
        self._stage: Stage | None = None
        self._entered = 0.0
        self._began: tuple[float, Counts] | None = None

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users wanted now, and how many may start in a second; None at the end."""
        now = time.monotonic()
        if self._stage is None:
            self._enter(now)
        elif self._began is None and now - self._entered >= min(_SETTLE_S, self._stage.seconds * _SETTLE_SHARE):
            self.health_reports.clear()
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
        generator = worst(self.health_reports) if self.health_reports else GeneratorHealth(0.0, 0.0)
        counts = self._counts.since(before)
        resources = read_process_resources(self.runner.environment.host, self._options.ca)
        self.measured.append(Measured(stage, now - began, counts, generator, resources))

    @property
    def _options(self) -> Options:
        return options(self.runner.environment.parsed_options)

    @property
    def _counts(self) -> Counts:
        return total_counts(self.runner.stats)
