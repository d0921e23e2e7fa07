"""The checks that an HTTP request passes before any of its body is read: API key, declared size, admission."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from affect_contract.errors import AffectError, Overloaded
from affect_contract.headers import TIMEOUT_HEADER
from affect_serving.core.admission import Ticket
from affect_serving.core.request_services import RequestServices
from affect_serving.http.body import Body, too_large
from affect_serving.http.connections import EXCESS_KEY
from affect_serving.http.middleware import KEY_NAME_KEY, ROUTE_KEY
from affect_serving.http.picture_bodies import body_limit
from affect_serving.http.query_options import deadline
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics, Rejection

MODELS_PATH: Final = "/models"

_ADMITTED_KEY: Final = "affect.admitted"
_TIMEOUT: Final = TIMEOUT_HEADER.lower().encode()
_ALWAYS_SERVED: Final = frozenset(("/", "/livez", "/readyz", "/metrics"))
"""The paths that are answered even on connections beyond the limit."""


Headers = dict[bytes, bytes]
Handler = Callable[[Request], Awaitable[Response]]


class AdmittedRequest(NamedTuple):
    """A prediction request that has passed the gate, as its handler needs it."""

    content_type: str
    body: Body
    ticket: Ticket


class HttpGate:
    """Checks requests, and passes predictions straight to their handlers, all others to ``app``.

    Passing predictions through FastAPI as well would cost 0.1 ms of processor time each.

    Args:
        app: answers everything but predictions.
        predictions: the handlers of predictions, by path.
        settings: has the size limits and the default deadline.
        metrics: counts refusals.
        services: has the keys and the admission.
    """

    def __init__(
        self,
        app: ASGIApp,
        predictions: Mapping[str, Handler],
        settings: Settings,
        metrics: Metrics,
        services: RequestServices,
    ) -> None:
        self._app = app
        self._predictions = predictions
        self._settings = settings
        self._metrics = metrics
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or raise the `AffectError` that refuses it."""
        path = scope["path"]
        if scope.get(EXCESS_KEY) and path not in _ALWAYS_SERVED:
            self._metrics.rejected(Rejection.CONNECTIONS)
            raise Overloaded("too many connections are open: ask again later, on one that you keep", retry_after_s=1.0)
        if self._is_prediction(scope):
            await self._predict(scope, receive, send)
            return
        if path == MODELS_PATH:
            self._check_key(scope, dict(scope["headers"]))
        await self._app(scope, receive, send)

    def refusal(self, scope: Scope) -> AffectError | None:
        """Return the error for a prediction that is refused because the gateway is full.

        None means that the request is served as usual, by a call.
        """
        if not self._services.admission.is_full or not self._is_prediction(scope):
            return None
        if scope.get(EXCESS_KEY) or self._settings.otlp_endpoint:  # with tracing, a refusal needs a span as well
            return None
        try:
            _, _, ticket = self._admit(scope)
        except AffectError as exc:
            return exc
        ticket.leave()
        return None

    def _is_prediction(self, scope: Scope) -> bool:
        return scope["path"] in self._predictions and scope["method"] == "POST"

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        with self._services.tracing.request(path):
            content_type, limit, ticket = self._admit(scope)
            body = Body(receive, limit, ticket, self._services, self._settings, self._metrics)
            scope[_ADMITTED_KEY] = AdmittedRequest(content_type, body, ticket)
            try:
                response = await self._predictions[path](Request(scope))
            finally:
                body.release()
                ticket.leave()
        await response(scope, receive, send)

    def _admit(self, scope: Scope) -> tuple[str, int, Ticket]:
        """Check a prediction, and return the declared type of its body, its size limit in bytes, and its ticket."""
        path = scope[ROUTE_KEY] = scope["path"]
        headers: Headers = dict(scope["headers"])
        self._check_key(scope, headers)
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        limit = body_limit(path, content_type, self._settings)
        self._check_size(headers, limit)
        ticket = self._services.admission.enter(deadline(headers.get(_TIMEOUT), self._settings.deadline_ms))
        return content_type, limit, ticket

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        scope[KEY_NAME_KEY] = self._services.keys.check(headers.get(b"authorization", b"").decode("latin-1"))

    def _check_size(self, headers: Headers, limit: int) -> None:
        declared = headers.get(b"content-length", b"").lstrip(b"0")  # of any length
        if declared.isdigit() and int(declared) > limit:
            self._metrics.rejected(Rejection.TOO_LARGE)
            raise too_large(int(declared), self._settings.max_image_bytes)


def admitted(request: Request) -> AdmittedRequest:
    """Return what the gate keeps in the scope of a prediction request that it has admitted."""
    found: AdmittedRequest = request.scope[_ADMITTED_KEY]
    return found
