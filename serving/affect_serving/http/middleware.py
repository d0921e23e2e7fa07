"""What every HTTP request gets, whatever its route: an id, its metrics, safe headers, and a last net under it."""

import asyncio
import logging
import time
from typing import Final, Protocol

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from affect_contract.errors import AffectError, Internal, ModelNotReady
from affect_contract.headers import REQUEST_ID_HEADER
from affect_serving.core.request_services import Entrance
from affect_serving.http.errors import CODE_KEY, INTERNAL_DETAIL, problem_response
from affect_serving.telemetry.metrics import Metrics
from affect_serving.telemetry.request_context import RequestContext, current_request
from affect_serving.telemetry.request_ids import request_id
from affect_serving.telemetry.trace_context import TRACEPARENT, TRACESTATE, trace_context

REQUEST_ID_KEY: Final = "affect.request_id"
ROUTE_KEY: Final = "affect.route"
"""Where a request's scope keeps its route, if it was refused before one was looked for."""
KEY_NAME_KEY: Final = "affect.key_name"
"""Where a request's scope keeps the name of the caller's key."""

_NO_ROUTE: Final = "none"
_SERVER_FAULT: Final = 500
_REQUEST_ID: Final = REQUEST_ID_HEADER.lower().encode()
_TRACEPARENT: Final = TRACEPARENT.encode()
_TRACESTATE: Final = TRACESTATE.encode()
_CLOSE: Final = (b"connection", b"close")
_CSP: Final = b"content-security-policy"
_SAFE_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_NO_CONTENT: Final = (_CSP, b"default-src 'none'; frame-ancestors 'none'")
"""For all that is no page."""
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")

_log = logging.getLogger(__name__)


class Gate(Protocol):
    """What stands behind this layer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or raise why not."""

    def refusal(self, scope: Scope) -> AffectError | None:
        """Why a request is refused, where that is sure before there is a task for it."""


class RequestMiddleware:
    """The outermost layer: whatever is raised inside is answered here."""

    def __init__(self, app: Gate, metrics: Metrics, entrance: Entrance, *, tls: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._drain = entrance.drain
        self._access_log = entrance.access_log
        self._headers = (*_SAFE_HEADERS, _HSTS) if tls else _SAFE_HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; anything but HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own_id = _named(scope)
        answer = _Answer(send, self._headers_of(own_id))
        started = time.perf_counter()
        try:
            await self._answered(scope, receive, answer)
        finally:
            self._record(scope, answer.status, time.perf_counter() - started)

    def refusal(self, scope: Scope) -> Response | None:
        """The whole answer to a request that is refused before anything is done for it; None leaves it to a call.

        Under overload these are most requests, and layers and tasks would cost what the accepted ones need.
        """
        started = time.perf_counter()
        try:
            error = self._app.refusal(scope)
        except Exception:  # a call meets it too, where it is logged and answered
            return None
        if error is None:
            return None
        before = current_request.get()
        own_id = _named(scope)
        scope[CODE_KEY] = error.code
        response = problem_response(error, own_id)
        response.raw_headers += [*self._headers_of(own_id), _NO_CONTENT]
        self._record(scope, response.status_code, time.perf_counter() - started)
        current_request.set(before)
        return response

    def _headers_of(self, own_id: str) -> list[tuple[bytes, bytes]]:
        return [(_REQUEST_ID, own_id.encode()), *self._headers, *([_CLOSE] if self._drain.begun else [])]

    async def _answered(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        error: AffectError
        try:
            await self._app(scope, receive, answer)
        except asyncio.CancelledError:
            if answer.is_half_out:
                raise
            error = ModelNotReady("the gateway ended before there was an answer: ask another", retry_after_s=1.0)
        except AffectError as exc:
            if answer.is_half_out:
                raise
            error = exc
        except Exception:
            _log.exception("request %s failed", scope[REQUEST_ID_KEY])
            if answer.is_half_out:
                raise  # let the server break the connection
            error = Internal(INTERNAL_DETAIL)
        else:
            return
        if not answer.status:
            scope[CODE_KEY] = error.code
            await problem_response(error, scope[REQUEST_ID_KEY])(scope, receive, answer)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's own path: a stranger's paths would each make a series of their own.
        route = str(scope.get(ROUTE_KEY) or getattr(scope.get("route"), "path", _NO_ROUTE))
        code = scope.get(CODE_KEY, "")
        self._metrics.answered(route, str(status), code, seconds)
        # Not ready is an answer, which probes ask for every second, and no fault.
        failed = code != "" and status >= _SERVER_FAULT
        self._access_log.record(route, str(status), code, seconds, scope.get(KEY_NAME_KEY, ""), failed=failed)


def _named(scope: Scope) -> str:
    """The id that a request gets, here and for all that is done for it."""
    headers = dict(scope["headers"])
    own_id = request_id(headers.get(_REQUEST_ID, b"").decode("latin-1"))
    trace = trace_context(
        headers.get(_TRACEPARENT, b"").decode("latin-1"), headers.get(_TRACESTATE, b"").decode("latin-1")
    )
    scope[REQUEST_ID_KEY] = own_id
    current_request.set(RequestContext(own_id, trace))
    return own_id


class _Answer:
    """Sends an answer with the headers that all have, and knows how far it is."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self.status = 0
        self._complete = False

    @property
    def is_half_out(self) -> bool:
        """Whether it has begun and not ended."""
        return self.status != 0 and not self._complete

    async def __call__(self, message: Message) -> None:
        """Send a piece."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = list(message.get("headers", ()))
            page = any(name == _CSP for name, _ in given)
            message["headers"] = [*given, *self._headers] if page else [*given, *self._headers, _NO_CONTENT]
        await self._send(message)
        self._complete = message["type"] == "http.response.body" and not message.get("more_body", False)
