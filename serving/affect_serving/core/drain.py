"""The gateway's graceful shutdown: it reports that it is not ready, then refuses new requests, then ends."""

import asyncio
import contextlib
import time
from typing import Final

from affect_contract.schemas import Readiness

_ITSELF: Final = "gateway"
NOT_READY: Final = Readiness(waiting_for=[_ITSELF], reasons={_ITSELF: "it is shutting down, but still serves requests"})
"""The answer of ``/readyz`` during shutdown."""
GIVEN_UP: Final = "the gateway ended before there was an answer: ask another"
"""The detail of requests that did not finish within the grace."""


class Drain:
    """The state of the gateway's shutdown, which begins with the first signal."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self._began = 0.0
        self._delay_skipped = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether the first signal has come."""
        return self._begun.is_set()

    def begun_for_s(self) -> float:
        """Return how long ago shutdown began, in seconds; 0 if it has not."""
        return time.monotonic() - self._began if self.begun else 0.0

    def begin(self, *, skip_delay: bool = False) -> None:
        """Begin shutdown.

        Args:
            skip_delay: refuse new requests at once, instead of serving on until load balancers have noticed.
        """
        if not self.begun:
            self._began = time.monotonic()
        self._begun.set()
        if skip_delay:
            self._delay_skipped.set()

    async def wait_begun(self) -> None:
        """Return as soon as shutdown begins."""
        await self._begun.wait()

    async def wait_delay(self, seconds: float) -> None:
        """Wait for ``seconds``, or until the delay is skipped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._delay_skipped.wait()
