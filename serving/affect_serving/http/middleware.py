"""The middleware around every HTTP request: its id, its metrics, security headers, and an answer to any exception."""

import asyncio
import logging
import time
from typing import Final, Protocol

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from affect_contract.errors import AffectError, Internal, ModelNotReady
from affect_contract.headers import REQUEST_ID_HEADER
from affect_serving.core.drain import GIVEN_UP
from affect_serving.core.errors import INTERNAL_DETAIL
from affect_serving.core.request_services import RequestServices
from affect_serving.http.errors import CODE_KEY, problem_response
from affect_serving.telemetry.metrics import Metrics
from affect_serving.telemetry.request_context import RequestContext, current_request
from affect_serving.telemetry.request_ids import request_id
from affect_serving.telemetry.trace_context import TRACEPARENT, TRACESTATE, trace_context

REQUEST_ID_KEY: Final = "affect.request_id"
"""The key in a request's ASGI scope for its id."""
ROUTE_KEY: Final = "affect.route"
"""The key in a request's ASGI scope for its route, where the request did not go through FastAPI's router."""
KEY_NAME_KEY: Final = "affect.key_name"
"""The key in a request's ASGI scope for the name of the caller's API key."""

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
"""The content security policy of every response that is not a page."""
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")

_log = logging.getLogger(__name__)


class Gate(Protocol):
    """The application that the middleware wraps."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or raise the error that refuses it."""

    def refusal(self, scope: Scope) -> AffectError | None:
        """Return the error for a request that can be refused at once, None if it is to be served as usual."""


class RequestMiddleware:
    """Gives every request an id and security headers, counts and logs it, and answers every exception raised inside.

    Args:
        app: the application to wrap.
        metrics: counts and times requests.
        services: has the access log and the state of the shutdown.
        tls: whether the server speaks TLS, which adds a header.
    """

    def __init__(self, app: Gate, metrics: Metrics, services: RequestServices, *, tls: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._drain = services.drain
        self._access_log = services.access_log
        self._headers = (*_SAFE_HEADERS, _HSTS) if tls else _SAFE_HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; connections of other types are passed on unchanged."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own_id = _identify(scope)
        sender = _ResponseSender(send, self._headers_for(own_id))
        started = time.perf_counter()
        try:
            await self._serve(scope, receive, sender)
        finally:
            self._record(scope, sender.status, time.perf_counter() - started)

    def refusal(self, scope: Scope) -> Response | None:
        """Return the response to a request that can be refused at once, None if it is to be served as usual.

        Under overload most requests are refused, and serving them as usual would take time from the accepted ones.
        """
        started = time.perf_counter()
        try:
            error = self._app.refusal(scope)
        except Exception:  # it happens again when the request is served, and is logged and answered there
            return None
        if error is None:
            return None
        before = current_request.get()
        own_id = _identify(scope)
        scope[CODE_KEY] = error.code
        response = problem_response(error, own_id)
        response.raw_headers += [*self._headers_for(own_id), _NO_CONTENT]
        self._record(scope, response.status_code, time.perf_counter() - started)
        current_request.set(before)
        return response

    def _headers_for(self, own_id: str) -> list[tuple[bytes, bytes]]:
        return [(_REQUEST_ID, own_id.encode()), *self._headers, *([_CLOSE] if self._drain.begun else [])]

    async def _serve(self, scope: Scope, receive: Receive, sender: "_ResponseSender") -> None:
        """Serve a request; an exception is answered, or raised again if part of the response has been sent."""
        error: AffectError
        try:
            await self._app(scope, receive, sender)
        except asyncio.CancelledError:
            if sender.is_partly_sent:
                raise
            error = ModelNotReady(GIVEN_UP, retry_after_s=1.0)
        except AffectError as exc:
            if sender.is_partly_sent:
                raise
            error = exc
        except Exception:
            _log.exception("request %s failed", scope[REQUEST_ID_KEY])
            if sender.is_partly_sent:
                raise  # uvicorn closes the connection
            error = Internal(INTERNAL_DETAIL)
        else:
            return
        if not sender.status:
            scope[CODE_KEY] = error.code
            await problem_response(error, scope[REQUEST_ID_KEY])(scope, receive, sender)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        # The route as declared, never the path as sent: every unknown path would create a series of its own.
        route = str(scope.get(ROUTE_KEY) or getattr(scope.get("route"), "path", _NO_ROUTE))
        code = scope.get(CODE_KEY, "")
        self._metrics.answered(route, str(status), code, seconds)
        # A 503 of /readyz has no error code: it answers a probe, and is no failure to log every second.
        failed = code != "" and status >= _SERVER_FAULT
        self._access_log.record(route, str(status), code, seconds, scope.get(KEY_NAME_KEY, ""), failed=failed)


def _identify(scope: Scope) -> str:
    """Give a request its id, store it with the trace in scope and context, and return it."""
    headers = dict(scope["headers"])
    own_id = request_id(headers.get(_REQUEST_ID, b"").decode("latin-1"))
    trace = trace_context(
        headers.get(_TRACEPARENT, b"").decode("latin-1"), headers.get(_TRACESTATE, b"").decode("latin-1")
    )
    scope[REQUEST_ID_KEY] = own_id
    current_request.set(RequestContext(own_id, trace))
    return own_id


class _ResponseSender:
    """Sends a response with the headers that every response has, and keeps track of how much has been sent."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self.status = 0
        self._complete = False

    @property
    def is_partly_sent(self) -> bool:
        """Whether the response has been begun but not completed."""
        return self.status != 0 and not self._complete

    async def __call__(self, message: Message) -> None:
        """Send an ASGI message of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = list(message.get("headers", ()))
            page = any(name == _CSP for name, _ in given)
            message["headers"] = [*given, *self._headers] if page else [*given, *self._headers, _NO_CONTENT]
        await self._send(message)
        self._complete = message["type"] == "http.response.body" and not message.get("more_body", False)
