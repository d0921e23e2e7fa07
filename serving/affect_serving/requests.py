"""What every HTTP request gets, whatever its route: an id, its metrics, and a last net under it."""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affect_contract.errors import Internal
from affect_contract.headers import REQUEST_ID_HEADER
from affect_serving.metrics import Metrics
from affect_serving.problems import CODE_KEY, INTERNAL_DETAIL, problem_response

REQUEST_ID_KEY = "affect.request_id"

_ACCEPTED_ID = re.compile(r"[\x21-\x7e]{1,128}")
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
        request_id = _request_id(Headers(scope=scope))
        scope[REQUEST_ID_KEY] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        started = time.perf_counter()
        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                _log.exception("request %s failed", request_id)
                if status:
                    raise  # half an answer is out already: let the server break the connection
                scope[CODE_KEY] = Internal.code
                await problem_response(Internal(INTERNAL_DETAIL), request_id)(scope, receive, send_with_id)
            finally:
                self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's own path: a stranger's paths would each make a series of their own.
        route = getattr(scope.get("route"), "path", _NO_ROUTE)
        self._metrics.requests.labels(route, str(status), scope.get(CODE_KEY, "")).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex
