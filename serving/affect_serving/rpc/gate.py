"""The gate of the gRPC API: keys and admission before a message is read; ids, deadlines and errors of calls."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc

from affect_contract.errors import AffectError, DeadlineExceeded, ErrorCode, Internal, InvalidRequest, ModelNotReady
from affect_contract.headers import REQUEST_ID_HEADER, REQUEST_ID_METADATA
from affect_serving.core.deadline import Deadline
from affect_serving.core.drain import GIVEN_UP
from affect_serving.core.errors import INTERNAL_DETAIL
from affect_serving.core.request_services import RequestServices
from affect_serving.rpc.errors import SERVICE_FAULTS, status_of, trailers_of
from affect_serving.rpc.held_answers import HeldAnswers
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics, Rejection
from affect_serving.telemetry.request_context import RequestContext, current_request
from affect_serving.telemetry.request_ids import request_id
from affect_serving.telemetry.trace_context import TRACEPARENT, TRACESTATE, trace_context

_log = logging.getLogger(__name__)


@dataclass
class RpcCall:
    """One call under way: its route, its id, its deadline, and the name of the key it came with."""

    route: str
    request_id: str
    deadline: Deadline
    authorization: str
    key_name: str = ""


current_call: Final[ContextVar[RpcCall]] = ContextVar("current_call")


class RpcGate(grpc.aio.ServerInterceptor):
    """Lets calls of ``service`` through to their handlers, or ends them; other services are open.

    Args:
        service: its full name.
        settings: with which limits.
    """

    def __init__(self, service: str, settings: Settings) -> None:
        self._prefix = f"/{service}/"
        self._settings = settings
        self._guarded: dict[str, Any] = {}
        self.answers = HeldAnswers()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._given_up = False

    def open(self, metrics: Metrics, services: RequestServices) -> None:
        """Take calls from now on: a server is made with its interceptors, before its services can be reached."""
        self._metrics = metrics
        self._services = services

    def give_up(self) -> None:
        """Cancel the calls under way; their callers get `ModelNotReady`."""
        self._given_up = True
        for task in self._under_way:
            task.cancel()

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """See `grpc.aio.ServerInterceptor`."""
        guarded = self._guarded.get(details.method)
        if guarded is None:
            handler = await continuation(details)
            if handler is None or not details.method.startswith(self._prefix):
                return handler
            guarded = self._guarded[details.method] = self._guard(details.method, handler)
        return guarded

    def _guard(self, method: str, handler: Any) -> Any:
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler.stream_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        # As a stream of one, so that the message is read when we say.
        return grpc.stream_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )

    def _unary(
        self, route: str, behaviour: Callable[[Any, Any], Awaitable[Any]]
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        async def guarded(requests: AsyncIterator[Any], context: Any) -> Any:
            async with self._answering(context, route) as call:
                ticket = self._services.admission.enter(call.deadline)
                try:
                    with ticket.receiving():
                        request = await self._message(requests, call.deadline)
                    await ticket.begin()
                    return await behaviour(request, context)
                finally:
                    ticket.leave()

        return guarded

    def _stream(
        self, route: str, behaviour: Callable[[Any, Any], AsyncIterator[Any]]
    ) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def guarded(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            async with self._answering(context, route, of_many=True):
                async for response in behaviour(requests, context):
                    yield response

        return guarded

    async def _message(self, requests: AsyncIterator[Any], deadline: Deadline) -> Any:
        """Read the one message of a call, within the time that a body may take."""
        seconds = self._settings.body_timeout_s
        try:
            async with asyncio.timeout(min(seconds, deadline.left_s())):
                return await anext(aiter(requests))
        except StopAsyncIteration as exc:
            raise InvalidRequest("no message came: send one") from exc
        except TimeoutError as exc:
            self._metrics.rejected(Rejection.BODY_TIMEOUT)
            raise DeadlineExceeded(f"the message was not there after {seconds:g} s: send it faster") from exc

    @asynccontextmanager
    async def _answering(self, context: Any, route: str, *, of_many: bool = False) -> AsyncIterator[RpcCall]:
        """Give a call its id and deadline, and end it with the error that it meets, as the contract states errors.

        Args:
            context: gRPC's.
            route: its method.
            of_many: whether its pictures are counted one by one, and the call itself only where it fails.
        """
        call = self._begun(context, route, of_many=of_many)
        started = time.perf_counter()
        status, code = grpc.StatusCode.OK, ""
        try:
            with self._counted_as_under_way(), self._services.tracing.request(route.lstrip("/")):
                call.key_name = self._services.keys.check(call.authorization)
                yield call
            await self.answers.wait_released(call.deadline.left_s())
        except AffectError as exc:
            status, code = status_of(exc), exc.code
            await self._abort(context, call, exc)
        except grpc.aio.AbortError:
            raise
        except asyncio.CancelledError:
            if not self._given_up:
                status = grpc.StatusCode.CANCELLED
                raise
            error = ModelNotReady(GIVEN_UP, retry_after_s=1.0)
            status, code = status_of(error), error.code
            await self._abort(context, call, error)
        except Exception:
            _log.exception("request %s failed", call.request_id)
            status, code = grpc.StatusCode.INTERNAL, ErrorCode.INTERNAL
            await self._abort(context, call, Internal(INTERNAL_DETAIL))
        finally:
            if not of_many or status is not grpc.StatusCode.OK:
                self.record(call, status, code, time.perf_counter() - started)

    def _begun(self, context: Any, route: str, *, of_many: bool) -> RpcCall:
        self.answers.call_arrived()
        metadata = {name: str(value) for name, value in context.invocation_metadata() or ()}
        own_id = request_id(metadata.get(REQUEST_ID_HEADER.lower(), ""))
        left_s = context.time_remaining()
        if left_s is None:  # each picture of many has the gateway's time for itself
            left_s = math.inf if of_many else self._settings.deadline_ms / 1000
        call = RpcCall(route, own_id, Deadline(left_s), metadata.get("authorization", ""))
        current_call.set(call)
        current_request.set(
            RequestContext(own_id, trace_context(metadata.get(TRACEPARENT, ""), metadata.get(TRACESTATE, "")))
        )
        context.set_trailing_metadata(((REQUEST_ID_METADATA, own_id),))
        return call

    @contextmanager
    def _counted_as_under_way(self) -> Iterator[None]:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._under_way.add(task)
        try:
            yield
        finally:
            self._under_way.discard(task)

    async def _abort(self, context: Any, call: RpcCall, error: AffectError) -> None:
        await self.answers.wait_released(call.deadline.left_s())
        await context.abort(status_of(error), error.detail, trailers_of(error, call.request_id))

    def record(self, call: RpcCall, status: grpc.StatusCode, code: str, seconds: float) -> None:
        """Count and log an answer."""
        self._metrics.answered(call.route, status.name, code, seconds)
        self._services.access_log.record(
            call.route, status.name, code, seconds, call.key_name, failed=code in SERVICE_FAULTS
        )
