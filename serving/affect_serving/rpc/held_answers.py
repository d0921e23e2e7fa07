"""Answers held back while the gRPC server stops, so that no call is lost on its way in.

In one step, gRPC's server tells its callers to go elsewhere (GOAWAY) and cancels every call that no handler has yet.
A call that still waits inside gRPC, or that its caller sends before reading GOAWAY, then ends as CANCELLED, without a
code of ours (https://github.com/grpc/grpc/issues/41785). A caller that waits for an answer sends no further call. So
answers are held back until no more calls arrive; then the server stops, and the answers follow GOAWAY.
"""

import asyncio
import contextlib
import time
from typing import Final

_QUIET_CHECKS: Final = 10
"""Calls have ceased if none has arrived in this many checks in a row. Several: a busy machine may be late once."""
_HOLD_CHECK_S: Final = 0.025
"""Between two checks while calls are served: ten of them are longer than a caller takes to send its next call."""
_HOLD_S: Final = 1.0
"""The longest wait then. Calls of callers that do not wait for their answers never cease."""
_REFUSE_CHECK_S: Final = 0.0025
"""Between two checks while calls are refused: ten of them are a gap, in which none waits inside gRPC."""
_REFUSE_S: Final = 1.0
"""The longest wait then."""
_LONGEST_HELD_S: Final = 5.0
"""An answer is never held longer than this."""


class HeldAnswers:
    """Whether answers may be sent, and whether calls still arrive."""

    def __init__(self) -> None:
        self._quiet_checks = 0
        self._released = asyncio.Event()
        self._released.set()

    def call_arrived(self) -> None:
        """Note that the handler of a call has begun."""
        self._quiet_checks = -1

    async def wait_released(self, left_s: float) -> None:
        """Wait until an answer may be sent, but at most half of the time ``left_s`` that its call has left."""
        if not self._released.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s / 2, _LONGEST_HELD_S)):
                    await self._released.wait()

    async def hold(self) -> None:
        """Hold answers back from now on, and wait a while for calls to cease."""
        self._quiet_checks = 0
        self._released.clear()
        await self._wait_quiet(_HOLD_S, _HOLD_CHECK_S)

    async def wait_gap(self, seconds: float) -> None:
        """Once calls are refused, wait for a moment without any, but at most ``seconds``; not if calls have ceased."""
        if not self._released.is_set():
            await self._wait_quiet(min(seconds, _REFUSE_S), _REFUSE_CHECK_S)

    async def _wait_quiet(self, seconds: float, check_s: float) -> None:
        ends = time.monotonic() + seconds
        while self._quiet_checks < _QUIET_CHECKS and time.monotonic() < ends:
            await asyncio.sleep(check_s)
            self._quiet_checks += 1

    def release(self) -> None:
        """Let all answers be sent."""
        self._released.set()
