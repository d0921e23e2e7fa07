"""The HTTP server's connections: limits on their number, on the time of a head, and on what is read after an answer.

uvicorn's own protocol waits for a head without limit, keeps reading a body whose request has been answered already, and
creates a task for every request, even one that can be refused at once.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

EXCESS_KEY: Final = "affect.excess_connection"
"""The key in a request's ASGI scope that is set if its connection exceeds the limit."""

_MAX_EXCESS: Final = 100
"""Connections beyond the limit that may still ask for the gateway's state; any more are dropped."""
_EXCESS_TIMEOUT_S: Final = 1.0
_MAX_REFUSALS: Final = 32
"""Pipelined requests of one read that are refused without a task; further ones wait for their turn."""
_LINGER_S: Final = 5.0
_LINGER_BYTES: Final = 16 * 2**20
"""Bytes of a body that are read and discarded after an early answer, so that the sender can read that answer before
the connection is closed."""
_IDLE_GRACE_S: Final = 0.3
"""Time that an idle connection stays open when the server stops, for a request that is on its way, in seconds."""


Refusal = Callable[[Scope], Response | None]
"""Returns the response to a request that is refused without a task, None if the request is to be served as usual."""


class LimitedProtocol(HttpToolsProtocol):
    """The server's side of one connection; `connection_class` makes the subclass for a server.

    The methods without an underscore are callbacks of asyncio, of the HTTP parser and of uvicorn.
    """

    max_connections: int
    head_timeout_s: float
    refusal: Refusal

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit for the first request's head; drop the connection if there are far too many."""
        super().connection_made(transport)
        self._is_excess = len(self.connections) > self.max_connections
        self._close_timer: asyncio.TimerHandle | None = None
        self._discarded_bytes = 0
        self._refusals = 0
        self._running: RequestResponseCycle | None = None
        if len(self.connections) > self.max_connections + _MAX_EXCESS:
            transport.abort()
            return
        self._close_after(_EXCESS_TIMEOUT_S if self._is_excess else self.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the request that is running; uvicorn notifies only the one that came last."""
        self._cancel_close()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes; if they begin no request, start a time limit, since uvicorn has stopped its own timer."""
        self._refusals = 0
        super().data_received(data)
        idle = self.cycle is not None and self.cycle.response_complete
        if idle and self._close_timer is None and self.timeout_keep_alive_task is None:
            self._close_after(self.head_timeout_s)

    def on_message_begin(self) -> None:
        """Start the time limit for a head that has begun."""
        super().on_message_begin()
        if self._is_excess:
            self.scope[EXCESS_KEY] = True  # type: ignore[typeddict-unknown-key]
        if self._close_timer is None:
            self._close_after(self.head_timeout_s)

    def on_headers_complete(self) -> None:
        """End the time limit for the head; whoever reads the body has a time limit for it."""
        self._cancel_close()
        super().on_headers_complete()
        if self._is_excess:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        if self.transport.is_closing():  # the answer to an earlier request closed the connection
            return
        self._unset_keepalive_if_required()
        self._running = cycle
        response = self._refuse(cycle.scope)  # type: ignore[arg-type]
        if response is None:
            super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]
        else:
            self._send(cycle, response)

    def _refuse(self, scope: Scope) -> Response | None:
        """Return the response to a request that is refused at once, None if it is served as usual.

        A sender that does not read its answers, or that has had many refusals in one read, is served as usual, so that
        it cannot occupy the event loop.
        """
        if self.flow.write_paused or self._refusals >= _MAX_REFUSALS:
            return None
        response = type(self).refusal(scope)
        self._refusals += response is not None
        return response

    def _send(self, cycle: RequestResponseCycle, response: Response) -> None:
        """Send a whole response at once, and leave the cycle as uvicorn would after sending it."""
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
        done, cycle.on_response = cycle.on_response, _nothing  # breaks a reference cycle that would keep both in memory
        if self.pipeline:  # a call here would answer pipelined requests recursively
            self.loop.call_soon(done)
        else:
            done()

    def on_body(self, body: bytes) -> None:
        """Count a piece of a body whose request has been answered already, and close the connection after too many."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > _LINGER_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        """Keep the connection open if the request was answered before its body was complete."""
        super().on_message_complete()
        if self.cycle.response_complete:
            self._cancel_close()
            self._discarded_bytes = 0

    def on_response_complete(self) -> None:
        """Start the time limit for the rest of a body whose request has been answered before it was complete."""
        super().on_response_complete()
        if self.pipeline:  # there are requests to go on with: read no more for now
            self.flow.pause_reading()
        if self.cycle.response_complete and self.cycle.more_body and self._close_timer is None:
            self._close_after(_LINGER_S)

    def shutdown(self) -> None:
        """Close the connection: after a short grace if it is idle, else when its request has been answered."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_IDLE_GRACE_S, self._close_if_idle)
        else:
            super().shutdown()

    def _close_if_idle(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _close_after(self, seconds: float) -> None:
        self._close_timer = self.loop.call_later(seconds, self._close)

    def _cancel_close(self) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None

    def _close(self) -> None:
        self._close_timer = None
        if not self.transport.is_closing():
            self.transport.close()


def _nothing() -> None:
    pass


def connection_class(max_connections: int, head_timeout_s: float, refusal: Refusal) -> type[LimitedProtocol]:
    """Return the class of a server's connections; uvicorn instantiates it without arguments of ours."""
    members: dict[str, Any] = {
        "max_connections": max_connections, "head_timeout_s": head_timeout_s, "refusal": staticmethod(refusal)
    }  # fmt: skip
    return type("Connection", (LimitedProtocol,), members)
