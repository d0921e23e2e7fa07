"""Decided for HTTP before a byte of a body is read: keys, the size declared, admission."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from affect_contract.errors import AffectError, Overloaded
from affect_contract.headers import TIMEOUT_HEADER
from affect_serving.core.admission import Ticket
from affect_serving.core.request_services import Entrance
from affect_serving.http.body import Body, too_large
from affect_serving.http.connections import GUEST_KEY
from affect_serving.http.middleware import KEY_NAME_KEY, ROUTE_KEY
from affect_serving.http.picture_bodies import body_limit
from affect_serving.http.query_options import deadline
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics, Rejection

MODELS_PATH: Final = "/models"

_ARRIVAL_KEY: Final = "affect.arrival"
_TIMEOUT: Final = TIMEOUT_HEADER.lower().encode()
_OPEN: Final = frozenset(("/", "/livez", "/readyz", "/metrics"))
"""What is answered on connections beyond the limit too."""


Headers = dict[bytes, bytes]
Handler = Callable[[Request], Awaitable[Response]]


class Arrival(NamedTuple):
    """What a handler of predictions needs of a request that was let through."""

    content_type: str
    body: Body
    ticket: Ticket


class HttpGate:
    """Lets requests through, or raises why not: predictions straight to their handlers, everything else to ``app``.

    FastAPI's own way to the same handlers costs 0.1 ms of processor time.
    """

    def __init__(
        self,
        app: ASGIApp,
        predictions: Mapping[str, Handler],
        settings: Settings,
        metrics: Metrics,
        entrance: Entrance,
    ) -> None:
        self._app = app
        self._predictions = predictions
        self._settings = settings
        self._metrics = metrics
        self._entrance = entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"]
        if scope.get(GUEST_KEY) and path not in _OPEN:
            self._metrics.rejected(Rejection.CONNECTIONS)
            raise Overloaded("too many connections are open: ask again later, on one that you keep", retry_after_s=1.0)
        if self._is_prediction(scope):
            await self._predict(scope, receive, send)
            return
        if path == MODELS_PATH:
            self._check_key(scope, dict(scope["headers"]))
        await self._app(scope, receive, send)

    def refusal(self, scope: Scope) -> AffectError | None:
        """Why a prediction is refused, where that is sure before there is a task for it; None leaves it to a call."""
        if not self._entrance.admission.is_full or not self._is_prediction(scope):
            return None
        if scope.get(GUEST_KEY) or self._settings.otlp_endpoint:  # a refusal has a span of its own
            return None
        try:
            _, _, ticket = self._let_in(scope)
        except AffectError as exc:
            return exc
        ticket.leave()
        return None

    def _is_prediction(self, scope: Scope) -> bool:
        return scope["path"] in self._predictions and scope["method"] == "POST"

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        with self._entrance.tracing.request(path):
            content_type, limit, ticket = self._let_in(scope)
            body = Body(receive, limit, ticket, self._entrance, self._settings, self._metrics)
            scope[_ARRIVAL_KEY] = Arrival(content_type, body, ticket)
            try:
                response = await self._predictions[path](Request(scope))
            finally:
                body.release()
                ticket.leave()
        await response(scope, receive, send)

    def _let_in(self, scope: Scope) -> tuple[str, int, Ticket]:
        """The type of a prediction's body, the most bytes that it may have, and its place."""
        path = scope[ROUTE_KEY] = scope["path"]
        headers: Headers = dict(scope["headers"])
        self._check_key(scope, headers)
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        limit = body_limit(path, content_type, self._settings)
        self._check_size(headers, limit)
        ticket = self._entrance.admission.enter(deadline(headers.get(_TIMEOUT), self._settings.deadline_ms))
        return content_type, limit, ticket

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        scope[KEY_NAME_KEY] = self._entrance.keys.check(headers.get(b"authorization", b"").decode("latin-1"))

    def _check_size(self, headers: Headers, limit: int) -> None:
        declared = headers.get(b"content-length", b"").lstrip(b"0")  # of any length
        if declared.isdigit() and int(declared) > limit:
            self._metrics.rejected(Rejection.TOO_LARGE)
            raise too_large(int(declared), self._settings.max_image_bytes)


def arrival(request: Request) -> Arrival:
    """What there is of a prediction that was let through."""
    found: Arrival = request.scope[_ARRIVAL_KEY]
    return found
