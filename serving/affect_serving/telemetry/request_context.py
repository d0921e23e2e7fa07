"""The request that the running code works for, whose id and trace go into log lines and calls to a model server."""

from contextvars import ContextVar
from typing import Final, NamedTuple

from affect_contract.headers import REQUEST_ID_HEADER
from affect_serving.telemetry.trace_context import TRACEPARENT, TRACESTATE, TraceContext


class RequestContext(NamedTuple):
    """The id and the trace of a request."""

    request_id: str
    trace: TraceContext

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the gRPC metadata to send with a call that is made for the request."""
        state = ((TRACESTATE, self.trace.state),) if self.trace.state else ()
        return ((REQUEST_ID_HEADER.lower(), self.request_id), (TRACEPARENT, self.trace.traceparent), *state)


current_request: Final[ContextVar[RequestContext | None]] = ContextVar("current_request", default=None)
"""The current request; None outside of requests."""
