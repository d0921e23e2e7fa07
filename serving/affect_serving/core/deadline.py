"""The deadline of a request: one budget of time, from its arrival to the last step of its work."""

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
        """Return the seconds left; 0 once the deadline has passed."""
        return max(0.0, self._ends - time.monotonic())

    def sooner(self, timeout_s: float) -> "Deadline":
        """Return a deadline ``timeout_s`` from now, or as late as this one if that is earlier."""
        return Deadline(min(timeout_s, self.left_s()))

    @asynccontextmanager
    async def enforced(self) -> AsyncIterator[None]:
        """Cancel the body of the context when the deadline passes.

        Raises:
            DeadlineExceeded: the deadline passed.
        """
        try:
            async with asyncio.timeout(self.left_s()):
                yield
        except TimeoutError as exc:
            raise DeadlineExceeded(
                f"no answer within the {self._timeout_s:g} s that the request had: give it more"
            ) from exc
