"""What every HTTP request gets, whatever its route: an id, its metrics, and a last net under it."""

import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affect_contract.errors import Internal
from affect_contract.headers import REQUEST_ID_HEADER
from affect_serving.metrics import Metrics
from affect_serving.problems import CODE_KEY, INTERNAL_DETAIL, problem_response
from affect_serving.request_ids import request_id

REQUEST_ID_KEY = "affect.request_id"

_NO_ROUTE = "none"

_log = logging.getLogger(__name__)


class RequestMiddleware:
    """Takes or makes the request id, returns it, counts and times; an unforeseen error is logged whole."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; anything but HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own_id = request_id(Headers(scope=scope).get(REQUEST_ID_HEADER, ""))
        scope[REQUEST_ID_KEY] = own_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = own_id
            await send(message)

        started = time.perf_counter()
        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                _log.exception("request %s failed", own_id)
                if status:
                    raise  # half an answer is out already: let the server break the connection
                scope[CODE_KEY] = Internal.code
                await problem_response(Internal(INTERNAL_DETAIL), own_id)(scope, receive, send_with_id)
            finally:
                self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's own path: a stranger's paths would each make a series of their own.
        route = getattr(scope.get("route"), "path", _NO_ROUTE)
        self._metrics.requests.labels(route, str(status), scope.get(CODE_KEY, "")).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
