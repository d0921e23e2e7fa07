"""OpenTelemetry spans, sent to a collector if one is configured; without one OpenTelemetry is not even imported."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Final, Protocol

from affect_contract.errors import AffectError, ErrorCode
from affect_serving.core.backend import ServingError
from affect_serving.settings import Settings
from affect_serving.telemetry.request_context import current_request
from affect_serving.telemetry.trace_context import TRACEPARENT, TRACESTATE, TraceContext

_SERVICE: Final = "affect-serving"
_PATH: Final = "/v1/traces"


class Span:
    """A span of a request or of a part of it; this base class records nothing."""

    def failed(self, code: str) -> None:
        """Record the code of the error that ended the span; an empty code stands for no error."""


_NOT_RECORDED: Final = nullcontext(Span())


class Tracing(Protocol):
    """Records the spans of requests, or nothing at all."""

    def request(self, name: str) -> AbstractContextManager[Span]:
        """Open the span of the current request, a child of the caller's span."""

    def close(self) -> None:
        """Send the spans that have not been sent yet."""


class NoTracing:
    """Records no spans, where no collector is configured."""

    def request(self, name: str) -> AbstractContextManager[Span]:  # noqa: ARG002
        """Return a span that records nothing."""
        return _NOT_RECORDED

    def close(self) -> None:
        """Do nothing: there are no spans to send."""


class OpenTelemetryTracing:
    """Sends spans to a collector, in batches, from a thread of its own.

    Args:
        endpoint: the URL at which the collector takes OTLP over HTTP, such as ``http://collector:4318``.

    Raises:
        ServingError: the extra ``tracing`` is not installed.
    """

    def __init__(self, endpoint: str) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415
        except ImportError as exc:
            raise ServingError(
                "AFFECT_OTLP_ENDPOINT is set and OpenTelemetry is not installed: pip install 'affect-serving[tracing]'"
            ) from exc
        url = endpoint if endpoint.endswith(_PATH) else endpoint.rstrip("/") + _PATH
        self._provider = TracerProvider(resource=Resource.create({"service.name": _SERVICE}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
        self._tracer = self._provider.get_tracer(_SERVICE)
        self._propagator = TraceContextTextMapPropagator()
        self._server_kind = trace.SpanKind.SERVER

    @contextmanager
    def request(self, name: str) -> Iterator[Span]:
        """Open the span of the current request, a child of the caller's span."""
        request = current_request.get()
        trace = request.trace if request else None
        carrier = {TRACEPARENT: trace.traceparent, TRACESTATE: trace.state} if trace and trace.is_callers else {}
        token = _tracer.set(self._tracer)
        try:
            with _recorded_span(
                self._tracer, name, context=self._propagator.extract(carrier), kind=self._server_kind,
                attributes={"affect.request_id": request.request_id} if request else {},
            ) as span:  # fmt: skip
                yield span
        finally:
            _tracer.reset(token)

    def close(self) -> None:
        """Send the spans that have not been sent yet, and stop the thread."""
        self._provider.shutdown()


_tracer: Final[ContextVar[Any]] = ContextVar("tracer", default=None)


class _RecordedSpan(Span):
    """A span that is sent to the collector; it holds error codes, never messages, which might quote a request."""

    def __init__(self, recorded: Any) -> None:
        self._recorded = recorded

    def failed(self, code: str) -> None:
        if code:
            self._recorded.set_attribute("affect.code", str(code))
            self._recorded.set_attribute("error.type", str(code))


@contextmanager
def _recorded_span(tracer: Any, name: str, **options: Any) -> Iterator[Span]:
    """Open a span, and make it the parent of calls to other services that are made inside."""
    with tracer.start_as_current_span(
        name, record_exception=False, set_status_on_exception=False, **options
    ) as recorded:
        span = _RecordedSpan(recorded)
        request = current_request.get()
        token = (
            current_request.set(request._replace(trace=_trace_of(recorded, request.trace.state))) if request else None
        )
        try:
            yield span
        except BaseException as exc:
            span.failed(exc.code if isinstance(exc, AffectError) else ErrorCode.INTERNAL)
            raise
        finally:
            if token:
                current_request.reset(token)


def _trace_of(recorded: Any, state: str) -> TraceContext:
    context = recorded.get_span_context()
    flags = f"{context.trace_flags:02x}"
    return TraceContext(f"{context.trace_id:032x}", f"{context.span_id:016x}", flags, state, is_callers=False)


def span(name: str, **attributes: str | int) -> AbstractContextManager[Span]:
    """Open a span for a part of the current request, which is recorded if the request's own span is."""
    tracer = _tracer.get()
    return _NOT_RECORDED if tracer is None else _recorded_span(tracer, name, attributes=attributes)


def create_tracing(settings: Settings) -> Tracing:
    """Create the tracing that the settings name.

    Raises:
        ServingError: a collector is configured, but OpenTelemetry is not installed.
    """
    return OpenTelemetryTracing(settings.otlp_endpoint) if settings.otlp_endpoint else NoTracing()
