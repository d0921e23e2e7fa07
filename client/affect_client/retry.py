"""Retry a call that failed for a transient reason: one policy for every client.

Exponential backoff with full jitter, as in Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015); the
gateway's Retry-After is added to it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from affect_client.errors import ServiceUnreachable
from affect_contract.errors import FAULTS, AffectError

Answer = TypeVar("Answer")

_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 5.0
_SHORTEST_ATTEMPT_S: Final = 0.001


class Attempts:
    """Decides after each failed attempt of one call whether, and when, another follows.

    Args:
        timeout_s: seconds for all attempts and the waits between them.
        retries: how many attempts may follow the first.
        clock: returns the current time in seconds.
        jitter: returns a random number from 0 to 1.
    """

    def __init__(
        self,
        timeout_s: float,
        retries: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._ends = clock() + timeout_s
        self._retries = retries
        self._failed = 0

    def left_s(self) -> float:
        """Return the seconds that the next attempt may take."""
        return max(_SHORTEST_ATTEMPT_S, self._ends - self._clock())

    def wait_s(self, error: AffectError | ServiceUnreachable) -> float | None:
        """Return the seconds to wait after ``error`` before the next attempt; None if there is to be none."""
        self._failed += 1
        if self._failed > self._retries or not _is_transient(error):
            return None
        wait_s = self._jitter() * min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (self._failed - 1))
        if isinstance(error, AffectError) and error.retry_after_s is not None:
            wait_s += error.retry_after_s
        return wait_s if self._clock() + wait_s < self._ends else None


def with_retries(send: Callable[[Callable[[], float]], Answer], timeout_s: float, retries: int) -> Answer:
    """Return the result of ``send``, retried after transient errors.

    ``send`` receives a function that returns the seconds left for the attempt, by when it is called.
    """
    attempts = Attempts(timeout_s, retries)
    while True:
        try:
            return send(attempts.left_s)
        except (AffectError, ServiceUnreachable) as exc:
            wait_s = attempts.wait_s(exc)
            if wait_s is None:
                raise
        time.sleep(wait_s)


async def with_retries_async(
    send: Callable[[Callable[[], float]], Awaitable[Answer]], timeout_s: float, retries: int
) -> Answer:
    """Await ``send`` as `with_retries` calls it."""
    attempts = Attempts(timeout_s, retries)
    while True:
        try:
            return await send(attempts.left_s)
        except (AffectError, ServiceUnreachable) as exc:
            wait_s = attempts.wait_s(exc)
            if wait_s is None:
                raise
        await asyncio.sleep(wait_s)


def _is_transient(error: AffectError | ServiceUnreachable) -> bool:
    if isinstance(error, AffectError):
        return FAULTS[error.code].retryable
    return error.never_connected
