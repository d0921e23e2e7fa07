"""The gRPC API."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from affect_contract.errors import AffectError, Internal, ModelNotReady
from affect_contract.messages import prediction_to_proto
from affect_contract.proto.affect.v1 import affect_pb2, affect_pb2_grpc
from affect_serving.core.admission import SHUTTING_DOWN
from affect_serving.core.deadline import Deadline
from affect_serving.core.errors import INTERNAL_DETAIL
from affect_serving.core.predictor import PredictionQuery, Predictor, select_version
from affect_serving.core.request_services import RequestServices
from affect_serving.rpc.errors import status_of
from affect_serving.rpc.gate import RpcCall, RpcGate, current_call
from affect_serving.settings import Settings

SERVICE: Final = affect_pb2.DESCRIPTOR.services_by_name["AffectService"].full_name

_STREAM_IN_FLIGHT: Final = 32
"""Pictures of one stream that are under way at a time; further ones wait in the transport."""

_log = logging.getLogger(__name__)


class AffectService(affect_pb2_grpc.AffectServiceServicer):
    """The service over a predictor, behind a gate."""

    def __init__(self, settings: Settings, predictor: Predictor, services: RequestServices, gate: RpcGate) -> None:
        self._deadline_s = settings.deadline_ms / 1000
        self._predictor = predictor
        self._admission = services.admission
        self._gate = gate

    async def Predict(  # noqa: N802 - the name of the method
        self,
        request: affect_pb2.PredictRequest,
        context: Any,  # noqa: ARG002
    ) -> affect_pb2.PredictResponse:
        """Read one picture."""
        call = current_call.get()
        return await self._predict(request, call, call.deadline)

    async def PredictStream(  # noqa: N802
        self,
        requests: AsyncIterator[affect_pb2.StreamRequest],
        context: Any,  # noqa: ARG002
    ) -> AsyncIterator[affect_pb2.StreamResponse]:
        """Read pictures as they come; one whose answer is not taken yet keeps its place among those under way."""
        call = current_call.get()
        answers: asyncio.Queue[affect_pb2.StreamResponse | None] = asyncio.Queue()
        places = asyncio.Semaphore(_STREAM_IN_FLIGHT)

        async def answer(item: affect_pb2.StreamRequest) -> None:
            answers.put_nowait(await self._stream_answer(item, call))

        async def read() -> None:
            async for item in requests:
                await places.acquire()
                group.create_task(answer(item))

        async def read_and_answer() -> None:
            async with group:
                reader = group.create_task(read())
                closed.add_done_callback(lambda _: reader.cancel())

        group = asyncio.TaskGroup()
        closed = asyncio.ensure_future(self._admission.closed.wait())
        all_answered = asyncio.create_task(read_and_answer())
        all_answered.add_done_callback(lambda _: answers.put_nowait(None))
        try:
            while (response := await answers.get()) is not None:
                yield response
                places.release()
            await all_answered
        finally:
            closed.cancel()
            all_answered.cancel()
        if self._admission.closed.is_set():
            raise ModelNotReady(SHUTTING_DOWN, retry_after_s=1.0)

    async def _predict(
        self, request: affect_pb2.PredictRequest, call: RpcCall, deadline: Deadline
    ) -> affect_pb2.PredictResponse:
        choice = request.WhichOneof("choice")
        selector = select_version(
            request.version if choice == "version" else None, request.label if choice == "label" else None
        )
        query = PredictionQuery(call.request_id, deadline, request.backbone or None, selector)
        return prediction_to_proto(await self._predictor.predict(request.image, query))

    async def _stream_answer(self, item: affect_pb2.StreamRequest, call: RpcCall) -> affect_pb2.StreamResponse:
        started = time.perf_counter()
        status, code = grpc.StatusCode.OK, ""
        try:
            answer = affect_pb2.StreamResponse(id=item.id, response=await self._admitted(item.request, call))
        except Exception as exc:
            if not isinstance(exc, AffectError):
                _log.exception("a picture of request %s failed", call.request_id)
            error = exc if isinstance(exc, AffectError) else Internal(INTERNAL_DETAIL)
            status, code = status_of(error), error.code
            answer = affect_pb2.StreamResponse(id=item.id, error=affect_pb2.Error(code=code, detail=error.detail))
        self._gate.record(call, status, code, time.perf_counter() - started)
        return answer

    async def _admitted(self, request: affect_pb2.PredictRequest, call: RpcCall) -> affect_pb2.PredictResponse:
        """The answer for one picture of a stream, which passes admission as if it came alone."""
        ticket = self._admission.enter(call.deadline.sooner(self._deadline_s))
        try:
            await ticket.begin()
            return await self._predict(request, call, ticket.deadline)
        finally:
            ticket.leave()
