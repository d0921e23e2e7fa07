"""Receiving a request's body: within a time limit, a size limit, and the memory that all bodies share."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from starlette.types import Message, Receive

from affect_contract.errors import InvalidRequest, RequestTimeout, TooLarge
from affect_serving.core.admission import Ticket
from affect_serving.core.request_services import RequestServices
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics, Rejection

Result = TypeVar("Result")

_INLINE_BYTES: Final = 64 * 2**10
"""Bodies up to this size are parsed in the event loop: handing them to a thread would cost more, in bytes."""


class Body:
    """The body of one request, received when it is read.

    Args:
        receive: ASGI's function for the next message.
        limit: the most bytes that the body may have.
        ticket: the request's place, which it gives back while its body is slow.
        services: has the memory that all bodies share, and the thread that parses large ones.
        settings: has the time limit.
        metrics: counts refusals.
    """

    def __init__(
        self,
        receive: Receive,
        limit: int,
        ticket: Ticket,
        services: RequestServices,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._ticket = ticket
        self._body_bytes = services.body_bytes
        self._parser = services.parser
        self._settings = settings
        self._metrics = metrics
        self._held = 0

    async def parsed(self, parse: Callable[[bytes], Result]) -> Result:
        """Read the whole body and return what ``parse`` makes of it; large bodies are parsed in a thread.

        Raises:
            AffectError: an error of `read` or of ``parse``.
        """
        body = await self.read()
        if len(body) <= _INLINE_BYTES:
            return parse(body)
        return await asyncio.get_running_loop().run_in_executor(self._parser, parse, body)

    async def read(self) -> bytes:
        """Read the whole body.

        Raises:
            RequestTimeout: the body was not complete in time.
            TooLarge: the body exceeds its limit; raised as soon as it does.
            Overloaded: the bodies of other requests fill the shared memory.
            InvalidRequest: the caller closed the connection first.
        """
        seconds = self._settings.body_timeout_s
        try:
            async with asyncio.timeout(seconds):
                with self._ticket.receiving():
                    return await self._receive_all()
        except TimeoutError as exc:
            self._metrics.rejected(Rejection.BODY_TIMEOUT)
            raise RequestTimeout(f"the body was not there after {seconds:g} s: send it faster") from exc

    def release(self) -> None:
        """Free the body's share of the memory that all bodies share, once the request is over."""
        self._body_bytes.release(self._held)

    async def _receive_all(self) -> bytes:
        pieces, more = [], True
        while more:
            message = await self._receive()
            pieces.append(self._piece(message))
            more = message.get("more_body", False)
        return b"".join(pieces)

    def _piece(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the connection ended before the whole body came: send it again")
        piece: bytes = message.get("body", b"")
        if self._held + len(piece) > self._limit:
            raise too_large(self._held + len(piece), self._settings.max_image_bytes)
        self._body_bytes.hold(len(piece))
        self._held += len(piece)
        return piece


def too_large(size: int, max_bytes: int) -> TooLarge:
    """Return the error for a body of ``size`` bytes or more."""
    return TooLarge(f"the body of {size:,} bytes or more is too large: a picture may have {max_bytes:,} bytes")
