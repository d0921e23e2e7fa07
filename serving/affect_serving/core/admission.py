"""The gateway's admission control: one limit on work in flight and one short queue, shared by HTTP and gRPC.

A request is admitted or refused as soon as its head has arrived, before any of its body is read. It holds a place in
the queue until its work begins, and work begins in the order in which bodies are complete. A request whose body
arrives slowly gives its place back and takes another once the body is complete, so that slow senders block nobody.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from affect_contract.errors import ModelNotReady, Overloaded
from affect_serving.core.deadline import Deadline
from affect_serving.telemetry.metrics import Metrics, Rejection

_NEWEST_WEIGHT: Final = 0.1
"""Weight of the newest service time in the moving average of service times."""
_PROMPT_S: Final = 0.25
"""Time after which a request whose body is still incomplete gives its place in the queue back, in seconds."""
_SHORTEST_RETRY_S: Final = 0.1
SHUTTING_DOWN: Final = "the gateway is shutting down: try again, and another one answers"


class Admission:
    """Admits requests while there is room: for ``max_in_flight`` pictures in work and ``max_queued`` requests waiting.

    Args:
        max_in_flight: pictures in work at the same time; a batch may exceed it, and others then wait until it is done.
        max_queued: requests that may wait in addition to those in work.
        metrics: counts refusals and times waits.
        clock: returns a monotonic time in seconds.
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
        self._waiting: dict[asyncio.Future[None], int] = {}  # weight of each, in order
        self.closed = asyncio.Event()
        """Set once no request is admitted any more."""
        metrics.in_flight.set_function(lambda: self._in_flight)
        metrics.queued.set_function(lambda: self._queued)

    @property
    def is_full(self) -> bool:
        """Whether every place is taken, so that the next request is refused."""
        return self._in_flight + self._queued >= self._max_held

    def close(self) -> None:
        """Refuse all further requests; those already admitted may finish."""
        self.closed.set()

    def enter(self, deadline: Deadline) -> "Ticket":
        """Admit a request, and return the ticket that holds its place.

        Raises:
            Overloaded: there is no place, or the request's deadline would have passed by its turn.
            ModelNotReady: the gateway is shutting down.
        """
        ticket = Ticket(self, deadline)
        ticket.take_place()
        return ticket

    def take_place(self, deadline: Deadline) -> None:
        """Take a place in the queue, under the conditions of `enter`."""
        if self.closed.is_set():
            self._metrics.rejected(Rejection.ENDING)
            raise ModelNotReady(SHUTTING_DOWN, retry_after_s=1.0)
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
        """Return a place to the queue; the counterpart of `take_place`."""
        self._queued -= 1

    async def begin(self, weight: int, deadline: Deadline) -> float:
        """Wait for the turn of a request with ``weight`` pictures, and exchange its place for work.

        Returns:
            The clock's time when the work began, in seconds.

        Raises:
            DeadlineExceeded: the deadline passed first.
        """
        queued = self._clock()
        if self._waiting or self._in_flight >= self._max_in_flight:
            async with deadline.enforced():
                await self._wait_for_turn(weight)
        else:
            self._start(weight)
        began = self._clock()
        self._metrics.queue_seconds.observe(began - queued)
        return began

    def end(self, weight: int, began: float) -> None:
        """End work of ``weight`` pictures that began at ``began``, so that waiting requests may begin."""
        service_s = self._clock() - began
        self._service_s += (service_s - self._service_s) * (_NEWEST_WEIGHT if self._service_s else 1.0)
        self._free(weight)

    async def _wait_for_turn(self, weight: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = weight
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn came at the same moment as the cancellation
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
        """Estimate how long a request that comes now waits for its turn, in seconds, from recent service times."""
        return max(0, held - self._max_in_flight + 1) * self._service_s / self._max_in_flight

    def _retry_s(self) -> float:
        """Estimate when the requests admitted so far will be done, in seconds from now."""
        return max(_SHORTEST_RETRY_S, self._max_held * self._service_s / self._max_in_flight)


class Ticket:
    """The admission of one request: it holds a place in the queue, then work in flight, then nothing."""

    def __init__(self, admission: Admission, deadline: Deadline) -> None:
        self.deadline = deadline
        self._admission = admission
        self._has_place = False
        self._weight = 0
        self._began = 0.0

    def take_place(self) -> None:
        """Take a place in the queue unless the ticket holds one, under the conditions of `Admission.enter`."""
        if not self._has_place:
            self._admission.take_place(self.deadline)
            self._has_place = True

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Give the place back if the body or message that is read inside does not arrive promptly."""
        timer = asyncio.get_running_loop().call_later(_PROMPT_S, self.give_place)
        try:
            yield
        finally:
            timer.cancel()

    def give_place(self) -> None:
        """Give the place in the queue back, if the ticket holds one."""
        if self._has_place:
            self._has_place = False
            self._admission.give_place()

    async def begin(self, pictures: int = 1) -> None:
        """Wait for the turn to work on this many ``pictures``, at most until the deadline.

        Raises:
            Overloaded: the ticket had given its place back, and there is no other.
            DeadlineExceeded: the deadline passed first.
        """
        self.take_place()
        self._began = await self._admission.begin(pictures, self.deadline)
        self._has_place, self._weight = False, pictures

    def leave(self) -> None:
        """Release whatever the ticket holds: the request is over, however it ended."""
        if self._weight:
            self._admission.end(self._weight, self._began)
            self._weight = 0
        self.give_place()


class BodyBytes:
    """Limits the memory that the bodies of all requests may take together.

    Args:
        limit: the most bytes that they may take.
        metrics: counts refusals.
    """

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._metrics = metrics
        self._held = 0
        metrics.body_bytes.set_function(lambda: self._held)

    def hold(self, size: int) -> None:
        """Reserve ``size`` bytes more.

        Raises:
            Overloaded: that would exceed the limit.
        """
        if self._held + size > self._limit:
            self._metrics.rejected(Rejection.BODY_BYTES)
            raise Overloaded("bodies of other requests fill the memory set aside for them", retry_after_s=1.0)
        self._held += size

    def release(self, size: int) -> None:
        """Free ``size`` bytes that were reserved with `hold`."""
        self._held -= size
