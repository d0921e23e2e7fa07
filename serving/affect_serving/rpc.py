"""The gRPC API."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from affect_contract.errors import FAULTS, AffectError, Internal
from affect_contract.headers import CODE_METADATA, REQUEST_ID_HEADER, REQUEST_ID_METADATA, RETRY_AFTER_METADATA
from affect_contract.messages import prediction_to_proto
from affect_contract.proto.affect.v1 import affect_pb2, affect_pb2_grpc
from affect_serving.addresses import url_host
from affect_serving.backend import ServingError
from affect_serving.deadline import Deadline
from affect_serving.metrics import Metrics
from affect_serving.predictor import Asked, Predictor, select_version
from affect_serving.problems import INTERNAL_DETAIL
from affect_serving.request_ids import request_id
from affect_serving.rpc_health import HealthFollowsReadiness
from affect_serving.settings import Settings

SERVICE: Final = affect_pb2.DESCRIPTOR.services_by_name["AffectService"].full_name

_STREAM_IN_FLIGHT: Final = 32
"""Pictures of one stream that are under way at a time; further ones wait in the transport."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Call:
    """What a call brought with it."""

    route: str
    request_id: str
    context: Any

    def deadline(self, default_s: float) -> Deadline:
        """The caller's, or ``default_s`` from now where it has none."""
        left_s = self.context.time_remaining()
        return Deadline(default_s if left_s is None else left_s)


class AffectService(affect_pb2_grpc.AffectServiceServicer):
    """The service over a predictor."""

    def __init__(self, settings: Settings, predictor: Predictor, metrics: Metrics) -> None:
        self._deadline_s = settings.deadline_ms / 1000
        self._predictor = predictor
        self._metrics = metrics

    async def Predict(  # noqa: N802 - the name of the method
        self, request: affect_pb2.PredictRequest, context: Any
    ) -> affect_pb2.PredictResponse:
        """Read one picture."""
        async with self._answering(context, "Predict") as call:
            response = await self._predict(request, call, call.deadline(self._deadline_s))
            self._count(call, grpc.StatusCode.OK.name)
        return response

    async def PredictStream(  # noqa: N802
        self, requests: AsyncIterator[affect_pb2.StreamRequest], context: Any
    ) -> AsyncIterator[affect_pb2.StreamResponse]:
        """Read pictures as they come."""
        async with self._answering(context, "PredictStream") as call:
            async for response in self._answers(requests, call):
                yield response

    async def _predict(
        self, request: affect_pb2.PredictRequest, call: _Call, deadline: Deadline
    ) -> affect_pb2.PredictResponse:
        choice = request.WhichOneof("choice")
        selector = select_version(
            request.version if choice == "version" else None, request.label if choice == "label" else None
        )
        asked = Asked(call.request_id, deadline, request.backbone or None, selector)
        return prediction_to_proto(await self._predictor.predict(request.image, asked))

    async def _answers(
        self, requests: AsyncIterator[affect_pb2.StreamRequest], call: _Call
    ) -> AsyncIterator[affect_pb2.StreamResponse]:
        """The answers as they come; one that is not taken by the caller yet keeps its place among those under way."""
        answers: asyncio.Queue[affect_pb2.StreamResponse | None] = asyncio.Queue()
        places = asyncio.Semaphore(_STREAM_IN_FLIGHT)

        async def answer(item: affect_pb2.StreamRequest) -> None:
            answers.put_nowait(await self._stream_answer(item, call))

        async def read() -> None:
            async with asyncio.TaskGroup() as group:
                async for item in requests:
                    await places.acquire()
                    group.create_task(answer(item))

        reader = asyncio.create_task(read())
        reader.add_done_callback(lambda _: answers.put_nowait(None))
        try:
            while (response := await answers.get()) is not None:
                yield response
                places.release()
            await reader
        finally:
            reader.cancel()

    async def _stream_answer(self, item: affect_pb2.StreamRequest, call: _Call) -> affect_pb2.StreamResponse:
        try:
            deadline = call.deadline(self._deadline_s).sooner(self._deadline_s)
            response = await self._predict(item.request, call, deadline)
        except AffectError as exc:
            error = exc
        except Exception:
            _log.exception("a picture of request %s failed", call.request_id)
            error = Internal(INTERNAL_DETAIL)
        else:
            self._count(call, grpc.StatusCode.OK.name)
            return affect_pb2.StreamResponse(id=item.id, response=response)
        self._count(call, _status(error).name, error.code)
        return affect_pb2.StreamResponse(id=item.id, error=affect_pb2.Error(code=error.code.value, detail=error.detail))

    @asynccontextmanager
    async def _answering(self, context: Any, method: str) -> AsyncIterator[_Call]:
        """What every call gets: an id that is returned, its time, and its error told as the contract says."""
        given = dict(context.invocation_metadata() or ()).get(REQUEST_ID_HEADER.lower(), "")
        call = _Call(f"/{SERVICE}/{method}", request_id(str(given)), context)
        context.set_trailing_metadata(((REQUEST_ID_METADATA, call.request_id),))
        started = time.perf_counter()
        with self._metrics.in_flight.track_inprogress():
            try:
                yield call
            except AffectError as exc:
                await self._abort(call, exc)
            except grpc.aio.AbortError:
                raise
            except Exception:
                _log.exception("request %s failed", call.request_id)
                await self._abort(call, Internal(INTERNAL_DETAIL))
            except asyncio.CancelledError:
                self._count(call, grpc.StatusCode.CANCELLED.name)
                raise
            finally:
                self._metrics.request_seconds.labels(call.route).observe(time.perf_counter() - started)

    async def _abort(self, call: _Call, error: AffectError) -> None:
        status = _status(error)
        self._count(call, status.name, error.code)
        trailers = [(REQUEST_ID_METADATA, call.request_id), (CODE_METADATA, error.code.value)]
        if error.retry_after_s is not None:
            trailers.append((RETRY_AFTER_METADATA, str(round(error.retry_after_s * 1000))))
        await call.context.abort(status, error.detail, tuple(trailers))

    def _count(self, call: _Call, status: str, code: str = "") -> None:
        self._metrics.requests.labels(call.route, status, code).inc()


