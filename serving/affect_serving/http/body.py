"""The body of a request on its way: timed as a whole, counted against the memory of all, and aside while it is slow."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from starlette.types import Message, Receive

from affect_contract.errors import InvalidRequest, RequestTimeout, TooLarge
from affect_serving.core.admission import Ticket
from affect_serving.core.request_services import Entrance
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics, Rejection

Result = TypeVar("Result")

_INLINE_BYTES: Final = 64 * 2**10
"""Smaller bodies are parsed at once: handing them to a thread costs more."""


class Body:
    """One request's.

    Args:
        receive: ASGI's.
        limit: the most bytes that it may have.
        ticket: of the request.
        entrance: with what all bodies may hold, and the thread that parses them.
        settings: with the time that it may take.
        metrics: where refusals are counted.
    """

    def __init__(
        self,
        receive: Receive,
        limit: int,
        ticket: Ticket,
        entrance: Entrance,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._ticket = ticket
        self._body_bytes = entrance.body_bytes
        self._parser = entrance.parser
        self._settings = settings
        self._metrics = metrics
        self._held = 0

    async def parsed(self, parse: Callable[[bytes], Result]) -> Result:
        """What ``parse`` makes of all of it; on a thread, where that may take long.

        Raises:
            AffectError: as `read`, or as ``parse`` does.
        """
        whole = await self.read()
        if len(whole) <= _INLINE_BYTES:
            return parse(whole)
        return await asyncio.get_running_loop().run_in_executor(self._parser, parse, whole)

    async def read(self) -> bytes:
        """All of it.

        Raises:
            RequestTimeout: it does not come in time.
            TooLarge: it is larger than it may be; known as soon as more has come.
            Overloaded: there is no memory for it.
            InvalidRequest: the caller has gone away.
        """
        seconds = self._settings.body_timeout_s
        try:
            async with asyncio.timeout(seconds):
                with self._ticket.while_it_comes():
                    return await self._pieces()
        except TimeoutError as exc:
            self._metrics.rejected(Rejection.BODY_TIMEOUT)
            raise RequestTimeout(f"the body was not there after {seconds:g} s: send it faster") from exc

    def release(self) -> None:
        """The request is over."""
        self._body_bytes.release(self._held)

    async def _pieces(self) -> bytes:
        pieces, more = [], True
        while more:
            message = await self._receive()
            pieces.append(self._taken(message))
            more = message.get("more_body", False)
        return b"".join(pieces)

    def _taken(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the connection ended before the whole body came: send it again")
        piece: bytes = message.get("body", b"")
        if self._held + len(piece) > self._limit:
            raise too_large(self._held + len(piece), self._settings.max_image_bytes)
        self._body_bytes.hold(len(piece))
        self._held += len(piece)
        return piece


def too_large(size: int, max_bytes: int) -> TooLarge:
    """What is said of a body of ``size`` bytes."""
    return TooLarge(f"the body of {size:,} bytes or more is too large: a picture may have {max_bytes:,} bytes")
