"""What came of requests, counted: answers with their times, refusals, errors."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

REFUSED = "REFUSED"
"""The kind under which a request is counted that the service was too busy for: no error, and no answer either."""


@dataclass(frozen=True)
class Counts:
    """Of some stretch of time, or since the start; those of a stretch are a difference."""

    answered: int = 0
    errors: int = 0
    refused: int = 0
    times_ms: Mapping[int, int] = field(default_factory=dict)
    """How many answers took how long, as locust rounds it: to 1 ms below 100 ms, to two digits above."""

    @property
    def sent(self) -> int:
        """All that came back in some way."""
        return self.answered + self.errors + self.refused

    @property
    def refused_share(self) -> float:
        """From 0 to 1."""
        return self.refused / self.sent if self.sent else 0.0

    def percentile_ms(self, share: float) -> float | None:
        """The time within which ``share`` of the answers came; None where there was no answer.

        Args:
            share: in (0, 1].
        """
        wanted = share * sum(self.times_ms.values())
        for time_ms, count in sorted(self.times_ms.items()):
            wanted -= count
            if wanted <= 0:
                return float(time_ms)
        return None

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.answered + other.answered,
            self.errors + other.errors,
            self.refused + other.refused,
            Counter(self.times_ms) + Counter(other.times_ms),
        )

    def since(self, earlier: Self) -> Self:
        """What was counted after ``earlier``."""
        return type(self)(
            self.answered - earlier.answered,
            self.errors - earlier.errors,
            self.refused - earlier.refused,
            Counter(self.times_ms) - Counter(earlier.times_ms),
        )
