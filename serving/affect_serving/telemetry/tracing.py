"""OpenTelemetry spans, where a collector is configured; without one nothing of it is imported or done."""

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
    """What is recorded of a request or a part of it; of nothing, where nothing is."""

    def failed(self, code: str) -> None:
        """Say with which error it ended; empty where with none."""


_NOT_RECORDED: Final = nullcontext(Span())


class Tracing(Protocol):
    """Records what requests do."""

    def request(self, name: str) -> AbstractContextManager[Span]:
        """The span of the current request, a child of the caller's."""

    def close(self) -> None:
        """Send what is recorded and not sent yet."""


class NoTracing:
    """Records nothing."""

    def request(self, name: str) -> AbstractContextManager[Span]:  # noqa: ARG002
        """See `Tracing.request`."""
        return _NOT_RECORDED

    def close(self) -> None:
        """See `Tracing.close`."""


class OpenTelemetryTracing:
    """Sends spans to a collector, in batches, from a thread of its own.

    Args:
        endpoint: URL of its OTLP over HTTP, like ``http://collector:4318``.

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
        self._of_server = trace.SpanKind.SERVER

    @contextmanager
    def request(self, name: str) -> Iterator[Span]:
        """See `Tracing.request`."""
        request = current_request.get()
        trace = request.trace if request else None
        carrier = {TRACEPARENT: trace.traceparent, TRACESTATE: trace.state} if trace and trace.is_callers else {}
        token = _tracer.set(self._tracer)
        try:
            with _recorded(
                self._tracer, name, context=self._propagator.extract(carrier), kind=self._of_server,
                attributes={"affect.request_id": request.request_id} if request else {},
            ) as span:  # fmt: skip
                yield span
        finally:
            _tracer.reset(token)

    def close(self) -> None:
        """See `Tracing.close`."""
        self._provider.shutdown()


_tracer: Final[ContextVar[Any]] = ContextVar("tracer", default=None)


class _RecordedSpan(Span):
    """Holds codes and names alone: an exception's text might quote a request."""

    def __init__(self, recorded: Any) -> None:
        self._recorded = recorded

    def failed(self, code: str) -> None:
        """See `Span.failed`."""
        if code:
            self._recorded.set_attribute("affect.code", str(code))
            self._recorded.set_attribute("error.type", str(code))


@contextmanager
def _recorded(tracer: Any, name: str, **options: Any) -> Iterator[Span]:
    """Open a span, and make it the parent of what is asked of others meanwhile."""
    with tracer.start_as_current_span(
        name, record_exception=False, set_status_on_exception=False, **options
    ) as recorded:
        span = _RecordedSpan(recorded)
        request = current_request.get()
        token = current_request.set(request._replace(trace=_of(recorded, request.trace.state))) if request else None
        try:
            yield span
        except BaseException as exc:
            span.failed(exc.code if isinstance(exc, AffectError) else ErrorCode.INTERNAL)
            raise
        finally:
            if token:
                current_request.reset(token)


def _of(recorded: Any, state: str) -> TraceContext:
    context = recorded.get_span_context()
    flags = f"{context.trace_flags:02x}"
    return TraceContext(f"{context.trace_id:032x}", f"{context.span_id:016x}", flags, state, is_callers=False)


def span(name: str, **attributes: str | int) -> AbstractContextManager[Span]:
    """A part of the current request, recorded where its request is."""
    tracer = _tracer.get()
    return _NOT_RECORDED if tracer is None else _recorded(tracer, name, attributes=attributes)


def create_tracing(settings: Settings) -> Tracing:
    """What the settings name.

    Raises:
        ServingError: it is not installed.
    """
    return OpenTelemetryTracing(settings.otlp_endpoint) if settings.otlp_endpoint else NoTracing()
