"""A gRPC service that does as it is told, since the real gateway never misbehaves enough."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from affect_contract.messages import prediction_to_proto
from affect_contract.proto.affect.v1 import affect_pb2, affect_pb2_grpc
from affect_contract.schemas import Prediction
from tests.unit.client_gateway import FakeGateway

ANSWER = Prediction.model_validate(FakeGateway().prediction(b"a face", "mobilenet_v2"))


class ToldService(affect_pb2_grpc.AffectServiceServicer, health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers every picture alike, or first with what ``replies`` hold."""

    def __init__(self) -> None:
        self.asked: list[affect_pb2.PredictRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.left_s: list[float] = []
        self.replies: list[Callable[[grpc.ServicerContext], affect_pb2.PredictResponse]] = []
        self.health = health_pb2.HealthCheckResponse.SERVING
        self.begun = threading.Event()

    def Predict(self, request, context):  # noqa: N802
        self.asked.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.left_s.append(context.time_remaining())
        self.begun.set()
        return self.replies.pop(0)(context) if self.replies else prediction_to_proto(ANSWER)

    def PredictStream(self, request_iterator, context):  # noqa: N802
        raise NotImplementedError("no client here streams")

    def Check(self, request, context):  # noqa: N802
        assert request.service == ""
        return health_pb2.HealthCheckResponse(status=self.health)


def aborting(status: grpc.StatusCode, detail: str = "on purpose", **trailers: str) -> Callable[[Any], Any]:
    metadata = tuple((name.replace("_", "-"), value) for name, value in trailers.items())

    def reply(context):
        context.set_trailing_metadata(metadata)
        context.abort(status, detail)

    return reply


@contextmanager
def listening(
    service: ToldService | None, credentials: grpc.ServerCredentials | None = None, **options: int
) -> Iterator[str]:
    """``HOST:PORT`` of a server of ``service``, or of one that knows no service at all."""
    server = grpc.server(ThreadPoolExecutor(8), options=[(f"grpc.{name}", value) for name, value in options.items()])
    if service:
        affect_pb2_grpc.add_AffectServiceServicer_to_server(service, server)
        health_pb2_grpc.add_HealthServicer_to_server(service, server)
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
