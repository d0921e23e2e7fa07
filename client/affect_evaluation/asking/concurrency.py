"""How many requests are under way: as many as the service takes, found as TCP finds its window.

Additive increase, multiplicative decrease: Chiu and Jain (1989), Computer Networks and ISDN Systems 17, 1-14.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from affect_contract.errors import Overloaded


class Concurrency:
    """Places for requests: halved when the service is overloaded, growing back by one after as many answers.

    Args:
        most: places at the beginning, and at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places = float(most)
        self._taken = 0
        self._halvings = 0
        self._changed = asyncio.Condition()

    @property
    def places(self) -> int:
        """Requests that may be under way now."""
        return max(1, int(self._places))

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and hold it; what happens inside decides how many there are."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._taken < self.places)
            self._taken += 1
        begun = self._halvings
        try:
            yield
        except Overloaded:
            self._shrink(begun)
            raise
        else:
            self._places = min(self._most, self._places + 1 / self._places)
        finally:
            self._taken -= 1
            async with self._changed:
                self._changed.notify_all()

    def _shrink(self, begun: int) -> None:
        # Requests that were sent together are refused together: that is one overload, not many.
        if begun == self._halvings:
            self._places = max(1.0, self._places / 2)
            self._halvings += 1
