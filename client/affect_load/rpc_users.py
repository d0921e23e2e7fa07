"""Locust users of the gRPC API: one makes a call for each picture, the other keeps one stream open."""

import time
from typing import Any

import gevent
import grpc
from gevent.queue import Queue
from locust import task

from affect_client.errors import ServiceUnreachable
from affect_client.rpc import calls
from affect_client.rpc.client import GrpcClient
from affect_contract.errors import AffectError, ErrorCode
from affect_contract.proto.affect.v1 import affect_pb2, affect_pb2_grpc
from affect_load.options import TIMEOUT_S
from affect_load.paced_user import PacedUser
from affect_load.request_counts import REFUSED


class _RpcUser(PacedUser):
    abstract = True
    host = ""
    """Required by locust but not used: the gRPC address is an option of its own."""

    def report(self, name: str, began: float, error: Exception | None, code: str | None) -> None:
        """Report a call to locust.

        Args:
            name: the name of the call in locust's statistics.
            began: when the call began, by `time.perf_counter`.
            error: the exception that it ended with, if any.
            code: the gateway's error code, if any; `overloaded` counts as a refusal.
        """
        refused = code == ErrorCode.OVERLOADED
        self.environment.events.request.fire(
            request_type=REFUSED if refused else "gRPC",
            name=name,
            response_time=(time.perf_counter() - began) * 1000,
            response_length=0,
            exception=None if refused else error,
            context={},
        )


class RpcUser(_RpcUser):
    """A user that makes one call for each picture with the project's own client, without retries."""

    weight = 1

    def on_start(self) -> None:
        """Open a channel of its own."""
        super().on_start()
        self._client = GrpcClient(self.options.grpc, timeout_s=TIMEOUT_S, retries=0, **self.credentials)

    def on_stop(self) -> None:
        """Close the channel to the gateway."""
        self._client.close()

    @task
    def predict(self) -> None:
        """Send one picture in a call of its own."""
        picture, began = next(self.pictures), time.perf_counter()
        try:
            self._client.predict(picture)
        except (AffectError, ServiceUnreachable) as exc:
            self.report("Predict", began, exc, getattr(exc, "code", None))
        else:
            self.report("Predict", began, None, None)


class StreamError(Exception):
    """An answer of a stream is an error, whose code is the message, or does not come in time."""


class RpcStreamUser(_RpcUser):
    """A user that sends all its pictures over one stream; if the stream breaks, the next picture opens another."""

    weight = 1

    def on_start(self) -> None:
        """Open a channel of its own."""
        super().on_start()
        address = calls.Address(self.options.grpc)
        credentials = address.credentials(self.credentials["root_certificates"])
        # A connection of its own, since the number of open streams on one connection is limited.
        settings = [*address.options, ("grpc.use_local_subchannel_pool", 1)]
        self._channel = (
            grpc.secure_channel(address.target, credentials, options=settings)
            if credentials
            else grpc.insecure_channel(address.target, options=settings)
        )
        self._metadata = calls.metadata(self.credentials["api_key"])
        self._stub = affect_pb2_grpc.AffectServiceStub(self._channel)
        self._answers: Any = None

    def on_stop(self) -> None:
        """End the stream and close the channel."""
        if self._answers is not None:
            self._outbox.put(None)
        self._channel.close()

    @task
    def predict(self) -> None:
        """Send one picture over the stream, and wait for its answer."""
        request = affect_pb2.PredictRequest(image=next(self.pictures))
        began = time.perf_counter()
        try:
            if self._answers is None:
                self._open()
            self._outbox.put(affect_pb2.StreamRequest(id="0", request=request))
            with gevent.Timeout(TIMEOUT_S, StreamError("no answer in time")):
                code = next(self._answers).error.code
        except (grpc.RpcError, StreamError) as exc:
            self._answers.cancel()
            self._answers = None
            self.report("PredictStream", began, exc, None)
        else:
            self.report("PredictStream", began, StreamError(code) if code else None, code or None)

    def _open(self) -> None:
        self._outbox: Queue[affect_pb2.StreamRequest | None] = Queue()
        self._answers = self._stub.PredictStream(iter(self._outbox.get, None), metadata=self._metadata)
