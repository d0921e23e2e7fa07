"""The end of the gateway's life: first it says that it is not ready, then it takes nothing new, then it is gone."""

import asyncio
import contextlib
import time
from typing import Final

from affect_contract.schemas import Readiness

_ITSELF: Final = "gateway"
READINESS: Final = Readiness(waiting_for=[_ITSELF], reasons={_ITSELF: "it was told to end, and serves on for a moment"})
"""What is said while it ends."""


class Drain:
    """Whether the gateway was told to end."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self._began = 0.0
        self._hurried = asyncio.Event()

    @property
    def begun(self) -> bool:
        """True from the first signal on."""
        return self._begun.is_set()

    def begun_for_s(self) -> float:
        """How long ago it was told first, in seconds; 0 where it was not."""
        return time.monotonic() - self._began if self.begun else 0.0

    def begin(self, *, hurried: bool = False) -> None:
        """Begin to end.

        Args:
            hurried: without serving on for a while.
        """
        if not self.begun:
            self._began = time.monotonic()
        self._begun.set()
        if hurried:
            self._hurried.set()

    async def told(self) -> None:
        """Return when it was."""
        await self._begun.wait()

    async def served_on(self, seconds: float) -> None:
        """Return after ``seconds``, or at once where there is a hurry."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()
