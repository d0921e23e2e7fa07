"""Who is let in, and when their work begins: one bound and one short queue for both surfaces.

A request is admitted or refused when its head has come, before a byte of its body is read. It holds a place until its
work begins; work begins in the order in which pictures are whole. A request whose body is slow gives its place back,
and takes another once the body is whole, so that slow senders keep nobody out.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from affect_contract.errors import ModelNotReady, Overloaded
from affect_serving.core.deadline import Deadline
from affect_serving.telemetry.metrics import Metrics, Rejection

_RECENT: Final = 0.1
"""Weight of the newest service time in their moving mean."""
_PROMPT_S: Final = 0.25
"""What takes longer to come gives its place in the queue back until it is whole, in seconds."""
_SHORTEST_RETRY_S: Final = 0.1
ENDING: Final = "the gateway is about to end: ask again, and another one answers"


class Admission:
    """The gateway's places: ``max_in_flight`` pictures are worked on, ``max_queued`` requests wait.

    Args:
        max_in_flight: pictures at a time; a batch may exceed it, and then keeps others waiting for as long.
        max_queued: requests that may wait beyond that.
        metrics: where refusals and waits are counted.
        clock: seconds that pass.
    """

    def __init__(
        self, max_in_flight: int, max_queued: int, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_in_flight = max_in_flight
        self._max_held = max_in_flight + max_queued
        self._metrics = metrics
        self._clock = clock
        self._service_s = 0.0
        self._in_flight = 0
        self._queued = 0
        self._waiting: dict[asyncio.Future[None], int] = {}
        self.closed = asyncio.Event()
        """Set once nobody is let in any more."""
        metrics.in_flight.set_function(lambda: self._in_flight)
        metrics.queued.set_function(lambda: self._queued)

    @property
    def is_full(self) -> bool:
        """Whether nobody can be let in now."""
        return self._in_flight + self._queued >= self._max_held

    def close(self) -> None:
        """Let nobody in any more; who is in may finish."""
        self.closed.set()

    def enter(self, deadline: Deadline) -> "Ticket":
        """A place, at once.

        Raises:
            Overloaded: there is none, or it would be too late when its turn came.
            ModelNotReady: the gateway is about to end.
        """
        ticket = Ticket(self, deadline)
        ticket.take_place()
        return ticket

    def take_place(self, deadline: Deadline) -> None:
        """See `enter`."""
        if self.closed.is_set():
            self._metrics.rejected(Rejection.ENDING)
            raise ModelNotReady(ENDING, retry_after_s=1.0)
        held = self._in_flight + self._queued
        if self.is_full:
            self._metrics.rejected(Rejection.QUEUE_FULL)
            raise Overloaded(f"{held} requests are under way already: ask again later", retry_after_s=self._retry_s())
        wait_s = self._wait_s(held)
        if wait_s and wait_s + self._service_s > deadline.left_s():
            self._metrics.rejected(Rejection.TOO_LATE)
            raise Overloaded(
                f"an answer would take {wait_s + self._service_s:.2g} s now, longer than the request has: "
                "ask again later, or give it more time",
                retry_after_s=self._retry_s(),
            )
        self._queued += 1

    def give_place(self) -> None:
        """The counterpart of `take_place`."""
        self._queued -= 1

    async def begin(self, weight: int, deadline: Deadline) -> float:
        """Turn a place into work on ``weight`` pictures, when it is its turn; gives the time when it began.

        Raises:
            DeadlineExceeded: the time was up before.
        """
        whole = self._clock()
        if self._waiting or self._in_flight >= self._max_in_flight:
            async with deadline.enforced():
                await self._turn(weight)
        else:
            self._start(weight)
        began = self._clock()
        self._metrics.queue_seconds.observe(began - whole)
        return began

    def end(self, weight: int, began: float) -> None:
        """Work that began at ``began`` is done; the next may begin."""
        service_s = self._clock() - began
        self._service_s += (service_s - self._service_s) * (_RECENT if self._service_s else 1.0)
        self._free(weight)

    async def _turn(self, weight: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = weight
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # its turn had come in the same moment
                self._free(weight)
                self._queued += 1
            self._waiting.pop(turn, None)
            raise

    def _free(self, weight: int) -> None:
        self._in_flight -= weight
        while self._waiting and self._in_flight < self._max_in_flight:
            turn = next(iter(self._waiting))
            weight = self._waiting.pop(turn)
            if not turn.cancelled():
                turn.set_result(None)
                self._start(weight)

    def _start(self, weight: int) -> None:
        self._queued -= 1
        self._in_flight += weight

    def _wait_s(self, held: int) -> float:
        """How long who comes now waits for its turn, by what work took lately."""
        return max(0, held - self._max_in_flight + 1) * self._service_s / self._max_in_flight

    def _retry_s(self) -> float:
        """When those who are in now will have left."""
        return max(_SHORTEST_RETRY_S, self._max_held * self._service_s / self._max_in_flight)


class Ticket:
    """One request's way through: a place, then work, then out."""

    def __init__(self, admission: Admission, deadline: Deadline) -> None:
        self.deadline = deadline
        self._admission = admission
        self._placed = False
        self._weight = 0
        self._began = 0.0

    def take_place(self) -> None:
        """See `Admission.enter`; also for one that has stepped aside."""
        if not self._placed:
            self._admission.take_place(self.deadline)
            self._placed = True

    @contextmanager
    def while_it_comes(self) -> Iterator[None]:
        """Around what reads a body or a message: one that does not come promptly keeps no place meanwhile."""
        aside = asyncio.get_running_loop().call_later(_PROMPT_S, self.step_aside)
        try:
            yield
        finally:
            aside.cancel()

    def step_aside(self) -> None:
        """Give the place back."""
        if self._placed:
            self._placed = False
            self._admission.give_place()

    async def begin(self, pictures: int = 1) -> None:
        """Wait for the turn of ``pictures`` that are whole, no longer than the request has.

        Raises:
            Overloaded: it had stepped aside, and there is no place any more.
            DeadlineExceeded: its time is up.
        """
        self.take_place()
        self._began = await self._admission.begin(pictures, self.deadline)
        self._placed, self._weight = False, pictures

    def leave(self) -> None:
        """The request is over, however it ended."""
        if self._weight:
            self._admission.end(self._weight, self._began)
            self._weight = 0
        self.step_aside()


class BodyBytes:
    """The bytes that all bodies together hold.

    Args:
        most: how many.
        metrics: where refusals are counted.
    """

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most = most
        self._metrics = metrics
        self._held = 0
        metrics.body_bytes.set_function(lambda: self._held)

    def hold(self, size: int) -> None:
        """Count ``size`` bytes more.

        Raises:
            Overloaded: they are too many.
        """
        if self._held + size > self._most:
            self._metrics.rejected(Rejection.BODY_BYTES)
            raise Overloaded("bodies of other requests fill the memory set aside for them", retry_after_s=1.0)
        self._held += size

    def release(self, size: int) -> None:
        """The counterpart of `hold`."""
        self._held -= size
