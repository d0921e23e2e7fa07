"""Decided for HTTP before a byte of a body is read: keys, the size declared, admission; and the time of the body."""

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affect_contract.errors import Overloaded, RequestTimeout
from affect_contract.headers import TIMEOUT_HEADER
from affect_serving.admission import BodyBytes, Ticket
from affect_serving.choice import deadline
from affect_serving.entrance import Entrance
from affect_serving.http_connections import GUEST_KEY
from affect_serving.intake import BATCH_PATH, PICTURE_PATH, body_limit, too_large
from affect_serving.metrics import Metrics, Rejection
from affect_serving.problems import CODE_KEY
from affect_serving.requests import KEY_NAME_KEY, ROUTE_KEY
from affect_serving.settings import Settings

MODELS_PATH: Final = "/models"

_TICKET_KEY: Final = "affect.ticket"
_PROMPT_S: Final = 0.25
"""A body that takes longer gives its place in the queue back until it is whole, in seconds."""
_OPEN: Final = frozenset(("/", "/livez", "/readyz", "/metrics"))
"""What is answered on connections beyond the limit too."""


class HttpGate:
    """Lets a request through to its route, or raises why not."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, entrance: Entrance) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._entrance = entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"]
        if scope.get(GUEST_KEY) and path not in _OPEN:
            self._metrics.rejected(Rejection.CONNECTIONS)
            raise Overloaded("too many connections are open: ask again later, on one that you keep", retry_after_s=1.0)
        if scope["method"] == "POST" and path in (PICTURE_PATH, BATCH_PATH):
            await self._predict(scope, receive, send)
            return
        if path == MODELS_PATH:
            self._check_key(scope, Headers(scope=scope))
        await self._app(scope, receive, send)

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE_KEY] = scope["path"]
        with self._entrance.tracing.request(scope["path"]) as span:
            await self._admitted(scope, receive, send)
            span.failed(scope.get(CODE_KEY, ""))

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._check_key(scope, headers)
        self._check_size(scope["path"], headers)
        ticket = self._entrance.admission.enter(deadline(headers.get(TIMEOUT_HEADER), self._settings.deadline_ms))
        scope[_TICKET_KEY] = ticket
        body = _Body(receive, ticket, self._entrance.body_bytes, self._settings.body_timeout_s, self._metrics)
        try:
            await self._app(scope, body.receive, send)
        finally:
            body.release()
            ticket.leave()

    def _check_key(self, scope: Scope, headers: Mapping[str, str]) -> None:
        scope[KEY_NAME_KEY] = self._entrance.keys.check(headers.get("authorization", ""))

    def _check_size(self, path: str, headers: Mapping[str, str]) -> None:
        declared = headers.get("content-length", "")
        limit = body_limit(path, headers.get("content-type", ""), self._settings)
        if declared.isdecimal() and int(declared) > limit:
            self._metrics.rejected(Rejection.TOO_LARGE)
            raise too_large(int(declared), self._settings.max_image_bytes)


def ticket_of(request: Request) -> Ticket:
    """The ticket of a prediction that was let through."""
    ticket: Ticket = request.scope[_TICKET_KEY]
    return ticket


class _Body:
    """A body on its way: timed as a whole, counted against the memory of all, and aside while it is slow."""

    def __init__(
        self, receive: Receive, ticket: Ticket, body_bytes: BodyBytes, timeout_s: float, metrics: Metrics
    ) -> None:
        self._receive = receive
        self._ticket = ticket
        self._body_bytes = body_bytes
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._ends = self._loop.time() + timeout_s
        self._aside: asyncio.TimerHandle | None = None
        self._held = 0
        self._whole = False

    async def receive(self) -> Message:
        """The next piece.

        Raises:
            RequestTimeout: the whole does not come in time.
            Overloaded: there is no memory for it.
        """
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._ends):
                message = await self._receive()
        except TimeoutError as exc:
            self._metrics.rejected(Rejection.BODY_TIMEOUT)
            raise RequestTimeout(f"the body was not there after {self._timeout_s:g} s: send it faster") from exc
        self._count(len(message.get("body", b"")))
        if not message.get("more_body", False):
            self._whole = True
            self._stop_timer()
        elif self._aside is None:
            self._aside = self._loop.call_later(_PROMPT_S, self._ticket.step_aside)
        return message

    def release(self) -> None:
        """The request is over."""
        self._stop_timer()
        self._body_bytes.release(self._held)

    def _count(self, size: int) -> None:
        self._body_bytes.hold(size)
        self._held += size

    def _stop_timer(self) -> None:
        if self._aside:
            self._aside.cancel()
