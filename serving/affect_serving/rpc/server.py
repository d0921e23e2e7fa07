"""The gRPC server: its port, its limits, and the services on it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from affect_contract.proto.affect.v1 import affect_pb2_grpc
from affect_serving.addresses import url_host
from affect_serving.core.backend import ServingError
from affect_serving.core.predictor import Predictor
from affect_serving.core.request_services import RequestServices
from affect_serving.rpc.gate import RpcGate
from affect_serving.rpc.health import HealthFollowsReadiness
from affect_serving.rpc.service import SERVICE, AffectService
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics
from affect_serving.tls_files import key_and_certificate

_STREAMS_PER_PLACE: Final = 4
_LAST_WORDS_S: Final = 1.0
"""How long, after the grace, the answers of calls that did not finish may take to be sent."""


class Server(NamedTuple):
    """gRPC's server, and what stands before its services."""

    grpc: grpc.aio.Server
    gate: RpcGate

    async def stop(self, grace_s: float) -> None:
        """Tell callers to go elsewhere, and finish the calls under way; `HeldAnswers.hold` before it loses none.

        Args:
            grace_s: how long calls may take to finish, in seconds.
        """
        ends = time.monotonic() + grace_s
        await self.gate.answers.wait_gap(grace_s / 2)
        stopping = asyncio.create_task(self.grpc.stop(grace_s + _LAST_WORDS_S))
        await asyncio.sleep(0)  # it has begun, so answers sent from now on follow GOAWAY
        self.gate.answers.release()
        await asyncio.wait((stopping,), timeout=max(0.0, ends - time.monotonic()))
        if not stopping.done():
            self.gate.give_up()
        await stopping


@asynccontextmanager
async def bound_server(settings: Settings) -> AsyncIterator[tuple[Server, int]]:
    """A server with its port taken, that answers only once it is started; gives the server and the port.

    Raises:
        ServingError: the port cannot be had, or the certificate not be used.
    """
    gate = RpcGate(SERVICE, settings)
    server = grpc.aio.server(
        options=(
            # Room for a picture of the size that the handler judges, so that it is the handler who says so.
            ("grpc.max_receive_message_length", 2 * settings.max_image_bytes),
            ("grpc.so_reuseport", 0),
            # Beyond this callers wait in their own transport, where nobody tells them to ask later.
            ("grpc.max_concurrent_streams", _STREAMS_PER_PLACE * (settings.max_in_flight + settings.max_queued)),
            # Callers may ping a quiet connection, not more often; one that does not answer pings is given up.
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 10_000),
        ),
        interceptors=(gate,),
    )
    try:
        port = _listen(server, settings)
    except RuntimeError as exc:
        raise ServingError(
            f"cannot listen on {settings.host}, port {settings.grpc_port}, for gRPC: choose another with --host and "
            "--grpc-port"
        ) from exc
    try:
        yield Server(server, gate), port
    finally:
        await server.stop(None)


@asynccontextmanager
async def serving_calls(
    server: Server, settings: Settings, predictor: Predictor, metrics: Metrics, services: RequestServices
) -> AsyncIterator[None]:
    """Answer on a bound server; at the end what is under way may finish."""
    server.gate.open(metrics, services)
    service = AffectService(settings, predictor, services, server.gate)
    affect_pb2_grpc.add_AffectServiceServicer_to_server(service, server.grpc)
    async with HealthFollowsReadiness(
        predictor, metrics, services.drain, services.admission.closed, (SERVICE,)
    ) as follower:
        follower.add_to(server.grpc)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server.grpc)
        await server.grpc.start()
        try:
            yield
        finally:
            await server.stop(settings.drain_grace_s)


def _listen(server: grpc.aio.Server, settings: Settings) -> int:
    address = f"{url_host(settings.host)}:{settings.grpc_port}"
    pair = key_and_certificate(settings)
    return (
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        if pair
        else server.add_insecure_port(address)
    )
