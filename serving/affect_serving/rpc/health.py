"""The standard health service, and a metric, saying what `/readyz` says."""

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from affect_serving.core.admission import SHUTTING_DOWN
from affect_serving.core.drain import Drain
from affect_serving.core.predictor import Predictor
from affect_serving.telemetry.metrics import Metrics

_OVERALL: Final = ""
_EVERY_S: Final = 0.5
"""How late the health service may be, in seconds."""


class HealthFollowsReadiness:
    """Serves `grpc.health.v1.Health` for the whole server and for each of ``services``."""

    def __init__(
        self,
        predictor: Predictor,
        metrics: Metrics,
        drain: Drain,
        admission_closed: asyncio.Event,
        services: tuple[str, ...],
    ) -> None:
        self._predictor = predictor
        self._metrics = metrics
        self._drain = drain
        self._services = (_OVERALL, *services)
        self._servicer = _HealthServicer(admission_closed)

    async def __aenter__(self) -> Self:
        await self._update()
        self._task = asyncio.create_task(self._follow(), name="health follows readiness")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the service."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def _follow(self) -> None:
        while not self._drain.begun:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._drain.wait_begun()
            await self._update()

    async def _update(self) -> None:
        ready = not self._drain.begun and not (await self._predictor.readiness()).waiting_for
        self._metrics.ready.set(ready)
        state = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in self._services:
            await self._servicer.set(service, state)


class _HealthServicer(health.aio.HealthServicer):  # type: ignore[misc]
    """The standard servicer, but its watches end at shutdown; otherwise each would delay it for the whole grace."""

    def __init__(self, closed: asyncio.Event) -> None:
        super().__init__()
        self._closed = closed

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802
        """See `grpc_health.v1.health.aio.HealthServicer`."""
        watch = asyncio.create_task(super().Watch(request, context))
        closed = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait((watch, closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            closed.cancel()
        await context.abort(grpc.StatusCode.UNAVAILABLE, SHUTTING_DOWN)
