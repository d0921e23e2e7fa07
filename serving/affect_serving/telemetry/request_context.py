"""Which request the running code works for: the log and the calls to a model server say so."""

from contextvars import ContextVar
from typing import Final, NamedTuple

from affect_contract.headers import REQUEST_ID_HEADER
from affect_serving.telemetry.trace_context import TRACEPARENT, TRACESTATE, TraceContext


class RequestContext(NamedTuple):
    """A request's names."""

    request_id: str
    trace: TraceContext

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with a gRPC call that is made for the request."""
        state = ((TRACESTATE, self.trace.state),) if self.trace.state else ()
        return ((REQUEST_ID_HEADER.lower(), self.request_id), (TRACEPARENT, self.trace.traceparent), *state)


current_request: Final[ContextVar[RequestContext | None]] = ContextVar("current_request", default=None)
"""None outside of requests."""
