"""Clients of the gateway's HTTP API, one that blocks and one for asyncio; they differ in nothing else."""

from collections.abc import AsyncGenerator, Generator, Iterable
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx

from affect_client import http_wire as wire
from affect_client.http_wire import Call
from affect_client.many import DEFAULT_IN_FLIGHT, Answered, Outcome, Picture, answered_in_order, answered_in_order_async
from affect_client.retry import DEFAULT_RETRIES, attempted, attempted_async
from affect_contract.schemas import ModelList, Prediction, Readiness

DEFAULT_URL: Final = "http://127.0.0.1:8080"
DEFAULT_TIMEOUT_S: Final = 10.0

Answer = TypeVar("Answer")


class Client:
    """A blocking client; use it as a context manager.

    Every method raises `ServiceUnreachable` where no gateway answers, and otherwise the gateway's own error, as the
    `AffectError` class of its code.

    Args:
        base_url: where the gateway is.
        timeout_s: seconds that a call may take, all its attempts included; the gateway is told, and gives up then too.
        retries: how often a call is sent again that failed for a reason that may pass.
        api_key: sent as a bearer token.
        transport: an httpx transport in place of the network.

    Raises:
        ServiceUnreachable: ``base_url`` is not the URL of a gateway.

    Example:
        with Client("http://127.0.0.1:8080") as client:
            print(client.predict(Path("face.jpg")).expression)
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._retries = retries
        self._http = httpx.Client(transport=transport, **wire.connection(base_url, api_key))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def predict(
        self, image: Picture, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """Read one picture.

        Args:
            image: the bytes of a JPEG, PNG or WebP file, or its path.
            backbone: the network to ask; the gateway's default, if not given.
            version: the version to ask.
            label: the label of the version to ask; not together with ``version``.

        Raises:
            OSError: the file cannot be read.
        """
        return self._send(wire.predict(image, backbone, version, label))

    def predict_batch(
        self,
        images: Iterable[Picture],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> list[Outcome]:
        """Read several pictures in one call: for each, in order, the answer or the error it met."""
        return self._send(wire.predict_batch(images, backbone, version, label))

    def predict_many(
        self,
        pictures: Iterable[Picture],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        progress: bool = False,
    ) -> Generator[Answered]:
        """Read any number of pictures: each with its answer or the error it met, in order, in bounded memory.

        Args:
            pictures: taken as they are needed; files are read when it is their turn.
            backbone: the network to ask; the gateway's default, if not given.
            version: the version to ask.
            label: the label of the version to ask; not together with ``version``.
            in_flight: how many are under way at a time.
            progress: whether a bar on stderr tells how far it is.

        Raises:
            ServiceUnreachable: no gateway answers any more.
        """
        predict = partial(self.predict, backbone=backbone, version=version, label=label)
        return answered_in_order(predict, pictures, in_flight=in_flight, progress=progress)

    def models(self) -> ModelList:
        """What the gateway serves."""
        return self._send(wire.models())

    def ready(self) -> Readiness:
        """Which backbones cannot answer yet."""
        return self._send(wire.ready())

    def _send(self, call: Call[Answer]) -> Answer:
        return attempted(lambda left_s: self._once(call, left_s), self._timeout_s, self._retries)

    def _once(self, call: Call[Answer], left_s: float) -> Answer:
        with wire.translated(self._http.base_url, self._timeout_s):
            response = self._http.request(**call.request, **wire.allowance(left_s))
        return call.read(response)


class AsyncClient:
    """`Client` for asyncio; use it as an async context manager."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._retries = retries
        self._http = httpx.AsyncClient(transport=transport, **wire.connection(base_url, api_key))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def predict(
        self, image: Picture, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """See `Client.predict`."""
        return await self._send(wire.predict(image, backbone, version, label))

    async def predict_batch(
        self,
        images: Iterable[Picture],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> list[Outcome]:
        """See `Client.predict_batch`."""
        return await self._send(wire.predict_batch(images, backbone, version, label))

    def predict_many(
        self,
        pictures: Iterable[Picture],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        progress: bool = False,
    ) -> AsyncGenerator[Answered]:
        """See `Client.predict_many`."""
        predict = partial(self.predict, backbone=backbone, version=version, label=label)
        return answered_in_order_async(predict, pictures, in_flight=in_flight, progress=progress)

    async def models(self) -> ModelList:
        """See `Client.models`."""
        return await self._send(wire.models())

    async def ready(self) -> Readiness:
        """See `Client.ready`."""
        return await self._send(wire.ready())

    async def _send(self, call: Call[Answer]) -> Answer:
        return await attempted_async(lambda left_s: self._once(call, left_s), self._timeout_s, self._retries)

    async def _once(self, call: Call[Answer], left_s: float) -> Answer:
        with wire.translated(self._http.base_url, self._timeout_s):
            response = await self._http.request(**call.request, **wire.allowance(left_s))
        return call.read(response)
