"""Clients of the gateway's HTTP API, one that blocks and one for asyncio; they differ in nothing else."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, TypeVar
from urllib.request import getproxies

import httpx

from affect_client.http import calls as wire
from affect_client.http.calls import Call
from affect_client.http.deadline import DeadlineTransport
from affect_client.interface import AsyncioClient, BlockingClient
from affect_client.many import Outcome, Picture, picture_bytes, picture_bytes_async
from affect_client.options import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, require_sound
from affect_client.retry import attempted, attempted_async
from affect_contract.schemas import ModelList, Prediction, Readiness

DEFAULT_URL: Final = "http://127.0.0.1:8080"

Answer = TypeVar("Answer")


class Client(BlockingClient):
    """A blocking client; use it as a context manager.

    Every method raises `ServiceUnreachable` where no gateway answers, and otherwise the gateway's own error, as the
    `AffectError` class of its code.

    Args:
        base_url: where the gateway is.
        timeout_s: seconds that a call may take, all its attempts included; the gateway is told, and gives up then too.
        retries: how often a call is sent again that failed for a reason that may pass.
        api_key: sent as a bearer token.
        root_certificates: PEM of the authorities that may vouch for the gateway; the usual ones, if not given.
        transport: an httpx transport in place of the network.

    Raises:
        ServiceUnreachable: ``base_url`` is not the URL of a gateway.
        ValueError: an option is out of range, or certificates are given for ``http://``, which has none.

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
        root_certificates: bytes | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        require_sound(timeout_s, retries, api_key)
        self._timeout_s = timeout_s
        self._retries = retries
        options = wire.connection(base_url, api_key, root_certificates)
        # A transport of our own keeps httpx from the proxies of the environment.
        if transport is None and not (options["trust_env"] and getproxies()):
            transport = DeadlineTransport(verify=options["verify"], limits=options["limits"])
        self._http = httpx.Client(transport=transport, **options)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def predict(
        self, image: Picture, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """See `BlockingClient.predict`."""
        return self._send(wire.predict(picture_bytes(image), backbone, version, label))

    def predict_batch(
        self,
        images: Iterable[Picture],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> list[Outcome]:
        """Read several pictures in one call: for each, in order, the answer or the error it met."""
        pictures = [picture_bytes(image) for image in images]
        return self._send(wire.predict_batch(pictures, backbone, version, label))

    def models(self) -> ModelList:
        """What the gateway serves."""
        return self._send(wire.models())

    def ready(self) -> Readiness:
        """Which backbones cannot answer yet."""
        return self._send(wire.ready())

    def _send(self, call: Call[Answer]) -> Answer:
        return attempted(lambda left_s: self._once(call, left_s), self._timeout_s, self._retries)

    def _once(self, call: Call[Answer], left_s: Callable[[], float]) -> Answer:
        with wire.translated(self._http.base_url, self._timeout_s):
            response = self._http.request(**call.request, **wire.allowance(left_s))
        return call.read(response)


class AsyncClient(AsyncioClient):
    """`Client` for asyncio; use it as an async context manager."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        api_key: str | None = None,
        root_certificates: bytes | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        require_sound(timeout_s, retries, api_key)
        self._timeout_s = timeout_s
        self._retries = retries
        self._http = httpx.AsyncClient(transport=transport, **wire.connection(base_url, api_key, root_certificates))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def predict(
        self, image: Picture, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """See `BlockingClient.predict`."""
        return await self._send(wire.predict(await picture_bytes_async(image), backbone, version, label))

    async def predict_batch(
        self,
        images: Iterable[Picture],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> list[Outcome]:
        """See `Client.predict_batch`."""
        pictures = [await picture_bytes_async(image) for image in images]
        return await self._send(wire.predict_batch(pictures, backbone, version, label))

    async def models(self) -> ModelList:
        """See `Client.models`."""
        return await self._send(wire.models())

    async def ready(self) -> Readiness:
        """See `Client.ready`."""
        return await self._send(wire.ready())

    async def _send(self, call: Call[Answer]) -> Answer:
        return await attempted_async(lambda left_s: self._once(call, left_s), self._timeout_s, self._retries)

    async def _once(self, call: Call[Answer], left_s: Callable[[], float]) -> Answer:
        with wire.translated(self._http.base_url, self._timeout_s):
            async with asyncio.timeout(left_s() + wire.GRACE_S):
                response = await self._http.request(**call.request, **wire.allowance(left_s))
        return call.read(response)
