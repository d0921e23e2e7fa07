"""The stages of a load: how much load each offers, what was measured in it, and which stage follows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from affect_load.generator_health import GeneratorHealth
from affect_load.process_resources import ProcessResources
from affect_load.request_counts import Counts

RATE_PER_USER: Final = 2.0
"""Requests per second of one user, who waits for each answer: answers slower than 0.5 s lower its rate."""
_GROWTH: Final = 1.5
_CLOSE_ENOUGH: Final = 1.05
"""Ratio of the lowest rate that missed the target to the highest that met it, at which the search ends."""
_MOST_STAGES: Final = 24
_KEPT_UP: Final = 0.9
_REFUSED_MOST: Final = 0.01
_SLICE_S: Final = 30.0
_SPIKE: Final = 4


class LoadKind(StrEnum):
    """The kind of a load: rising steps, a spike, or a soak."""

    STEPS = "steps"
    SPIKE = "spike"
    SOAK = "soak"


@dataclass(frozen=True)
class Target:
    """The target by which the service is judged."""

    p95_ms: float


@dataclass(frozen=True)
class Stage:
    """A number of users for a number of seconds."""

    users: int
    seconds: float
    judged: bool = True
    """Whether the stage has to meet the target; errors count in every stage."""

    @property
    def rate(self) -> float:
        """Rate that the users offer, in requests per second."""
        return self.users * RATE_PER_USER


@dataclass(frozen=True)
class Measured:
    """The figures of a stage that is over; those of its first seconds, in which users start, are left out."""

    stage: Stage
    seconds: float
    counts: Counts
    generator: GeneratorHealth
    """The load on the generator meanwhile."""
    resources: ProcessResources | None = None
    """The gateway's resources at the end of the stage; None if they are not known."""

    @property
    def answered_per_s(self) -> float:
        """Rate that was answered, in requests per second."""
        return self.counts.answered / self.seconds

    @property
    def p95_ms(self) -> float | None:
        """95th percentile of the response times in ms; None without an answer."""
        return self.counts.percentile_ms(0.95)

    def meets(self, target: Target) -> bool:
        """Return whether the rate was served: answers in time, no errors, few refusals, and users at their pace.

        A user waits for an answer before it sends the next request. So a service that stalls gets fewer requests than
        intended, and its percentiles look better than they are; therefore the number sent counts too. One request of
        each user may fall outside the stage.
        """
        p95_ms = self.p95_ms
        return (
            p95_ms is not None
            and p95_ms <= target.p95_ms
            and self.counts.errors == 0
            and self.counts.refused_share <= _REFUSED_MOST
            and self.counts.sent + self.stage.users >= _KEPT_UP * self.stage.rate * self.seconds
        )


class Plan(Protocol):
    """Decides each stage by the figures of those before it."""

    def next(self, measured: Sequence[Measured]) -> Stage | None:
        """Return the stage that follows ``measured``; None at the end."""


@dataclass(frozen=True)
class StepSearch:
    """Raises the number of users until the target is missed, then bisects between the last met and the first missed."""

    users: int
    seconds: float
    target: Target

    def next(self, measured: Sequence[Measured]) -> Stage | None:
        """See `Plan`."""
        best, missed = user_bounds(measured, self.target)
        if len(measured) >= _MOST_STAGES:
            return None
        if missed is None:
            return Stage(math.ceil(best * _GROWTH) if best else self.users, self.seconds)
        if missed <= max((best or 0) + 1, (best or 0) * _CLOSE_ENOUGH):
            return None
        return Stage((missed + (best or 0)) // 2, self.seconds)


def user_bounds(measured: Sequence[Measured], target: Target) -> tuple[int | None, int | None]:
    """Return the most users below every miss that met the target, and the fewest that missed it."""
    missed = min((one.stage.users for one in measured if not one.meets(target)), default=None)
    met = [one.stage.users for one in measured if one.meets(target) and (missed is None or one.stage.users < missed)]
    return max(met, default=None), missed


@dataclass(frozen=True)
class FixedStages:
    """A plan whose stages are fixed beforehand."""

    stages: tuple[Stage, ...]

    def next(self, measured: Sequence[Measured]) -> Stage | None:
        """See `Plan`."""
        return self.stages[len(measured)] if len(measured) < len(self.stages) else None


def plan(kind: LoadKind, rate: float, seconds: float, target: Target) -> Plan:
    """Return the plan of a load.

    Args:
        kind: the kind of load.
        rate: requests per second of the first step, before and after a spike, or throughout a soak.
        seconds: duration of each step, of each of a spike's three stages, or of the whole soak.
        target: the target whose miss ends the rise of the steps.
    """
    users = max(1, round(rate / RATE_PER_USER))
    match kind:
        case LoadKind.STEPS:
            return StepSearch(users, seconds, target)
        case LoadKind.SPIKE:
            return FixedStages(
                (Stage(users, seconds), Stage(_SPIKE * users, seconds, judged=False), Stage(users, seconds))
            )
        case LoadKind.SOAK:
            slices = max(4, round(seconds / _SLICE_S))
            return FixedStages((Stage(users, seconds / slices),) * slices)
