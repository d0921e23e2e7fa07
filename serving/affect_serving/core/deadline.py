"""One budget of time for a request, from the moment it comes to the last thing done for it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from affect_contract.errors import DeadlineExceeded


class Deadline:
    """The moment by which a request must be answered.

    Args:
        timeout_s: seconds from now.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._ends = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Seconds left; 0 when there are none."""
        return max(0.0, self._ends - time.monotonic())

    def sooner(self, timeout_s: float) -> "Deadline":
        """A deadline ``timeout_s`` from now, or this one if it is earlier."""
        return Deadline(min(timeout_s, self.left_s()))

    @asynccontextmanager
    async def enforced(self) -> AsyncIterator[None]:
        """Stop what is done inside when the time is up.

        Raises:
            DeadlineExceeded: it was.
        """
        try:
            async with asyncio.timeout(self.left_s()):
                yield
        except TimeoutError as exc:
            raise DeadlineExceeded(
                f"no answer within the {self._timeout_s:g} s that the request had: give it more"
            ) from exc