@asynccontextmanager
async def bound(settings: Settings) -> AsyncIterator[tuple[grpc.aio.Server, int]]:
    """A server with its port taken, that answers only once it is started; gives the server and the port.

    Raises:
        ServingError: the port cannot be had.
    """
    server = grpc.aio.server(
        options=(
            # Room for a picture of the size that the handler judges, so that it is the handler who says so.
            ("grpc.max_receive_message_length", 2 * settings.max_image_bytes),
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        )
    )
    try:
        port = server.add_insecure_port(f"{url_host(settings.host)}:{settings.grpc_port}")
    except RuntimeError as exc:
        raise ServingError(
            f"cannot listen on {settings.host}, port {settings.grpc_port}, for gRPC: choose another with --host and "
            "--grpc-port"
        ) from exc
    try:
        yield server, port
    finally:
        await server.stop(None)


@asynccontextmanager
async def serving(
    server: grpc.aio.Server, settings: Settings, predictor: Predictor, metrics: Metrics
) -> AsyncIterator[None]:
    """Answer on a bound server; at the end what is under way may finish."""
    affect_pb2_grpc.add_AffectServiceServicer_to_server(AffectService(settings, predictor, metrics), server)
    async with HealthFollowsReadiness(predictor, (SERVICE,)) as follower:
        follower.add_to(server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        await server.start()
        try:
            yield
        finally:
            await server.stop(settings.deadline_ms / 1000)


def _status(error: AffectError) -> grpc.StatusCode:
    return grpc.StatusCode[FAULTS[error.code].grpc or grpc.StatusCode.INTERNAL.name]
