"""What load is offered, stage by stage, and what was measured of each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from affect_load.counts import Counts
from affect_load.generator import Strain
from affect_load.resources import Held

RATE_PER_USER: Final = 2.0
"""Requests a second. A user waits for each answer, so answers that take half a second slow it down."""
_GROWTH: Final = 1.5
_CLOSE_ENOUGH: Final = 1.05
"""Between the highest rate that met the target and the lowest that missed it."""
_MOST_STAGES: Final = 24
_KEPT_UP: Final = 0.9
_REFUSED_MOST: Final = 0.01
_SLICE_S: Final = 30.0
_SPIKE: Final = 4


class Kind(StrEnum):
    """Of a load."""

    STEPS = "steps"
    SPIKE = "spike"
    SOAK = "soak"


@dataclass(frozen=True)
class Target:
    """What the service is held to."""

    p95_ms: float


@dataclass(frozen=True)
class Stage:
    """Some users for some time."""

    users: int
    seconds: float
    judged: bool = True
    """Whether it has to meet the target; errors count in every stage."""

    @property
    def rate(self) -> float:
        """Requests offered, a second."""
        return self.users * RATE_PER_USER


@dataclass(frozen=True)
class Measured:
    """A stage that is over. The first seconds, in which users appear, are in none of its figures but the errors."""

    stage: Stage
    seconds: float
    counts: Counts
    strain: Strain
    """Of the generator."""
    held: Held | None = None
    """What the gateway held at the end, where it says."""

    @property
    def answered_per_s(self) -> float:
        """The rate that was served."""
        return self.counts.answered / self.seconds

    @property
    def p95_ms(self) -> float | None:
        """Of the answers."""
        return self.counts.percentile_ms(0.95)

    def meets(self, target: Target) -> bool:
        """Whether the rate was served: answers in time, no errors, next to no refusals, and users kept to their pace.

        A user waits for its answer before it asks again. So a service that stalls gets fewer requests than were meant,
        and its percentiles would look better than they are: that is why the pace counts. One a user may fall outside.
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
    """Decides each stage by those before it."""

    def next(self, measured: Sequence[Measured]) -> Stage | None:
        """The stage after ``measured``; None at the end."""


@dataclass(frozen=True)
class StepSearch:
    """More and more users until the target is missed, then halfway between what met it and what missed it."""

    users: int
    seconds: float
    target: Target

    def next(self, measured: Sequence[Measured]) -> Stage | None:
        """See `Plan`."""
        best, missed = bounds(measured, self.target)
        if len(measured) >= _MOST_STAGES:
            return None
        if missed is None:
            return Stage(math.ceil(best * _GROWTH) if best else self.users, self.seconds)
        if missed <= max((best or 0) + 1, (best or 0) * _CLOSE_ENOUGH):
            return None
        return Stage((missed + (best or 0)) // 2, self.seconds)


def bounds(measured: Sequence[Measured], target: Target) -> tuple[int | None, int | None]:
    """The most users below every miss that met the target, and the fewest that missed it."""
    missed = min((one.stage.users for one in measured if not one.meets(target)), default=None)
    met = [one.stage.users for one in measured if one.meets(target) and (missed is None or one.stage.users < missed)]
    return max(met, default=None), missed


@dataclass(frozen=True)
class Sequel:
    """Stages that are fixed beforehand."""

    stages: tuple[Stage, ...]

    def next(self, measured: Sequence[Measured]) -> Stage | None:
        """See `Plan`."""
        return self.stages[len(measured)] if len(measured) < len(self.stages) else None


def plan(kind: Kind, rate: float, seconds: float, target: Target) -> Plan:
    """The load of a kind.

    Args:
        kind: which.
        rate: requests a second: of the first step, of the calm before and after a spike, of a soak.
        seconds: of each step, of each of a spike's three stages, of the whole soak.
        target: what ends the steps.
    """
    users = max(1, round(rate / RATE_PER_USER))
    match kind:
        case Kind.STEPS:
            return StepSearch(users, seconds, target)
        case Kind.SPIKE:
            return Sequel((Stage(users, seconds), Stage(_SPIKE * users, seconds, judged=False), Stage(users, seconds)))
        case Kind.SOAK:
            slices = max(4, round(seconds / _SLICE_S))
            return Sequel((Stage(users, seconds / slices),) * slices)
