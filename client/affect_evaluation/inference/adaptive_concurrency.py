"""Adapt the number of requests in flight to the service, as TCP adapts its window.

Additive increase, multiplicative decrease: Chiu and Jain (1989), Computer Networks and ISDN Systems 17, 1-14.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from affect_contract.errors import Overloaded


class AdaptiveConcurrency:
    """Slots for requests: their number halves when the service is overloaded, and grows by one per round of answers.

    Args:
        most: the number of slots at the beginning, and the most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._slots = float(most)
        self._taken = 0
        self._halvings = 0
        self._changed = asyncio.Condition()

    @property
    def slots(self) -> int:
        """Number of requests that may be in flight now."""
        return max(1, int(self._slots))

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it during the block; an `Overloaded` from the block halves their number."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._taken < self.slots)
            self._taken += 1
        begun = self._halvings
        try:
            yield
        except Overloaded:
            self._shrink(begun)
            raise
        else:
            self._slots = min(self._most, self._slots + 1 / self._slots)
        finally:
            self._taken -= 1
            async with self._changed:
                self._changed.notify_all()

    def _shrink(self, begun: int) -> None:
        # Requests that were sent together are refused together: that is one overload, not many.
        if begun == self._halvings:
            self._slots = max(1.0, self._slots / 2)
            self._halvings += 1
