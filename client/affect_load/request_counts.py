"""Counts of requests by outcome: answers with their response times, refusals, errors."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

REFUSED = "REFUSED"
"""The request type under which locust counts refusals (429): they are neither answers nor errors."""


@dataclass(frozen=True)
class Counts:
    """The requests of a period by outcome; `since` gives those between two moments."""

    answered: int = 0
    errors: int = 0
    refused: int = 0
    times_ms: Mapping[int, int] = field(default_factory=dict)
    """Number of answers by response time, which locust rounds to 1 ms below 100 ms and to two digits above."""

    @property
    def sent(self) -> int:
        """Number of requests with any outcome."""
        return self.answered + self.errors + self.refused

    @property
    def refused_share(self) -> float:
        """Share of the requests that were refused, from 0 to 1."""
        return self.refused / self.sent if self.sent else 0.0

    def percentile_ms(self, share: float) -> float | None:
        """Return the time in ms within which ``share`` of the answers came; None without an answer.

        Args:
            share: the percentile as a share, in (0, 1].
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
        """Return the counts of the period that began when ``earlier`` was taken."""
        return type(self)(
            self.answered - earlier.answered,
            self.errors - earlier.errors,
            self.refused - earlier.refused,
            Counter(self.times_ms) - Counter(earlier.times_ms),
        )
