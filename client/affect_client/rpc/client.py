"""The blocking client and the asyncio client of the gateway's gRPC API, with the same methods."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from affect_client.interface import AsyncioClient, BlockingClient
from affect_client.options import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, validate_options
from affect_client.predict_many import Picture, picture_bytes, picture_bytes_async
from affect_client.retry import with_retries, with_retries_async
from affect_client.rpc import calls
from affect_client.rpc.calls import Address
from affect_contract.proto.affect.v1 import affect_pb2_grpc
from affect_contract.schemas import Prediction

DEFAULT_ADDRESS: Final = "grpc://127.0.0.1:9090"

Answer = TypeVar("Answer")


class GrpcClient(BlockingClient):
    """A blocking gRPC client; use it as a context manager, from any number of threads.

    Every method raises `ServiceUnreachable` if no gateway answers, and the gateway's own errors as the `AffectError`
    class of their code.

    Args:
        address: the URL of the gateway: ``grpc://HOST:PORT``, or ``grpcs://HOST:PORT`` for TLS.
        timeout_s: seconds that a call may take with all its attempts; sent along, so that the gateway gives up too.
        retries: how often a call that failed for a transient reason is sent again.
        api_key: sent as a bearer token.
        root_certificates: PEM of the certificate authorities to trust; the system's own, if not given.

    Raises:
        ServiceUnreachable: ``address`` is not the URL of a gateway.
        ValueError: an option is out of range, or certificates are given for ``grpc://``, which does not use them.

    Example:
        with GrpcClient("grpc://127.0.0.1:9090") as client:
            print(client.predict(Path("face.jpg")).expression)
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        api_key: str | None = None,
        root_certificates: bytes | None = None,
    ) -> None:
        validate_options(timeout_s, retries, api_key)
        self._address = Address(address)
        self._timeout_s = timeout_s
        self._retries = retries
        self._metadata = calls.metadata(api_key)
        self._channel = _channel(self._address, self._address.credentials(root_certificates))
        self._stub = affect_pb2_grpc.AffectServiceStub(self._channel)

    def close(self) -> None:
        """Close the channel to the gateway."""
        self._channel.close()

    def predict(
        self, image: Picture, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """See `BlockingClient.predict`."""
        request = calls.predict_request(picture_bytes(image), backbone, version, label)
        response = self._send(lambda left_s: self._stub.Predict(request, timeout=left_s, metadata=self._metadata))
        return calls.prediction(response, self._address)

    def ready(self) -> bool:
        """Return whether every backbone can answer."""
        stub = health_pb2_grpc.HealthStub(self._channel)
        request = health_pb2.HealthCheckRequest()
        response = self._send(lambda left_s: stub.Check(request, timeout=left_s, metadata=self._metadata))
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    def _send(self, call: Callable[[float], Answer]) -> Answer:
        return with_retries(lambda left_s: self._attempt(call, left_s()), self._timeout_s, self._retries)

    def _attempt(self, call: Callable[[float], Answer], left_s: float) -> Answer:
        try:
            return call(left_s)
        except grpc.RpcError as exc:
            raise calls.translate_error(exc, self._address, self._timeout_s) from exc


class AsyncGrpcClient(AsyncioClient):
    """The asyncio counterpart of `GrpcClient`; use it as an async context manager."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        api_key: str | None = None,
        root_certificates: bytes | None = None,
    ) -> None:
        validate_options(timeout_s, retries, api_key)
        self._address = Address(address)
        self._timeout_s = timeout_s
        self._retries = retries
        self._metadata = calls.metadata(api_key)
        self._credentials = self._address.credentials(root_certificates)
        self._opened: grpc.aio.Channel | None = None

    async def aclose(self) -> None:
        """Close the channel to the gateway."""
        if self._opened:
            await self._opened.close()

    async def predict(
        self, image: Picture, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """See `BlockingClient.predict`."""
        request = calls.predict_request(await picture_bytes_async(image), backbone, version, label)
        stub = affect_pb2_grpc.AffectServiceStub(self._channel())
        response = await self._send(lambda left_s: stub.Predict(request, timeout=left_s, metadata=self._metadata))
        return calls.prediction(response, self._address)

    async def ready(self) -> bool:
        """Return whether every backbone can answer."""
        stub = health_pb2_grpc.HealthStub(self._channel())
        request = health_pb2.HealthCheckRequest()
        response = await self._send(lambda left_s: stub.Check(request, timeout=left_s, metadata=self._metadata))
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    def _channel(self) -> grpc.aio.Channel:
        """Return the channel, opened at first use because it belongs to the running event loop."""
        if self._opened is None:
            self._opened = _aio_channel(self._address, self._credentials)
        return self._opened

    async def _send(self, call: Callable[[float], Awaitable[Answer]]) -> Answer:
        return await with_retries_async(lambda left_s: self._attempt(call, left_s()), self._timeout_s, self._retries)

    async def _attempt(self, call: Callable[[float], Awaitable[Answer]], left_s: float) -> Answer:
        try:
            return await call(left_s)
        except grpc.RpcError as exc:
            raise calls.translate_error(exc, self._address, self._timeout_s) from exc


def _channel(address: Address, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(address.target, options=address.options)
    return grpc.secure_channel(address.target, credentials, options=address.options)


def _aio_channel(address: Address, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address.target, options=address.options)
    return grpc.aio.secure_channel(address.target, credentials, options=address.options)
