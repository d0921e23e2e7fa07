"""Connections of the HTTP server: how many, how long a head may take, and what is done for what nobody reads.

uvicorn's protocol has no limit on the time of a head, reads on for ever what comes after an early answer, and makes a
task of every request.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

GUEST_KEY: Final = "affect.guest"
"""In a request's scope: its connection is one more than are allowed."""

_GUESTS: Final = 100
"""Connections beyond the limit that may still ask whether the gateway lives; any more are dropped."""
_GUEST_TIMEOUT_S: Final = 1.0
_EARLY_ANSWERS: Final = 32
"""Answers that one read may bring about before others get their turn."""
_LINGER_S: Final = 5.0
_LINGER_BYTES: Final = 16 * 2**20
"""What is read and thrown away after an early answer, so that the sender gets to read it before the line is cut."""
_LAST_WORDS_S: Final = 0.3
"""When the gateway ends, an idle connection is kept this long, for a request that is on its way already."""


Refusal = Callable[[Scope], Response | None]
"""Gives the answer to a request that is refused before there is a task for it."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `limits` makes the class for a server."""

    max_connections: int
    head_timeout_s: float
    refusal: Refusal

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the head of a first request has to come in time."""
        super().connection_made(transport)
        self._guest = len(self.connections) > self.max_connections
        self._cut: asyncio.TimerHandle | None = None
        self._thrown_away = 0
        self._early_answers = 0
        self._running: RequestResponseCycle | None = None
        if len(self.connections) > self.max_connections + _GUESTS:
            transport.abort()
            return
        self._cut_in(_GUEST_TIMEOUT_S if self._guest else self.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; uvicorn tells the request that came last, not the one that is worked on."""
        self._keep()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes; those that begin no request leave the connection idle, and uvicorn's timer of that off."""
        self._early_answers = 0
        super().data_received(data)
        idle = self.cycle is not None and self.cycle.response_complete
        if idle and self._cut is None and self.timeout_keep_alive_task is None:
            self._cut_in(self.head_timeout_s)

    def on_message_begin(self) -> None:
        """A head has begun."""
        super().on_message_begin()
        if self._guest:
            self.scope[GUEST_KEY] = True  # type: ignore[typeddict-unknown-key]
        if self._cut is None:
            self._cut_in(self.head_timeout_s)

    def on_headers_complete(self) -> None:
        """The head is whole: the rest is timed by whoever reads it."""
        self._keep()
        super().on_headers_complete()
        if self._guest:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        if self.transport.is_closing():  # an answer before it was the last one
            return
        self._unset_keepalive_if_required()
        self._running = cycle
        response = self._refused(cycle.scope)  # type: ignore[arg-type]
        if response is None:
            super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]
        else:
            self._answer(cycle, response)

    def _refused(self, scope: Scope) -> Response | None:
        """Unless its sender does not read, or has had its share of this moment: then it waits as any request does."""
        if self.flow.write_paused or self._early_answers >= _EARLY_ANSWERS:
            return None
        response = type(self).refusal(scope)
        self._early_answers += response is not None
        return response

    def _answer(self, cycle: RequestResponseCycle, response: Response) -> None:
        """Send a whole answer at once; what uvicorn's cycle notes of one, it notes here."""
        headers = [*cycle.default_headers, *response.raw_headers]
        closes = any(name == b"connection" for name, _ in headers)
        cycle.keep_alive = cycle.keep_alive and not closes
        if not cycle.keep_alive and not closes:
            headers.append((b"connection", b"close"))
        lines = (piece for name, value in headers for piece in (name, b": ", value, b"\r\n"))
        self.transport.write(b"".join((STATUS_LINE[response.status_code], *lines, b"\r\n", response.body)))
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        if not cycle.keep_alive:
            self.transport.close()
        done, cycle.on_response = cycle.on_response, _nothing  # a cycle that knows its connection outlives both
        if self.pipeline:  # each would begin the next from within
            self.loop.call_soon(done)
        else:
            done()

    def on_body(self, body: bytes) -> None:
        """A piece of a body, which nobody reads any more where the answer is out already."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._thrown_away += len(body)
            if self._thrown_away > _LINGER_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        """All of a request is there."""
        super().on_message_complete()
        if self.cycle.response_complete:
            self._keep()
            self._thrown_away = 0

    def on_response_complete(self) -> None:
        """An answer is out, perhaps before the body was in."""
        super().on_response_complete()
        if self.pipeline:  # enough is there to go on with
            self.flow.pause_reading()
        if self.cycle.response_complete and self.cycle.more_body and self._cut is None:
            self._cut_in(_LINGER_S)

    def shutdown(self) -> None:
        """The gateway takes nothing new."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_LAST_WORDS_S, self._close_if_idle)
        else:
            super().shutdown()

    def _close_if_idle(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _cut_in(self, seconds: float) -> None:
        self._cut = self.loop.call_later(seconds, self._close)

    def _keep(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None

    def _close(self) -> None:
        self._cut = None
        if not self.transport.is_closing():
            self.transport.close()


def _nothing() -> None:
    pass


def limits(max_connections: int, head_timeout_s: float, refusal: Refusal) -> type[LimitedProtocol]:
    """The class of a server's connections, which uvicorn makes without arguments of ours."""
    members: dict[str, Any] = {
        "max_connections": max_connections, "head_timeout_s": head_timeout_s, "refusal": staticmethod(refusal)
    }  # fmt: skip
    return type("Connection", (LimitedProtocol,), members)
